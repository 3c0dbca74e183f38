"""Pages for people: their title and logo, a start page with all projects, a page for each project.

The templates have no script and load nothing. Every value is escaped, except the README, which
``readme`` has sanitized.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.distributions import Description
from proxy.errors import ConfigurationError
from proxy.model import File, ProjectName, ProjectPage
from proxy.presentation import FileLine
from proxy.presentation import render as render_template
from proxy.releases import ProjectRelease, file_in_words, newest_release
from proxy.runtime import count_text
from proxy.simple import Links

START_PAGE = "index.html"
_OPEN_RELEASES = 3
"""The newest releases, whose files are shown without a click."""
MAX_LOGO = 2**20
"""Bytes."""
LOGO_SUFFIXES = (".png", ".svg", ".jpg", ".jpeg", ".gif", ".webp")


@dataclass(frozen=True, slots=True)
class Site:
    """The top of all pages for people."""

    title: str = "Package index"
    logo: bytes = b""
    """An image; empty: none."""
    logo_path: str = ""
    """Where the image is in the tree."""


def read_logo(title: str, path: Path) -> Site:
    """A site with that title and the image at ``path``. Raises ``ConfigurationError``."""
    suffix = path.suffix.lower()
    if suffix not in LOGO_SUFFIXES:
        problem = f"{path} is not an image that browsers show"
        raise ConfigurationError("--logo", problem, f"give one of {', '.join(LOGO_SUFFIXES)}")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LOGO + 1)
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror}"
        raise ConfigurationError("--logo", problem, "name an image") from None
    if not 0 < len(data) <= MAX_LOGO:
        problem = f"{path} is empty" if not data else f"{path} is larger than 1 MiB"
        raise ConfigurationError("--logo", problem, "give a small image")
    return Site(title, data, f"logo{suffix}")


@dataclass(frozen=True, slots=True)
class Card:
    """A project on the start page."""

    project: ProjectName
    name: str
    version: str
    summary: str


def project_path(project: ProjectName) -> str:
    return f"project/{project}/index.html"


def start_page(cards: Sequence[Card], site: Site) -> bytes:
    return render(
        "start.html",
        site,
        "",
        title=site.title,
        count=count_text(len(cards), "project"),
        cards=cards,
    )


def project_page(
    page: ProjectPage,
    releases: Sequence[ProjectRelease],
    description: Description,
    readme: str,
    links: Links,
    site: Site,
) -> bytes:
    """``readme`` is HTML that is safe to show. ``releases`` are all of the page, newest first."""
    latest, project = newest_release(releases), page.project
    name = description.name or project
    python = sorted({file.requires_python for file in latest.files if file.requires_python})
    return render(
        "project.html",
        site,
        "../../",
        title=f"{name} {latest.version}".strip() + f" · {site.title}",
        project=project,
        name=name,
        status=page.status,
        marks=_marks(page, latest),
        requirement=f"{project}=={latest.version}" if latest.version else project,
        description=description,
        readme=readme,
        python=python or [description.requires_python],
        needs=[each for each in description.requires if "extra ==" not in each],
        latest=latest,
        open_releases=_OPEN_RELEASES,
        releases=[(each, _lines(each.files, links(project, each.files))) for each in releases],
    )


def _marks(page: ProjectPage, latest: ProjectRelease) -> list[tuple[str, str]]:
    status = page.status.status if page.status else "active"
    return [
        *([(status, status)] if status != "active" else []),
        *([("yanked", "yanked")] if latest.yanked else []),
    ]


def _lines(files: Sequence[File], links: Sequence[str]) -> list[FileLine]:
    return [
        FileLine(
            file.filename,
            link + (f"#sha256={file.sha256}" if file.sha256 else ""),
            *(file_in_words(file.filename), file.uploaded or "", file.size, file.sha256 or ""),
            [("yanked", "yanked")] if file.yanked else [],
            [file.yanked] if isinstance(file.yanked, str) else [],
        )
        for file, link in zip(files, links, strict=True)
    ]


def render(template: str, site: Site, root: str, **values: Any) -> bytes:
    """``root``: the address of the tree's root, relative to the page."""
    home = root + START_PAGE
    return render_template(
        f"tree_{template}", site=site, root=root, home=home, project_path=project_path, **values
    )
