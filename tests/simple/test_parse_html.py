"""Pages in HTML: of indexes, and the directory listings that web servers make."""

from __future__ import annotations

import pytest

from proxy.errors import UnreadablePage
from proxy.model import File, ProjectStatus
from proxy.simple import parse_page
from tests.support.page_strategies import METADATA_SHA256, PROJECT, SHA256, URL, WHEEL, read_html

SDIST = "holy-grail-1.0.tar.gz"

APACHE = f"""<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html><head><title>Index of /simple/holy-grail</title></head><body>
<h1>Index of /simple/holy-grail</h1>
<table><tr><th valign="top"><img src="/icons/blank.gif" alt="[ICO]"></th>
<th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td><a href="/simple/">Parent Directory</a></td><td>&nbsp;</td></tr>
<tr><td><a href="{SDIST}"><img src="/icons/compressed.gif"></a></td>
<td><a href="{SDIST}">{SDIST[:12]}..&gt;</a></td><td align="right">2026-01-01 10:00 </td></tr>
<tr><td><a href="{WHEEL}">{WHEEL[:12]}..&gt;</a></td><td align="right">1.2K</td></tr>
</table><address>Apache/2.4 Server at example.org Port 80</address></body></html>"""

NGINX = f"""<html>
<head><title>Index of /simple/holy-grail/</title></head>
<body>
<h1>Index of /simple/holy-grail/</h1><hr><pre><a href="../">../</a>
<a href="{SDIST}">{SDIST}</a>         01-Jan-2026 10:00      12345
<a href="{WHEEL}">{WHEEL}</a>         01-Jan-2026 10:00      12345
</pre><hr></body>
</html>"""

PYTHON = f"""<!DOCTYPE HTML>
<html lang="en"><head><meta charset="utf-8">
<title>Directory listing for /simple/holy-grail/</title></head>
<body><h1>Directory listing for /simple/holy-grail/</h1><hr><ul>
<li><a href="{SDIST}">{SDIST}</a></li>
<li><a href="{WHEEL}">{WHEEL}</a></li>
<li><a href="sub/">sub/</a></li>
</ul><hr></body></html>"""


def anchor(attributes: str = "", href: str = WHEEL, text: str = "a file") -> str:
    return f'<a href="{href}" {attributes}>{text}</a>'


def read_file(attributes: str = "", href: str = WHEEL) -> File:
    (file,) = read_html(anchor(attributes, href)).files
    return file


@pytest.mark.parametrize("listing", [APACHE, NGINX, PYTHON])
def test_directory_listings_are_pages(listing: str) -> None:
    page = read_html(listing)
    assert [file.filename for file in page.files] == [SDIST, WHEEL]
    assert [file.url for file in page.files] == [URL + SDIST, URL + WHEEL]
    assert page.versions == ("1.0",)


@pytest.mark.parametrize("listing", [APACHE, NGINX, PYTHON])
def test_directory_listings_may_be_empty(listing: str) -> None:
    assert read_html(listing.replace(SDIST, "README").replace(WHEEL, "sub/")).files == ()


def test_all_that_an_anchor_says() -> None:
    page = read_html(
        f"""<!DOCTYPE html><html><head>
        <meta name="pypi:repository-version" content="1.4">
        <meta name="pypi:project-status" content="archived">
        <meta name="pypi:project-status-reason" content="it&#39;s done">
        <title>Links for holy-grail</title></head><body>
        <a href="../../f/{WHEEL}#sha256={SHA256}" data-requires-python="&gt;=3.9,&lt;4"
           data-dist-info-metadata="true" data-core-metadata="sha256={METADATA_SHA256}"
           data-yanked="a &quot;bad&quot; one" data-size="12" data-gpg-sig="true"
           data-upload-time="2026-10-01T12:30:00Z"
           data-provenance="https://index.example.org/p">display</a></body></html>"""
    )
    assert page.files == (
        File(
            WHEEL,
            f"https://index.example.org/f/{WHEEL}",
            {"sha256": SHA256},
            12,
            ">=3.9,<4",
            "2026-10-01T12:30:00Z",
            'a "bad" one',
            {"sha256": METADATA_SHA256},
            "https://index.example.org/p",
            beside=(".asc",),
        ),
    )
    assert page.status == ProjectStatus("archived", "it's done")
    assert page.meta == page.extra == {}


