"""Reads the feed of changes of another Waystation: what was published there, and what changed."""

from __future__ import annotations

import msgspec

from proxy.errors import UnreadablePage, UpstreamError
from proxy.upstream.transport import Timeouts, Transport
from proxy.upstream.transport_errors import status_error

LONGEST_WAIT = 25.0
"""Seconds that a request waits for the next change, at most."""
MAX_FEED = 16 * 2**20
"""Bytes of an answer, which has at most a thousand changes."""
_HEADERS = {"Accept": "application/x-ndjson", "Accept-Encoding": "identity"}


class FeedChange(msgspec.Struct, frozen=True):
    """Only what is used of a change. The text is untrusted."""

    number: int
    action: str
    project: str
    filename: str = ""
    sha256: str = ""


class ChangeFeed:
    def __init__(self, name: str, index: str, transport: Transport, timeouts: Timeouts) -> None:
        """``name``: of the mirror here. ``index``: the address of the index there, which ends in
        ``/simple/``. ``timeouts``: those of the transport."""
        self._name = name
        self._url = f"{index.removesuffix('simple/')}-/changes"
        self._transport = transport
        self._wait = min(LONGEST_WAIT, 0.6 * timeouts.page, 0.6 * timeouts.read)

    async def after(self, number: int, *, wait: bool) -> list[FeedChange]:
        """The changes after that number, the oldest first, at most a thousand.

        ``wait``: if there is none, until there is one, for some seconds. Raises ``UpstreamError``.
        """
        url = f"{self._url}?since={number}&wait={self._wait if wait else 0:g}"
        answer, data = await self._transport.fetch(
            url, _HEADERS, limit=MAX_FEED, named_hosts_only=True
        )
        if answer.status == 404:
            raise UpstreamError(self._name, "it has no feed of changes: does it take uploads?")
        if answer.status != 200:
            raise status_error(self._name, answer.status)
        try:
            return [msgspec.json.decode(line, type=FeedChange) for line in data.splitlines()]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise UnreadablePage(self._name, "its feed of changes is unreadable") from None
