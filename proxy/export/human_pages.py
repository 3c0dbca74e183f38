"""A project's page for people: what it is, how it is installed, its README, its files.

The start page for people: how to install from here, and which projects there are.

The frame of every page for people.

How the pages for people look. No script, nothing from elsewhere, light and dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from proxy.distributions import Description
from proxy.export.selection import Release, newest
from proxy.model import File, ProjectName, ProjectPage
from proxy.runtime import size_text
from proxy.simple import Links

_HOME = "../../index.html"
_OPEN = 3
"""Releases whose files are shown without a click."""


def project_path(project: ProjectName) -> str:
    return f"project/{project}/index.html"


def project_page(
    page: ProjectPage,
    found: list[Release],
    description: Description,
    readme: str,
    links: Links,
    site: str,
) -> bytes:
    """``readme`` is HTML that can be trusted; all the rest is escaped here."""
    latest = newest(found)
    name = escape(description.name or page.project)
    body = (
        f'<h1>{name} <span class="version">{escape(latest.version)}</span></h1>\n'
        f'<p class="lead">{escape(description.summary)}</p>\n'
        f"{_status(page)}"
        f'<pre>pip install --index-url <a href="{_HOME}" title="Where the start page is">'
        f"<b>ADDRESS</b></a>/simple/ {escape(_requirement(page.project, latest))}</pre>\n"
        '<div class="columns">\n'
        f'<article class="card readme">{readme or _NO_README}</article>\n'
        f'<aside class="card facts">{"".join(_facts(page.project, latest, description))}</aside>\n'
        "</div>\n"
        f'<h2 class="files" id="files">Files</h2>\n{_files(page.project, found, latest, links)}'
    )
    title = f"{description.name or page.project} {latest.version}".strip()
    return document(f"{title} · {site}", site, _HOME, body)


_NO_README = '<p class="muted">This version has no description.</p>'


def _requirement(project: ProjectName, latest: Release) -> str:
    return f"{project}=={latest.version}" if latest.version else project


def _status(page: ProjectPage) -> str:
    if page.status is None or page.status.status == "active":
        return ""
    reason = f": {page.status.reason}" if page.status.reason else ""
    return f'<p><span class="badge">{escape(page.status.status + reason)}</span></p>\n'


def _facts(project: ProjectName, latest: Release, description: Description) -> Iterator[str]:
    python = {file.requires_python for file in latest.files if file.requires_python}
    yield _fact("Released", [latest.uploaded])
    yield _fact("Python", sorted(python) or [description.requires_python])
    yield _fact("Licence", [description.license[:120]])
    yield _fact("Author", [description.author])
    if description.links:
        links = (
            f'<li><a href="{escape(address)}" rel="nofollow noopener">{escape(label)}</a></li>'
            for label, address in description.links
        )
        yield f"<h2>Links</h2><ul>{''.join(links)}</ul>\n"
    yield _fact("Needs", [each for each in description.requires if "extra ==" not in each])
    yield '<h2>For installers</h2><ul><li><a href="#files">Files</a></li>'
    yield f'<li><a href="../../simple/{project}/index.html">Simple page</a></li></ul>\n'


def _fact(title: str, values: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(value)}</li>" for value in values if value)
    return f"<h2>{title}</h2><ul>{items}</ul>\n" if items else ""


def _files(project: ProjectName, found: list[Release], latest: Release, links: Links) -> str:
    return "".join(
        f'<details class="release"{" open" if place < _OPEN or each is latest else ""}>'
        f"<summary><strong>{escape(each.version or 'other files')}</strong>"
        f'<span class="muted">{escape(each.uploaded)}</span>'
        f"{_yanked(True) if each.yanked else ''}</summary>\n"
        f'<table class="files">\n{"".join(map(_row, each.files, links(project, each.files)))}'
        "</table></details>\n"
        for place, each in enumerate(found)
    )


def _row(file: File, link: str) -> str:
    fragment = f"#sha256={file.sha256}" if file.sha256 else ""
    digest = f'<span class="hash">sha256 {escape(file.sha256)}</span>' if file.sha256 else ""
    size = size_text(file.size) if file.size is not None else ""
    return (
        f'<tr><td><a href="{escape(link)}{escape(fragment)}" rel="nofollow">'
        f"{escape(file.filename)}</a>{_yanked(file.yanked)}{digest}</td>"
        f"<td>{escape((file.uploaded or '')[:10])}</td><td>{size}</td></tr>\n"
    )


def _yanked(yanked: bool | str) -> str:
    if not yanked:
        return ""
    reason = f": {yanked}" if isinstance(yanked, str) else ""
    return f'<span class="badge">yanked{escape(reason)}</span>'


START_PAGE = "index.html"


@dataclass(frozen=True, slots=True)
class Card:
    """A project on the start page."""

    project: ProjectName
    name: str
    version: str
    summary: str


def start_page(cards: Sequence[Card], site: str) -> bytes:
    count = f"{len(cards)} project{'' if len(cards) == 1 else 's'}"
    body = (
        f"<h1>{escape(site)}</h1>\n"
        f'<p class="lead">{count}, for pip, uv and every other Python installer.</p>\n'
        "<pre>pip install --index-url <b>ADDRESS</b>/simple/ NAME\n"
        "uv pip install --index-url <b>ADDRESS</b>/simple/ NAME</pre>\n"
        '<p class="muted"><b>ADDRESS</b> is where this page is, up to the last slash. The list'
        ' for installers is at <a href="simple/index.html">simple/</a>.</p>\n'
        f'<ul class="projects">\n{"".join(map(_card, cards))}</ul>\n'
    )
    return document(site, site, START_PAGE, body)


def _card(card: Card) -> str:
    return (
        f'<li><a href="{project_path(card.project)}"><strong>{escape(card.name)}</strong> '
        f"<span>{escape(card.version)}</span><p>{escape(card.summary)}</p></a></li>\n"
    )


_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
"""Nothing is run and nothing is fetched, whatever a description smuggles in."""


def document(title: str, site: str, home: str, body: str) -> bytes:
    """The page; ``body`` is HTML, ``home`` the relative address of the start page."""
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n'
        "<head>\n"
        '<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>{STYLE}</style>\n"
        "</head>\n"
        "<body>\n"
        f'<header class="top"><div><a href="{home}">{escape(site)}</a></div></header>\n'
        f"<main>\n{body}</main>\n"
        "<footer>Plain files, made by waystation.</footer>\n"
        "</body>\n"
        "</html>\n"
    ).encode("utf-8", "replace")


STYLE = """
:root { color-scheme: light dark; --text: #1c2733; --soft: #55636f; --line: #dfe4e9;
  --back: #f7f8fa; --card: #fff; --link: #0b5cad; --mark: #e8f1fb; --warn: #9a3412;
  --keyword: #8250df; --string: #0a6640; --number: #0550ae; --name: #953800; }
@media (prefers-color-scheme: dark) { :root { --text: #dde4ea; --soft: #98a5b1;
  --line: #313b46; --back: #14191f; --card: #1c232b; --link: #7db9f5; --mark: #1d3047;
  --warn: #fdba74; --keyword: #d2a8ff; --string: #7ee0a5; --number: #79c0ff;
  --name: #ffa657; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: break-word; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
header.top { background: var(--card); border-bottom: 1px solid var(--line); }
header.top div, main, footer { max-width: 68rem; margin: 0 auto; padding: 0 1.25rem; }
header.top div { padding-top: .7rem; padding-bottom: .7rem; font-weight: 600; }
header.top a { color: var(--text); }
main { padding-top: 2rem; padding-bottom: 2rem; }
footer { color: var(--soft); font-size: .85rem; padding-bottom: 2.5rem; }
h1, h2, h3, h4 { line-height: 1.25; }
main > h1 { font-size: 2rem; margin: 0; }
main > h1 .version { color: var(--soft); font-weight: 400; margin-left: .2em; }
.lead { color: var(--soft); font-size: 1.1rem; margin: .35rem 0 1.25rem; }
pre, code, kbd, tt, .docutils.literal { font-family: ui-monospace, SFMono-Regular, Menlo,
  Consolas, "Liberation Mono", monospace; font-size: .875em; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .75rem 1rem; overflow-x: auto; line-height: 1.5; }
pre code { font-size: 1em; background: none; padding: 0; }
pre.plain { white-space: pre-wrap; }
:not(pre) > code, .docutils.literal { background: var(--mark); border-radius: 4px;
  padding: .1em .35em; }
.columns { display: grid; grid-template-columns: minmax(0, 1fr) 17rem; gap: 2rem;
  align-items: start; margin-top: 1.5rem; }
.columns > * { min-width: 0; }
@media (max-width: 52rem) { .columns { grid-template-columns: minmax(0, 1fr); }
  .columns > aside { order: -1; } }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1.25rem 1.5rem; }
.facts.card { font-size: .9rem; padding: .5rem 1.25rem 1rem; }
.facts h2 { font-size: .78rem; letter-spacing: .05em; text-transform: uppercase;
  color: var(--soft); margin: 1.1rem 0 .25rem; }
.facts ul { list-style: none; margin: 0; padding: 0; }
.readme > :first-child, .readme > section:first-child > :first-child { margin-top: 0; }
.readme h1 { font-size: 1.6rem; } .readme h2 { font-size: 1.3rem; }
.readme h1, .readme h2 { border-bottom: 1px solid var(--line); padding-bottom: .3rem; }
.readme h3 { font-size: 1.1rem; } .readme pre { background: var(--back); }
.readme pre.plain { background: none; border: 0; padding: 0; }
.readme blockquote { margin: 1rem 0; padding: 0 1rem; color: var(--soft);
  border-left: .25rem solid var(--line); }
.readme table { border-collapse: collapse; display: block; overflow-x: auto; }
.readme th, .readme td { border: 1px solid var(--line); padding: .3rem .75rem; }
.readme li > p, .readme td > p, .readme th > p { margin: .2rem 0; }
.readme aside, .readme .alert { border-left: .25rem solid var(--link); padding: .1rem 1rem;
  background: var(--back); margin: 1rem 0; } .readme .admonition-title { font-weight: 600; }
.readme aside aside { border: 0; padding: 0; margin: 0; } .readme aside p { margin: .4rem 0; }
.readme > :last-child { margin-bottom: 0; }
.picture { display: inline-block; font-size: .78rem; line-height: 1.5; padding: 0 .55rem;
  background: var(--mark); border-radius: 1rem; }
.muted { color: var(--soft); }
h2.files { margin: 2.25rem 0 .75rem; font-size: 1.3rem; }
details.release { background: var(--card); border: 1px solid var(--line); margin-top: -1px; }
details.release:first-of-type { border-radius: 10px 10px 0 0; }
details.release:last-of-type { border-radius: 0 0 10px 10px; }
details.release:only-of-type { border-radius: 10px; }
details.release > summary { cursor: pointer; padding: .6rem 1.25rem; }
summary strong { margin-right: .6rem; }
.files td { padding: .4rem 1.25rem; border-top: 1px solid var(--line);
  vertical-align: top; } table.files { width: 100%; border-collapse: collapse;
  font-size: .92rem; } .files td + td { width: 8.5rem; white-space: nowrap; color: var(--soft);
  text-align: right; } .files td:first-child { overflow-wrap: anywhere; }
@media (max-width: 40rem) { .files td:first-child { display: block; }
  .files td + td { display: inline-block; width: auto; border: 0; padding-top: 0; } }
.hash { display: block; font-size: .75rem; color: var(--soft); overflow-wrap: anywhere; }
.badge { color: var(--warn); border: 1px solid currentColor; border-radius: .7rem;
  display: inline-block; font-size: .75rem; line-height: 1.5; padding: .05rem .5rem;
  margin-left: .4rem; white-space: normal; overflow-wrap: anywhere; }
ul.projects { list-style: none; margin: 1rem 0 0; padding: 0; display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); }
ul.projects a { display: block; height: 100%; padding: .8rem 1rem; color: inherit;
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
ul.projects a:hover { border-color: var(--link); text-decoration: none; }
ul.projects strong { color: var(--link); }
ul.projects span { color: var(--soft); font-size: .9rem; } ul.projects p { margin: .2rem 0 0;
  font-size: .9rem; color: var(--soft); display: -webkit-box; overflow: hidden;
  -webkit-line-clamp: 2; -webkit-box-orient: vertical; }
.k, .kn, .kd, .kr, .kc, .kt, .ow { color: var(--keyword); }
.s, .s1, .s2, .sd, .sb, .se, .si, .sa { color: var(--string); }
.mi, .mf, .mh, .m, .nb, .bp { color: var(--number); } .nf, .nc, .nd, .nt, .na
{ color: var(--name); } .c, .c1, .cm, .ch, .gp, .go { color: var(--soft); }
"""