def test_links_of_all_kinds_are_resolved() -> None:
    links = {
        WHEEL: URL + WHEEL,
        f"../../packages/{WHEEL}": f"https://index.example.org/packages/{WHEEL}",
        f"/whl/{WHEEL}": f"https://index.example.org/whl/{WHEEL}",
        f"//cdn.example.org/{WHEEL}": f"https://cdn.example.org/{WHEEL}",
        f"http://h.example.org/{WHEEL}": f"http://h.example.org/{WHEEL}",
        f" \n{WHEEL}\t": URL + WHEEL,
        f"https://u:p@h.example.org/{WHEEL}": f"https://h.example.org/{WHEEL}",
    }
    for link, url in links.items():
        assert read_file(href=link).url == url


def test_the_first_base_counts() -> None:
    page = f"<base href='https://m.example.org/x/'><base href='https://evil.example/'>{anchor()}"
    assert read_html(page).files[0].url == f"https://m.example.org/x/{WHEEL}"
    assert read_html(f"<base href='../y/'>{anchor()}").files[0].url == (
        f"https://index.example.org/simple/y/{WHEEL}"
    )


def test_specifiers_are_unescaped_even_twice_and_unescaped_ones_read() -> None:
    for spelled in ("&gt;=3.8", ">=3.8", "&amp;gt;=3.8"):
        assert read_file(f'data-requires-python="{spelled}"').requires_python == ">=3.8"
    assert read_file('data-requires-python=""').requires_python is None


def test_presence_means_yanked() -> None:
    assert read_file().yanked is False
    assert read_file("data-yanked").yanked is True
    assert read_file('data-yanked=""').yanked is True
    assert read_file('data-yanked="false"').yanked == "false"


@pytest.mark.parametrize(
    ("fragment", "hashes"),
    [
        (f"sha256={SHA256.upper()}", {"sha256": SHA256}),
        ("md5=" + "a" * 32, {"md5": "a" * 32}),
        ("sha1=" + "a" * 40, {"sha1": "a" * 40}),
        (f"egg=holy-grail&sha256={SHA256}", {"sha256": SHA256}),
        ("whirlpool=abc", {}),
        ("main", {}),
        ("", {}),
    ],
)
def test_hashes_of_fragments(fragment: str, hashes: dict[str, str]) -> None:
    file = read_file(href=f"{WHEEL}#{fragment}")
    assert file.hashes == hashes
    assert file.url == URL + WHEEL


def test_a_file_with_a_malformed_digest_is_dropped() -> None:
    page = read_html(f'<a href="{WHEEL}#sha256=abc">a</a> <a href="{SDIST}#egg=x">b</a>')
    assert [file.filename for file in page.files] == [SDIST]


def test_metadata_is_said_by_two_attributes() -> None:
    old = f'data-dist-info-metadata="sha256={SHA256}"'
    assert read_file(old).metadata == {"sha256": SHA256}
    assert read_file(f'data-core-metadata="true" {old}').metadata is True
    assert read_file(f'data-core-metadata="false" {old}').metadata is False
    assert read_file(f'data-core-metadata="" {old}').metadata == {"sha256": SHA256}
    assert read_file('data-core-metadata="sha256=xyz"').metadata is False
    assert read_file(old, SDIST).metadata is False


def test_sizes_and_times_that_are_none_are_dropped() -> None:
    for size in ("", "-1", "1.5", "many", "\u0663", "9" * 19, "9" * 5000):
        assert read_file(f'data-size="{size}"').size is None
    assert read_file('data-upload-time="yesterday"').uploaded is None


def test_addresses_keep_their_spelling_and_are_decoded_once() -> None:
    local = "holy_grail-1.0%2Bcu1-py3-none-any.whl"
    file = read_file(href=f"{local}?sig=a%2Fb%7E")
    assert file.url == f"{URL}{local}?sig=a%2Fb%7E"
    assert file.filename == "holy_grail-1.0+cu1-py3-none-any.whl"
    plus = read_file(href="holy_grail-1.0+cu1-py3-none-any.whl")
    assert plus.url.endswith("1.0+cu1-py3-none-any.whl")
    assert plus.filename == file.filename


@pytest.mark.parametrize(
    "href",
    ["", "#", "?C=N;O=D", "../", f"javascript:{WHEEL}", f"mailto:{WHEEL}", f"data:,{WHEEL}",
     f"ftp://h.example.org/{WHEEL}", f"file:///{WHEEL}", f"x\\{WHEEL}", f"%2e%2e%2f{WHEEL}",
     f"..%252f{WHEEL}", f"{WHEEL}%00", f"{WHEEL}%0a", "%ff", "bbb-1.0-py3-none-any.whl",
     f".{WHEEL}", "holy-grail-extra-1.0.zip", f"https://h.example.org@/{WHEEL}", f"http://[{WHEEL}",
     f"//[/{WHEEL}"]
)  # fmt: skip
def test_links_to_anything_else_are_dropped(href: str) -> None:
    page = read_html(anchor(href=href, text=WHEEL) + anchor(href=SDIST))
    assert [file.filename for file in page.files] == [SDIST]


