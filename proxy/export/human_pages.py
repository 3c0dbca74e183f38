"""Pages for people: a start page that lists all projects, and one page for each project.

The templates have no script and load nothing. Every value is escaped, except the README, which
``readme`` has sanitized.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.distributions import Description
from proxy.export.selection import Release, newest_release
from proxy.model import ProjectName, ProjectPage
from proxy.runtime import count_text, size_text
from proxy.simple import Links

if TYPE_CHECKING:
    from jinja2 import Environment

START_PAGE = "index.html"
_START_PAGE_FROM_PROJECT = "../../index.html"
_TEMPLATES = Path(__file__).with_name("templates")
_OPEN_RELEASES = 3
"""The newest releases, whose files are shown without a click."""
_NO_README = '<p class="muted">This version has no description.</p>'


@dataclass(frozen=True, slots=True)
class Card:
    """A project on the start page."""

    project: ProjectName
    name: str
    version: str
    summary: str


def project_path(project: ProjectName) -> str:
    return f"project/{project}/index.html"


def start_page(cards: Sequence[Card], site: str) -> bytes:
    """``site``: the title of the tree."""
    return _render(
        "start.html",
        title=site,
        site=site,
        home=START_PAGE,
        count=count_text(len(cards), "project"),
        cards=cards,
    )


def project_page(
    page: ProjectPage,
    releases: Sequence[Release],
    description: Description,
    readme: str,
    links: Links,
    site: str,
) -> bytes:
    """``readme`` is HTML that is safe to show. ``releases`` are all of the page, newest first."""
    latest, project = newest_release(releases), page.project
    name = description.name or project
    python = sorted({file.requires_python for file in latest.files if file.requires_python})
    return _render(
        "project.html",
        title=f"{name} {latest.version}".strip() + f" · {site}",
        site=site,
        home=_START_PAGE_FROM_PROJECT,
        project=project,
        name=name,
        status=page.status,
        requirement=f"{project}=={latest.version}" if latest.version else project,
        description=description,
        readme=readme or _NO_README,
        python=python or [description.requires_python],
        needs=[each for each in description.requires if "extra ==" not in each],
        latest=latest,
        open_releases=_OPEN_RELEASES,
        releases=[
            (each, list(zip(each.files, links(project, each.files), strict=True)))
            for each in releases
        ],
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["size_text"] = size_text
    environment.globals["project_path"] = project_path
    return environment


def _render(template: str, **values: Any) -> bytes:
    text = _environment().get_template(template).render(**values)
    return text.encode("utf-8", "replace")
