"""What resolving an address promises, whatever the address."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.simple.urls import are_plain, joined, last_segment, origin, resolve
from tests.support.page_strategies import URL

PIECES = st.sampled_from(
    ["http", "https", ":", "//", "/", "\\", "@", "?", "#", "%2F", "[", "]", "::1", "h.example.org",
     "evil.example", ".", "..", "user:pw", ":80", ":99999999", " ", "\t", "\n", "\0", "é", "a.whl",
     ";"]
)  # fmt: skip
LINKS = st.lists(PIECES, max_size=10).map("".join) | st.text()


@given(LINKS)
@example("? #")
@example("https://h.example.org?/x/a.whl")
@example("https://h.example.org#/x/a.whl")
@example("https://user@evil.example@h.example.org/a.whl")
def test_what_comes_out_has_one_clear_server(link: str) -> None:
    found = resolve(URL, link)
    if found is None:
        return
    url, _ = found
    assert re.match(r"https?://[a-z0-9.:\[\]_-]+/", url)
    assert url.startswith(origin(url) + "/")
    assert not re.search(r"[\x00-\x1f\x7f\\#]", url)
    assert resolve("http://other.example/", url) == (url.strip(), "")


PLAIN_LINKS = st.sampled_from(
    ["https://h.example.org/a.whl", "http://h:80/x/", "https://h.example.org/%2F?a=b", URL]
)


@given(st.lists(PLAIN_LINKS | LINKS, max_size=3))
@example(["http:///a.whl"])
@example(["https://h.example.org/a.whl\n"])
@example(["https://user@h.example.org/a.whl"])
def test_plain_addresses_are_those_that_stay_as_they_are(links: list[str]) -> None:
    if are_plain(links):
        for link in links:
            assert resolve(URL, link) == (link, "")
            assert resolve(URL, f" {link}") == (link.removesuffix("?"), "")


@given(st.lists(PLAIN_LINKS, max_size=5))
def test_addresses_as_pages_have_them_are_plain(links: list[str]) -> None:
    assert are_plain(links)


BASES = st.sampled_from(
    [URL, "http://h:8080/root/pypi/+simple/foo/", "https://h.example.org", "http://h/a;b/c?d=../e#f",
     "https://user:pw@h.example.org/simple/foo", "http://H/../x/./y//z", "ftp://h/x/", "http://[::1]/"]
)  # fmt: skip
RELATIVE = st.tuples(
    st.sampled_from(["/", "../", "../../", "../../../../"]),
    st.lists(PIECES | st.sampled_from(["files", "a_b-1.0.whl", "x+y"]), max_size=6).map("".join),
).map("".join)


@given(BASES, RELATIVE)
@example(URL, "../../files/foo/0123/foo-1.0-py3-none-any.whl")
@example(URL, "//evil.example/a.whl")
@example(URL, "/a//b")
@example(URL, "../a/../b")
@example(URL, "/a\n")
def test_relative_links_mean_what_the_standard_says(base: str, link: str) -> None:
    short = joined(base, link)
    assert short is None or resolve(base, f" {link}") == (short, "")  # this one takes all steps
    if short:
        host = urlsplit(base).netloc.rpartition("@")[2].lower()
        assert short == urljoin(base, link).replace(urlsplit(base).netloc, host, 1)


def test_relative_links_as_indexes_write_them_take_no_steps() -> None:
    for link in ("../../files/foo/01/foo-1.0.whl", "/packages/ab/cd/foo-1.0%2Bx.tar.gz"):
        assert joined(URL, link) == urljoin(URL, link)


def test_the_last_segment_is_decoded_once() -> None:
    assert last_segment("https://h.example.org/a/b%2Bc%252f?d=/e#/f") == "b+c%2f"
    assert last_segment("https://h.example.org/a/") == ""
    assert last_segment("https://h.example.org/%ff") is None
