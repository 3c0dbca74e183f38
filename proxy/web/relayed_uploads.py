"""Uploads to a second site: forwards them to the first one, and returns its answer."""

from __future__ import annotations

import logging

from aiohttp import web

from proxy.errors import ProxyError, UpstreamError
from proxy.upstream import RELAY_MARK
from proxy.web.errors import plain
from proxy.web.mounts import UploadSite
from proxy.web.uploads import answering, note_change, require_editor

log = logging.getLogger(__name__)

RETRY_AFTER = 30
"""Seconds, while the first site does not answer."""


class RelayedUploads:
    """Of one index. The right to upload is needed here too, and so it is there."""

    def __init__(self, index: str, site: UploadSite) -> None:
        """``index``: the name of the index that is served, which may be made of the mirror."""
        self._index = index
        self._site = site

    async def post(self, request: web.Request) -> web.Response:
        if RELAY_MARK in request.headers:
            return plain(508, "two servers pass their uploads on to each other: see follow")

        async def relayed() -> web.Response:
            note_change(request, self._site.index)
            require_editor(request, (self._index, self._site.index))
            return await self._relay(request)

        return await answering(request, relayed)

    async def _relay(self, request: web.Request) -> web.Response:
        try:
            answer = await self._site.send(request.headers, request.content.iter_any())
        except UpstreamError as error:
            log.warning("an upload could not be passed on: %s", error)
            text = (
                f"uploads go to another server, and it does not answer ({error.reason}): upload"
                " again later; nothing is lost if the file has arrived"
            )
            response = plain(503, text)
            response.headers["Retry-After"] = str(RETRY_AFTER)
            return response
        if answer.status < 300:
            try:
                await self._site.catch_up()
            except ProxyError as error:  # the follower tries again
                log.info("the changes after an upload are not known yet: %s", error)
        headers = {**answer.headers, "Cache-Control": "no-store"}
        response = web.Response(status=answer.status, body=answer.body, headers=headers)
        response.set_status(answer.status, answer.phrase)
        return response
