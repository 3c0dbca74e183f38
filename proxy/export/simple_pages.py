"""Pages for installers (Simple API, HTML and JSON), and the addresses of files on them."""

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
    """The path of a file in the tree, the same as in addresses of a running server.

    So relative links are the same, too.
    """
    return f"files/{project}/{file.address_digest}/{file.filename}"


def file_paths(project: ProjectName, file: File) -> tuple[str, ...]:
    """The paths of a file and its siblings."""
    path = file_path(project, file)
    beside = (path + suffix for suffix in file.beside)
    return path, path + METADATA, path + PROVENANCE, *beside


def project_pages(page: ProjectPage, files: Sequence[File], links: Links) -> dict[str, bytes]:
    """The page with these files, by path."""
    project = page.project
    shown = msgspec.structs.replace(
        page, files=tuple(files), versions=tuple(_versions(page, files))
    )
    texts = page_html(shown, links), page_json(shown, links)
    return dict(zip(page_paths(project), texts, strict=True))


def project_lists(projects: Sequence[ProjectName]) -> dict[str, bytes]:
    """The list of projects, by path."""
    return dict(zip(PROJECT_LISTS, (projects_html(projects), projects_json(projects)), strict=True))


def _versions(page: ProjectPage, files: Iterable[File]) -> Iterable[str]:
    """The versions (PEP 700) of these files; all versions if a file name has none."""
    listed = {version_of(file.filename, page.project) for file in files}
    if None in listed:
        return page.versions
    return (version for version in page.versions if normalize_version(version) in listed)


_OPTION = "--base-url"
_URL_CHARACTERS = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/\[\]-]*\Z")
_FILES_FOLDER = "../../files/"


def parse_base_url(text: str) -> str:
    """The address, with a slash at its end. Raises ``ConfigurationError``."""
    try:
        parts = urlsplit(text)
    except ValueError:
        raise _invalid_base_url(text, "not an address") from None
    if not _URL_CHARACTERS.match(text):
        raise _invalid_base_url(text, "it has characters that a folder address cannot have")
    if "@" in parts.netloc:
        raise ConfigurationError(
            _OPTION, "it contains a user name", "remove it: the pages would show it to everyone"
        )
    absolute = parts.scheme in ("http", "https") and parts.netloc
    relative = not parts.scheme and not parts.netloc and parts.path
    if not (absolute or relative):
        raise _invalid_base_url(text, "not a web address")
    return text.rstrip("/") + "/"


def tree_links(base: str | None) -> Links:
    """Links to files in the tree, or below ``base`` if the files are moved there."""
    if base is None:
        return relative_links
    return lambda project, files: [
        base + link.removeprefix(_FILES_FOLDER) for link in relative_links(project, files)
    ]


def flat_links(base: str) -> Links:
    """Links to files in one folder elsewhere."""
    return lambda project, files: [flat_url(base, file.filename) for file in files]


def flat_url(base: str, filename: str) -> str:
    return base + quote(filename, safe="")


def listed_links(project: ProjectName, files: Sequence[File]) -> list[str]:
    """Links to the addresses in a file list."""
    return [file.url for file in files]


def _invalid_base_url(text: str, problem: str) -> ConfigurationError:
    remedy = "give one such as https://files.example.com/pool/, or a relative one"
    return ConfigurationError(_OPTION, f"{text!r}: {problem}", remedy)
