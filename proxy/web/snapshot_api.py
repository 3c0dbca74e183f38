"""Snapshots of a local index by HTTP, for administrators.

``GET /-/snapshots`` lists them; ``POST /-/snapshots/NAME/ACTION`` takes JSON, as for packages.
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from proxy.errors import UploadRefused
from proxy.publish import Editor, PackageChange, Publisher, Snapshots
from proxy.web.errors import plain
from proxy.web.package_api import json_answer, read_json
from proxy.web.uploads import administrator_of, answering, no_uploads, note_change


class SnapshotRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request."""

    incomplete: bool = False
    """For a roll-back: leave out files whose bytes are gone."""


class SnapshotApi:
    """Of one index."""

    def __init__(self, publisher: Publisher | None) -> None:
        """``publisher``: None where uploads are not accepted."""
        self._publisher = publisher

    async def all(self, request: web.Request) -> web.Response:
        """The snapshots, the oldest first, as JSON."""
        if self._publisher is None:
            return plain(404, "this index has no snapshots, as it accepts no uploads")
        return json_answer(await Snapshots(self._publisher).all())

    async def change(self, request: web.Request) -> web.Response:
        """Answers with the changes that were made, as JSON."""
        if self._publisher is None:
            return no_uploads()
        publisher = self._publisher

        async def made() -> web.Response:
            name = request.match_info["snapshot"]
            note_change(request, publisher.name, f"snapshot {name[:63]}")
            editor = administrator_of(request)
            wanted = await read_json(request, SnapshotRequest)
            action = request.match_info["action"]
            return json_answer(await _make(Snapshots(publisher), action, name, wanted, editor))

        return await answering(request, made)


async def _make(
    snapshots: Snapshots, action: str, name: str, wanted: SnapshotRequest, editor: Editor
) -> list[PackageChange]:
    if action == "create":
        return await snapshots.create(name, editor)
    if action == "delete":
        return await snapshots.delete(name, editor)
    if action == "restore":
        return await snapshots.restore(name, editor, incomplete=wanted.incomplete)
    raise UploadRefused("there is no such action: use create, delete or restore")
