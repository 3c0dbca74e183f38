"""The access log: one line for each request, with the client's tool, the outcome and the time."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from typing import Any

from proxy.events import AnswerServed, Event
from proxy.runtime import LineHandler, timestamp_text

log = logging.getLogger("waystation.access")

LINE_TEMPLATES = 4096
"""Lines of cached responses that are kept as templates."""
TOOLS = 256
"""User agents of which the tool is remembered."""
MAX_DELAY = 0.005
"""Seconds that lines of cached responses wait for more: writing takes as long as such answers."""

_TOOL_PRODUCT = re.compile(r"[A-Za-z][\w.+-]{0,40}/[\w.+-]{1,40}", re.ASCII)

# Values that are found again in a formatted line.
_WHEN = 4e9
_CLIENT = secrets.token_hex(16)
_MILLISECONDS = 9876543210123.5

Template = tuple[str, str, str, str]
"""A line in pieces, around its time stamp, the client and the milliseconds."""


class AccessLog:
    """An observer that writes lines.

    Lines are written together: those of one turn of the event loop, or of ``MAX_DELAY``. Answers
    of the fast path take less time than the formatting of a line, so their lines are made from
    templates.
    """

    def __init__(self, handler: LineHandler | None = None) -> None:
        """Without a ``handler``, lines are log records."""
        self._handler = handler
        self._lines: list[str] = []
        self._template = lru_cache(LINE_TEMPLATES)(self._make_template)

    def observe(self, event: Event) -> None:
        if not isinstance(event, AnswerServed) or not log.isEnabledFor(logging.INFO):
            return
        if self._handler is None:
            for _, milliseconds in event.timings:
                log.info("request", extra={"fields": _fields(event, milliseconds)})
            return
        if not self._lines:
            loop = asyncio.get_running_loop()
            loop.call_later(MAX_DELAY if event.cached else 0, self.flush)
        if event.cached:
            self._add_repetitions(event)
        else:
            for ended, milliseconds in event.timings:
                self._lines.append(f"{self._line(_fields(event, milliseconds), ended)}\n")

    def _add_repetitions(self, event: AnswerServed) -> None:
        head, between, middle, tail = self._template(
            event.principal,
            *(event.method, event.path, event.status, event.outcome, event.sent, event.user_agent),
        )
        middle, millisecond = f"{between}{event.client}{middle}", 0
        for ended, took in event.timings:
            if int(ended * 1000) != millisecond:  # else its text is the same
                millisecond = int(ended * 1000)
                start = head + timestamp_text(millisecond / 1000) + middle
            self._lines.append(f"{start}{took:.2f}{tail}")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """At the end the lines that are left are written."""
        try:
            yield
        finally:
            self.flush()

    def flush(self) -> None:
        """Write the lines that are complete."""
        lines, self._lines = self._lines, []
        if lines and self._handler:
            with suppress(OSError, ValueError):  # a full disk, a closed pipe: as logging does
                self._handler.stream.write("".join(lines))
                self._handler.flush()

    def _line(self, fields: dict[str, object], when: float) -> str:
        assert self._handler
        return self._handler.lines.request_line(when, fields)

    def _make_template(self, principal: str | None, *answer: object) -> Template:
        """A line in pieces around what differs by request."""
        fields = _known_fields(_CLIENT, *answer) | {"ms": _MILLISECONDS}
        if principal:
            fields["user"] = principal
        head, _, rest = self._line(fields, _WHEN).partition(timestamp_text(_WHEN))
        between, _, rest = rest.partition(_CLIENT)
        middle, _, tail = rest.rpartition(str(_MILLISECONDS))
        return head, between, middle, tail + "\n"


def _fields(event: AnswerServed, milliseconds: float) -> dict[str, object]:
    fields = _known_fields(
        *(event.client, event.method, event.path, event.status, event.outcome),
        *(event.sent, event.user_agent),
    )
    fields["ms"] = round(milliseconds, 2)
    if event.principal:
        fields["user"] = event.principal
    if event.rule:
        fields["rule"] = event.rule
    if event.reason:
        fields["reason"] = event.reason
    if event.failure:
        fields["trouble"] = event.failure
    return fields


def _known_fields(client: str, *answer: Any) -> dict[str, object]:
    """The fields that every line has, but for the time."""
    method, path, status, outcome, sent, user_agent = answer
    return {
        "client": client,
        "method": method,
        "path": path,
        "status": status,
        "outcome": outcome or "-",
        "bytes": sent,
        "tool": tool(user_agent),
    }


@lru_cache(TOOLS)
def tool(user_agent: str) -> str:
    """The client's tool and version: the first word that pip, uv and most other tools send."""
    found = _TOOL_PRODUCT.match(user_agent)
    return found[0] if found else "-"
