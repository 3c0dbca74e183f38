"""What is written of a project for installers: its page in both forms, and the list of all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from proxy.distributions.filename import normal_version
from proxy.model import METADATA, PROVENANCE, File, ProjectName, ProjectPage
from proxy.simple.links import Links
from proxy.simple.names import version_of
from proxy.simple.render import page_html, page_json, projects_html, projects_json

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
    return (version for version in page.versions if normal_version(version) in told)