def test_the_text_of_an_anchor_names_nothing() -> None:
    (file,) = read_html(anchor(text="other-9.9.zip")).files
    assert file.filename == WHEEL


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (anchor('data-yanked="b\u00f6se"').encode(), "text/html"),
        (anchor('data-yanked="b\u00f6se"').encode(), "text/html; charset=UTF-8"),
        (b"\xef\xbb\xbf" + anchor('data-yanked="b\u00f6se"').encode(), "text/html"),
        (anchor('data-yanked="b\u00f6se"').encode("latin-1"), "text/html; charset=iso-8859-1"),
        (anchor('data-yanked="b\u00f6se"').encode("cp1252"), 'text/html;charset="Windows-1252"'),
        (anchor('data-yanked="b\u00f6se"').encode("utf-16"), "text/html; charset=utf-16"),
        (anchor('data-yanked="b\u00f6se"').encode(), "text/html; charset=no-such-thing"),
        (anchor('data-yanked="b\u00f6se"').encode(), "text/html; charset=unicode_escape"),
    ],
)
def test_the_charset_is_that_of_the_content_type(body: bytes, content_type: str) -> None:
    (file,) = parse_page(PROJECT, body, content_type, URL, "upstream").files
    assert file.yanked == "b\u00f6se"


@pytest.mark.parametrize(
    "body",
    [
        "<!DOCTYPE html><html><head><title>Links for holy-grail</title></head><body></body></html>",
        "<title>Mirror: links for holy-grail</title><h1>x</h1><p>nothing yet</p>",
        "<html><body><h1>Index of /pypi/holy-grail</h1><a href='../'>..</a></body></html>",
        "<meta name='pypi:repository-version' content='1.0'><p>No files.</p>",
        "<!DOCTYPE html><html><body>\n</body></html>",
        "<html><head><meta charset=utf-8><base href='/'></head><body><!-- none --></body></html>",
        "<?xml version='1.0'?><!DOCTYPE html><html xmlns='x'><body></body></html>",
        "<body></body>",
        "<title>Simple API - links for Holy_Grail</title><form></form>",
        "<title>Index of pypi-local/holy-grail/</title>",
        "<h1>Directory: /simple/holy-grail/</h1>",
    ],
)
def test_a_page_may_have_no_files(body: str) -> None:
    page = read_html(body)
    assert (page.files, page.versions) == ((), ())


@pytest.mark.parametrize(
    "body",
    [
        "",
        "  \n",
        "Service unavailable",
        "<html><title>Log in</title><form action='/login'><input name=user></form></html>",
        "<html><head><script src='/challenge.js'></script></head><body></body></html>",
        "<html><head><meta http-equiv=refresh content='0;url=/login'></head></html>",
        "<html><body><iframe src='https://portal.example.com'></iframe></body></html>",
        "<title>Just a moment...</title>",
        "<h1>503 Backend fetch failed</h1><p>Guru Meditation</p>",
        "<?xml version='1.0'?><error code='quota' retry='60'/>",
        "<?xml version='1.0'?><html2><body/></html2>",
        "<?xml version='1.0'?><html><body>Error</body></html>",
        f"<?xml version='1.0'?><rss><channel><item>{anchor()}</item></channel></rss>",
        f"<svg xmlns='http://www.w3.org/2000/svg'><title>Index of /x/</title>{anchor()}</svg>",
        f"<urlset><url><loc>https://example.com/{WHEEL}</loc></url></urlset>",
        f"<feed><title>Links for holy-grail</title><entry><link href='{WHEEL}'/></entry></feed>",
        "<svg xmlns='http://www.w3.org/2000/svg'><path d='M0 0'/></svg>",
        "<html><body><img src='/maintenance.png'></body></html>",
        "<html><body><a href='/login'><img src='/logo.png' alt='Sign in'></a></body></html>",
        "<html><body><div id=app></div><script src=/app.js></script></body></html>",
        "<title>Quick links for guests</title><a href='/login'>Log in</a>",
        "<title>Index of our services</title><a href='/login'>Log in</a>",
        "<title>Links for other</title><a href='other-1.0.zip'>other-1.0.zip</a>",
        "<!DOCTYPE html>",
        "<p></p>",
        "\x89PNG\r\n\x1a\n\x00\x00<a>\x00",
        f"see {WHEEL} for more",
        f"<!-- {anchor()} -->",
        f"<script>{anchor()}</script>",
        f"<p title='{anchor().replace(chr(39), '')}'>x</p>",
        "<h1>Welcome</h1><a href='/docs/'>Documentation</a><a href='setup-1.0.zip'>Download</a>",
    ],
)
def test_what_is_not_a_page_of_files_is_unreadable(body: str) -> None:
    with pytest.raises(UnreadablePage, match="no page of a project"):
        read_html(body)


