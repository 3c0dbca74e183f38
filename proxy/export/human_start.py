"""The start page for people: how to install from here, and which projects there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from proxy.export.document import document
from proxy.export.human_project import project_path
from proxy.model import ProjectName

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
