"""A project's page for people: what it is, how it is installed, its README, its files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from proxy.export.description import Description
from proxy.export.document import document
from proxy.export.releases import Release, newest
from proxy.model import File, ProjectName, ProjectPage
from proxy.simple.links import Links
from proxy.sizes import size_text

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
