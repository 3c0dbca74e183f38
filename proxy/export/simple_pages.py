"""What is written of a project for installers: its page in both forms, and the list of all.

Where the pages of a tree say that files are: in the tree, or at an address elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote, urlsplit

import msgspec

from proxy.distributions import normalize_version, version_of
from proxy.errors import ConfigurationError
from proxy.model import METADATA, PROVENANCE, File, ProjectName, ProjectPage
from proxy.simple import Links, page_html, page_json, projects_html, projects_json, relative_links

PROJECT_LISTS = ("simple/index.html", "simple/index.json")


def page_paths(project: ProjectName) -> tuple[str, str]:
    return f"simple/{project}/index.html", f"simple/{project}/index.json"


def file_path(project: ProjectName, file: File) -> str:
    """Where a file is in the tree; its siblings are beside it.

    The same as in the addresses of a running server, so that relative links are the same too.
    """
    return f"files/{project}/{file.address_digest}/{file.filename}"


def file_paths(project: ProjectName, file: File) -> tuple[str, ...]:
    """All that may be written of a file."""
    path = file_path(project, file)
    return path, path + METADATA, path + PROVENANCE


def pages(page: ProjectPage, files: Sequence[File], links: Links) -> dict[str, bytes]:
    """The page with these files, by path."""
    project = page.project
    shown = msgspec.structs.replace(
        page, files=tuple(files), versions=tuple(_versions(page, files))
    )
    texts = page_html(shown, links), page_json(shown, links)
    return dict(zip(page_paths(project), texts, strict=True))


def lists(projects: Sequence[ProjectName]) -> dict[str, bytes]:
    """The list of projects, by path."""
    return dict(zip(PROJECT_LISTS, (projects_html(projects), projects_json(projects)), strict=True))


def _versions(page: ProjectPage, files: Iterable[File]) -> Iterable[str]:
    """Those of these files; all where a file does not tell its own (PEP 700)."""
    told = {version_of(file.filename, page.project) for file in files}
    if None in told:
        return page.versions
    return (version for version in page.versions if normalize_version(version) in told)


_KEY = "--base-url"
_CLEAN = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/\[\]-]*\Z")
_OURS = "../../files/"


def base_address(text: str) -> str:
    """The address with a slash at its end. Raises ``ConfigurationError`` for what is none."""
    try:
        parts = urlsplit(text)
    except ValueError:
        raise _wrong(text, "not an address") from None
    if not _CLEAN.match(text):
        raise _wrong(text, "it has characters that an address of a folder does not have")
    if "@" in parts.netloc:
        raise ConfigurationError(_KEY, "it holds a user name", "pages would show it to everybody")
    absolute = parts.scheme in ("http", "https") and parts.netloc
    relative = not parts.scheme and not parts.netloc and parts.path
    if not (absolute or relative):
        raise _wrong(text, "not an address on the web")
    return text.rstrip("/") + "/"


def in_tree(base: str | None) -> Links:
    """Files that are written: beside the pages, or below ``base`` once they are moved there."""
    if base is None:
        return relative_links
    return lambda project, files: [
        base + link.removeprefix(_OURS) for link in relative_links(project, files)
    ]


def flat(base: str) -> Links:
    """Files that all lie in one folder elsewhere."""
    return lambda project, files: [flat_address(base, file.filename) for file in files]


def flat_address(base: str, filename: str) -> str:
    return base + quote(filename, safe="")


def as_listed(project: ProjectName, files: Sequence[File]) -> list[str]:
    """Files whose list names their addresses."""
    return [file.url for file in files]


def _wrong(text: str, problem: str) -> ConfigurationError:
    remedy = "give one such as https://files.example.com/pool/, or a relative one"
    return ConfigurationError(_KEY, f"{text!r}: {problem}", remedy)
