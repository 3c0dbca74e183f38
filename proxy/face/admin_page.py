"""``/-/admin``: what runs, with which settings, and the actions of an administrator."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from proxy.errors import ConfigurationError, ProxyError
from proxy.face.activity import FigureCard
from proxy.face.shell import Place, Shell, read_fields
from proxy.model import ProjectName, normalize
from proxy.runtime import count_text, size_text
from proxy.web import REQUEST_STATE, Administration, authorize_administration

log = logging.getLogger(__name__)

ACTIONS = {
    "refresh": "Ask upstream for its page now",
    "pin": "Never evict its files",
    "unpin": "Evict them again",
    "purge": "Drop it from the cache",
    "reload": "Reload the settings",
}
MAX_VALUE = 600
"""Characters of a setting that are shown."""


class AdminPage:
    def __init__(self, shell: Shell, offered: Callable[[], Administration | None]) -> None:
        self._shell = shell
        self._offered = offered

    async def page(self, place: Place) -> web.Response:
        return await self._show(place, self._allowed(place, "status"))

    async def act(self, place: Place) -> web.Response:
        """The answer to a form: first what would be done, then with ``sure`` that it was done."""
        form = await read_fields(place.request)
        action, name = str(form.get("action", "")), str(form.get("project", "")).strip()
        offered = self._allowed(place, action)
        if action not in ACTIONS:
            return await self._show(place, offered, problem="choose what is to be done")
        try:
            project = normalize(name) if action != "reload" else None
        except ValueError:
            return await self._show(place, offered, problem="give the name of a project")
        if action == "purge" and form.get("sure") != "yes":
            return await self._show(place, offered, confirm=project)
        try:
            done = await _do(offered, action, project)
        except ConfigurationError as error:
            return await self._show(place, offered, problem="; ".join(map(str, error.parts)))
        except ProxyError as error:
            return await self._show(place, offered, problem=str(error))
        who = place.request[REQUEST_STATE].principal or place.request.remote
        log.info("administration: %s %s by %s", action, project or "", who)
        return await self._show(place, offered, done=done)

    def _allowed(self, place: Place, action: str) -> Administration:
        """Raises ``HTTPNotFound``, ``NoRight`` and ``NotAuthenticated``."""
        authorize_administration(place.request, "status" if action == "refresh" else action)
        offered = self._offered()
        if offered is None:
            raise web.HTTPNotFound
        return offered

    async def _show(self, place: Place, offered: Administration, **values: Any) -> web.Response:
        settings, state = (await offered.settings())["settings"], await offered.status()
        response = self._shell.page(
            place,
            "admin.html",
            private=True,
            section="admin",
            state=state,
            cards=_cards(state),
            pins=(await offered.pins())["projects"],
            policies=settings.get("policies", {}).get("value") or {},
            upstreams=(await offered.upstreams())["upstreams"],
            settings=_rows(settings),
            actions=ACTIONS,
            **{"problem": "", "done": "", "confirm": "", **values},
        )
        response.headers["Cache-Control"] = "no-store"
        return response


async def _do(offered: Administration, action: str, project: ProjectName | None) -> str:
    """The action that was done, in a sentence."""
    if action == "reload":
        found = await offered.reload()
        later = ", ".join(found["needs_restart"])
        return "The settings are reloaded" + (f"; a restart is needed for {later}" * bool(later))
    assert project
    if action == "refresh":
        found = await offered.refresh(project, "")
        return f"The page of {project} was asked for, and lists {found['files']} files"
    if action == "pin":
        found = await offered.pin(project, "")
        return f"{count_text(len(found['pinned']), 'file')} of {project} will not be evicted"
    if action == "unpin":
        found = await offered.unpin(project, "")
        return f"{count_text(len(found['unpinned']), 'file')} of {project} may be evicted again"
    await offered.purge(project, "")
    return f"{project} is dropped from the cache"


def _cards(state: Mapping[str, Any]) -> list[FigureCard]:
    cache, workers = state["cache"], len(state["workers"])
    return [
        FigureCard("In the cache", size_text(cache["bytes"]), count_text(cache["files"], "file")),
        FigureCard("Projects", f"{cache['projects']:,}", "with a page or a file in the cache"),
        FigureCard("Downloads", f"{state['downloads']:,}", "running now"),
        FigureCard(
            "Requests upstream",
            f"{state['upstream_requests']:,}",
            f"running now, of {workers} {'process' if workers == 1 else 'processes'}",
        ),
    ]


def _rows(settings: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Names, values and origins; long values are cut."""
    return [(name, _text(each["value"]), str(each["origin"])) for name, each in settings.items()]


def _text(value: object) -> str:
    """A value as JSON, without the parts of a table that are not set."""
    text = json.dumps(_given(value), default=str, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def _given(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _given(each) for key, each in value.items() if each not in (None, [], {}, "")}
    return [_given(each) for each in value] if isinstance(value, list | tuple) else value
