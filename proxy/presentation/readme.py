"""Render long descriptions, which may be hostile, as safe HTML.

Rendering needs the extra ``web`` or ``export``; without one, descriptions are shown as plain text.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import msgspec

from proxy.errors import reason

_log = logging.getLogger(__name__)

MAX_README = 300_000
"""Characters. A longer description is shown as plain text, and its end is left out."""
_MAX_ANSWER_SIZE = 32 * 2**20
"""Bytes."""
_WORKER_COMMAND = (sys.executable, "-I", str(Path(__file__).with_name("readme_worker.py")))


def _plain(text: str) -> str:
    """The text as written, as HTML; what is too long for a page is left out."""
    rest = len(text) - MAX_README
    more = f"\n… and {rest:,} more characters" if rest > 0 else ""
    return f'<pre class="plain">{escape(text[:MAX_README])}{more}</pre>'


def can_render() -> bool:
    """Whether the extra is installed."""
    return find_spec("readme_renderer") is not None


class ReadmeRenderer:
    """Renders descriptions one by one in a process, which is killed if it does not answer."""

    def __init__(self, *, limit: float = 15.0) -> None:
        """``limit``: seconds for one description."""
        self._limit = limit
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def render(self, text: str, content_type: str) -> str:
        """``content_type``: as in core metadata (PEP 566). Returns an HTML fragment."""
        if not text.strip():
            return ""
        found = None
        if can_render() and len(text) <= MAX_README:
            found = await self._render_in_process(text, content_type)
        return _plain(text) if found is None else found

    async def _render_in_process(self, text: str, content_type: str) -> str | None:
        try:
            process = self._process or await self._start()
            assert process.stdin and process.stdout
            async with asyncio.timeout(self._limit):
                process.stdin.write(msgspec.json.encode([text, content_type]) + b"\n")
                await process.stdin.drain()
                return msgspec.json.decode(await process.stdout.readline(), type=str | None)
        except (OSError, ValueError, TimeoutError) as error:
            _log.warning("a description is shown as plain text: %s", reason(error))
            await self._end()
            return None
        except asyncio.CancelledError:
            await self._end()  # its late answer would be read as the next one
            raise

    async def _start(self) -> asyncio.subprocess.Process:
        self._process = await asyncio.create_subprocess_exec(
            *_WORKER_COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            limit=_MAX_ANSWER_SIZE,
        )
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
