"""Changes of published packages by HTTP, and the feed of all changes.

``POST /-/packages/PROJECT/ACTION`` takes JSON, and only JSON: no form of a page of another site can
send that. ``GET /-/changes`` gives lines of JSON.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import msgspec
from aiohttp import web

from proxy.access import Scope
from proxy.errors import UploadRefused
from proxy.model import ProjectName, ProjectStatus
from proxy.publish import Editor, PackageChange, Promotion, Publisher, Selection, Upkeep
from proxy.runtime import in_thread
from proxy.web.authentication import require, visible_projects
from proxy.web.errors import plain
from proxy.web.middleware import READY
from proxy.web.request_state import REQUEST_STATE, project_of
from proxy.web.upload_form import printable
from proxy.web.uploads import answering, editor_of, no_uploads, note_change

RequestBody = TypeVar("RequestBody")
_MAX_BODY = 64 * 1024
_MAX_CHANGES = 1000
"""Changes in one answer of the feed."""
_MAX_NUMBER = 2**63 - 1
"""Of a change: the largest number that SQLite knows."""
_MAX_WAIT = 60.0
"""Seconds that a request for the feed may wait for a change."""
_LOOK_INTERVAL = 0.25
"""Seconds between looks for changes that other processes have made."""


class ChangeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a change; which fields count depends on the action."""

    version: str = ""
    filename: str = ""
    everything: bool = False
    """All files of the project; else a version or filename has to be given."""
    reason: str = ""
    status: str = ""
    owners: list[str] = []
    source: str = msgspec.field(default="", name="from")
    """The index from which files are promoted."""


class PackageApi:
    """Of one index."""

    def __init__(
        self, index: str, publisher: Publisher | None, publishers: Mapping[str, Publisher]
    ) -> None:
        """As for ``UploadHandler``. ``publishers``: those of all indexes, by path, such as
        ``/team``; their files can be promoted."""
        self._index = index
        self._publisher = publisher
        self._publishers = publishers

    async def change(self, request: web.Request) -> web.Response:
        """Answers with the changes that were made, as JSON."""
        if self._publisher is None:
            return no_uploads()
        publisher = self._publisher

        async def made() -> web.Response:
            project = project_of(request)
            note_change(request, publisher.name)
            editor = editor_of(request, (self._index, publisher.name), project)
            wanted = await read_json(request, ChangeRequest)
            note_change(request, publisher.name, wanted.filename)
            changes = await self._make(request, publisher, project, wanted, editor)
            if len(changes) == 1:
                state = request[REQUEST_STATE]
                state.changed, state.digest = changes[0].filename, changes[0].sha256
            return json_answer(changes)

        return await answering(request, made)

    async def changes(self, request: web.Request) -> web.Response:
        """The changes after ``since``; with ``wait``, as soon as there are some, in seconds.

        A server that stops waits no longer, so that its clients do not delay its end.
        """
        if self._publisher is None:
            return plain(404, "this index has no feed of changes, as it accepts no uploads")
        try:
            since = min(max(0, int(request.query.get("since", "0"))), _MAX_NUMBER)
            wait = min(_MAX_WAIT, max(0.0, float(request.query.get("wait", "0"))))
        except ValueError:
            return plain(400, "since is the number of a change, and wait a number of seconds")
        require(request, Scope.READ, self._index)
        is_visible = visible_projects(request, self._index) or _anything
        deadline, ready = time.monotonic() + wait, request.app[READY]
        shown = await self._after(
            since, lambda: time.monotonic() < deadline and ready(), is_visible
        )
        body = b"".join(msgspec.json.encode(change) + b"\n" for change in shown)
        headers = {"Cache-Control": "no-store"}
        return web.Response(body=body, content_type="application/x-ndjson", headers=headers)

    async def _make(
        self,
        request: web.Request,
        publisher: Publisher,
        project: ProjectName,
        wanted: ChangeRequest,
        editor: Editor,
    ) -> list[PackageChange]:
        action = request.match_info["action"]
        if action == "promote":
            selected = _selected(project, wanted)
            source = self._source(request, wanted.source, project)
            return await Promotion(source, publisher).promote(selected, editor)
        if action not in _ACTIONS:
            known = ", ".join([*_ACTIONS, "promote"])
            raise UploadRefused(f"there is no such action: use one of {known}")
        return await _ACTIONS[action](Upkeep(publisher), project, wanted, editor)

    def _source(self, request: web.Request, name: str, project: ProjectName) -> Publisher:
        """The source of promoted files, which the principal must be allowed to read."""
        require(request, Scope.READ, name, project)
        found = self._publishers.get(f"/{name}")
        if found is None or found is self._publisher:
            raise UploadRefused(f"from: {printable(name)!r} is no other index with uploads")
        return found

    async def _after(
        self, since: int, may_wait: Callable[[], bool], is_visible: Callable[[ProjectName], bool]
    ) -> list[PackageChange]:
        """Goes on after changes that the principal may not see: its client learns no number of
        them from which it could go on."""
        assert self._publisher
        journal = self._publisher.journal
        while True:
            found = await in_thread(journal.changes, since, _MAX_CHANGES)
            shown = [change for change in found if is_visible(change.project)]
            if shown or not (found or may_wait()):
                return shown
            if found:
                since = found[-1].number
            else:
                await asyncio.sleep(_LOOK_INTERVAL)


def _anything(project: ProjectName) -> bool:
    return True


def json_answer(value: object) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    body = msgspec.json.encode(value)
    return web.Response(body=body, content_type="application/json", headers=headers)


async def read_json(request: web.Request, kind: type[RequestBody]) -> RequestBody:
    """The body of the request; no body is an empty object. Raises ``UploadRefused``."""
    if request.content_type != "application/json":
        raise UploadRefused("send JSON, with Content-Type: application/json")
    data = bytearray()
    async for piece in request.content.iter_any():
        data += piece
        if len(data) > _MAX_BODY:
            raise UploadRefused("the request is too long")
    try:
        return msgspec.json.decode(bytes(data) or b"{}", type=kind)
    except msgspec.MsgspecError as error:
        raise UploadRefused(f"the JSON is not what is expected: {error}") from None


def _selected(project: ProjectName, wanted: ChangeRequest) -> Selection:
    if wanted.everything is bool(wanted.version or wanted.filename):
        raise UploadRefused("give a version, a filename, or everything: true")
    return Selection(project, wanted.version, wanted.filename)


_Act = Callable[[Upkeep, ProjectName, ChangeRequest, Editor], Awaitable[list[PackageChange]]]


_ACTIONS: dict[str, _Act] = {
    "yank": lambda upkeep, project, wanted, editor: upkeep.yank(
        _selected(project, wanted), wanted.reason, editor
    ),
    "unyank": lambda upkeep, project, wanted, editor: upkeep.unyank(
        _selected(project, wanted), editor
    ),
    "delete": lambda upkeep, project, wanted, editor: upkeep.delete(
        _selected(project, wanted), editor
    ),
    "restore": lambda upkeep, project, wanted, editor: upkeep.restore(
        _selected(project, wanted), editor
    ),
    "status": lambda upkeep, project, wanted, editor: upkeep.set_status(
        project, ProjectStatus(wanted.status, wanted.reason or None), editor
    ),
    "claim": lambda upkeep, project, wanted, editor: upkeep.claim(project, editor),
    "owners": lambda upkeep, project, wanted, editor: upkeep.set_owners(
        project, wanted.owners, editor
    ),
}