def test_names_without_a_semicolon_are_no_references_within_an_address() -> None:
    assert read_file(href=f"{WHEEL}?a=1&region=x&copy=2&amp;b=3&lt").url == (
        f"{URL}{WHEEL}?a=1&region=x&copy=2&b=3<"
    )


def test_a_greater_sign_in_quotes_ends_no_tag() -> None:
    assert read_file("data-requires-python=\">=3.9\" title='>'").requires_python == ">=3.9"
    (file,) = read_html(f"<img alt='>' title=it's><A\nHREF = {WHEEL} data-yanked>x</A>").files
    assert file.yanked is True


UNUSUAL = [
    f"<a href={WHEEL} data-requires-python=&gt;=3.9 data-yanked>",
    f"<a\nHREF = {WHEEL}\tdata-requires-python = '>=3.9' data-yanked=''>",
    f'<a href="{WHEEL}"data-requires-python="&gt;=3.9"data-yanked>',
    f'<A/HREF=\'{WHEEL}\'/data-requires-python="&#62;=3.9"data-yanked=""/>',
    f"<a title=it's href={WHEEL} data-requires-python='&gt;=3.9' data-yanked>",
    f"<a <b href={WHEEL} href=other-1.0.zip data-requires-python='&gt;=3.9' data-yanked>",
]


@pytest.mark.parametrize("tag", UNUSUAL)
def test_tags_of_unusual_form_say_what_they_say_to_a_browser(tag: str) -> None:
    (file,) = read_html(f"{tag}x</a>").files
    assert (file.filename, file.requires_python, file.yanked) == (WHEEL, ">=3.9", True)


def test_references_in_tags_of_unusual_form_are_those_of_others() -> None:
    (file,) = read_html(f"<a href={WHEEL}?a=1&region=x&copy=2&amp;b=3&lt>x</a>").files
    assert file.url == f"{URL}{WHEEL}?a=1&region=x&copy=2&b=3<"


def test_the_number_of_tags_of_unusual_form_is_bounded() -> None:
    with pytest.raises(UnreadablePage, match="20,000 tags of unusual form"):
        read_html(f"<a href={WHEEL}>" * 20_001)
    (file,) = read_html(f"<a href={SDIST} {'x' * 5000}>" + anchor()).files
    assert file.filename == WHEEL


def test_the_first_attribute_of_a_name_counts() -> None:
    assert read_file(f'href="{SDIST}"').filename == WHEEL


@pytest.mark.parametrize("version", ["2.0", "0.1", "x", "1!1.0"])
def test_other_major_versions_are_unreadable(version: str) -> None:
    with pytest.raises(UnreadablePage):
        read_html(f"<meta name='pypi:repository-version' content='{version}'>{anchor()}")


@pytest.mark.parametrize("version", ["1.0", "1.4", "1.99"])
def test_any_minor_version_is_read(version: str) -> None:
    page = read_html(f"<meta name='pypi:repository-version' content='{version}'>{anchor()}")
    assert len(page.files) == 1


def test_unknown_words_for_the_status_are_dropped() -> None:
    page = read_html(f"<meta name='pypi:project-status' content='haunted'>{anchor()}")
    assert page.status is None


def test_a_page_cut_short_is_read_as_far_as_it_goes() -> None:
    whole = anchor(href=SDIST) + anchor(f'data-yanked="{"x" * 40}"')
    for length in range(len(anchor(href=SDIST)), len(whole)):
        assert SDIST in [file.filename for file in read_html(whole[:length]).files]


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["<!--", "<?", "</a ", "<a href=x>x", "<p><a href=x>x</p>"])
@pytest.mark.timeout(60)  # a parser without a limit takes minutes
def test_pages_made_to_be_slow_are_refused(piece: str) -> None:
    with pytest.raises(UnreadablePage):
        read_html(piece * 50_000)
