"""The banner at the top of a project's page; its most serious sentence comes first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from proxy.face.project_view import ProjectView
from proxy.presentation import moment

_GRAVITIES = ("bad", "warn", "")


class Notice(NamedTuple):
    """A sentence of the banner."""

    gravity: str
    """bad, warn, or empty; a class of the style."""
    text: str
    link: str = ""
    """An address below the root of the index; empty: there is none."""
    label: str = ""
    """The text of the link, after that of the notice."""


def notices(view: ProjectView, failure: str) -> list[Notice]:
    """``failure``: why an upstream could not be asked; empty: it could, or need not be."""
    found = [*_of_page(view, failure), *_of_version(view)]
    return sorted(found, key=lambda each: _GRAVITIES.index(each.gravity))


def _of_page(view: ProjectView, failure: str) -> Iterator[Notice]:
    checked = f" at {moment(view.page.checked)}" if view.page.checked else ""
    if failure:
        yield Notice("warn", f"{failure}. This page shows what was known{checked}.")
    elif view.state == "expired":
        yield Notice(
            "warn", f"The page was last checked{checked}, and has not been confirmed since."
        )
    status = view.page.status
    if status and status.status != "active":
        reason = f": {status.reason}" if status.reason else ""
        yield Notice(
            "bad" if status.status == "quarantined" else "warn",
            f"{', '.join(view.sources)} says that the project is {status.status}{reason}.",
        )


def _of_version(view: ProjectView) -> Iterator[Notice]:
    if view.release is None:
        return
    if not view.is_offered:
        what = "this version" if view.latest else "this project"
        why = f"-/why/{view.project}" + (f"/{view.version}" if view.latest else "")
        yield Notice("bad", f"Installers get no file of {what}:", why, "why?")
    if view.release.yanked:
        reason = f": {view.release.yank_reason}" if view.release.yank_reason else ""
        only = "Installers take it only where exactly this version is requested."
        yield Notice("warn", f"Yanked{reason}. {only}")
    if view.latest and view.version != view.latest:
        yield Notice("", "Installers choose the version", f"project/{view.project}/", view.latest)
