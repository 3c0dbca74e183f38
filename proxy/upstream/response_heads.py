"""Rewrites the head of each answer before aiohttp's parser reads it.

That parser refuses answers that pip and uv accept from an index: with two equal lengths, with a
length and chunks, with an unknown transfer coding. Framing stays strict where a mistake could
change bytes: lengths that differ are refused, and so is every fault within chunks.
"""

from __future__ import annotations

import re
from typing import Any

from aiohttp import ClientPayloadError, TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

from proxy import late_pattern

MAX_LINE_SIZE = 128 * 1024
"""Bytes of one line of a head: pip accepts 64 KiB, uv more."""
MAX_RESPONSE_HEAD = 512 * 1024
"""Bytes of a head: uv accepts about 400 kB."""

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_FOLD = late_pattern(rb"\r?\n[ \t]+")
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9])[ \t]+([0-9]{3})(?![0-9])")
_HEADER_FIELD = late_pattern(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*(.*)", re.DOTALL)
_SOUND = re.compile(
    rb"HTTP/1\.[01] [0-9]{3}[^\r\n]{0,99}(?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*)*+"
)
_FRAME = re.compile(rb"\n(?:content-length|transfer-encoding):[ \t]*([^\r\n]*)", re.IGNORECASE)
_FRAMING = (b"content-length", b"transfer-encoding")


class LenientConnector(TCPConnector):
    """A connector whose connections read heads leniently."""

    def __init__(self, **options: Any) -> None:
        """As ``TCPConnector``."""
        super().__init__(**options)
        self._factory = lambda: LenientHandler(loop=self._loop)  # type: ignore[assignment]


class LenientHandler(ResponseHandler):
    """Collects each head and passes it to the parser rewritten; bodies pass unchanged."""

    _head: bytearray | None = None

    def set_response_params(self, **options: Any) -> None:
        self._head = bytearray()
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        if self._head is None or self._parser is None:
            self._body_received(data)
            return
        self._reschedule_timeout()
        searched = max(0, len(self._head) - 3)
        self._head += data
        while end := _HEAD_END.search(self._head, searched):
            head = bytes(self._head[: end.start()]).lstrip(b"\r\n")
            del self._head[: end.end()]
            searched = 0
            if head and not _is_interim(head):
                self._pass_on(head, bytes(self._head))
                return
        if len(self._head) > MAX_RESPONSE_HEAD:
            self.close()
            self.set_exception(HttpProcessingError(message="the head is too large"))

    def _pass_on(self, head: bytes, rest: bytes) -> None:
        """Head and rest separately: the answer counts even if wrong bytes follow it."""
        self._head = None
        super().data_received(rewritten(head))
        if rest:
            self._body_received(rest)

    def _body_received(self, data: bytes) -> None:
        payload = self._payload
        super().data_received(data)
        if self._exception is None or payload is None or payload.is_eof():
            return
        if payload.exception() is None:  # without an error its reader would wait for ever
            payload.set_exception(ClientPayloadError("broken framing"))


def _is_interim(head: bytes) -> bool:
    """Another head follows (RFC 9110, section 15.2)."""
    start = _STATUS_LINE.match(head)
    return start is not None and start[2].startswith(b"1") and start[2] != b"101"


def rewritten(head: bytes) -> bytes:
    """The head with valid fields only, with its framing stated once, without a reason phrase.

    A head that is no HTTP stays as it is, for the parser to refuse.
    """
    start = _STATUS_LINE.match(head)
    if not start or _is_sound(head):
        return head + b"\r\n\r\n"
    lines = _FOLD.sub(b" ", head).replace(b"\r\n", b"\n").split(b"\n")[1:]
    found = [(it[1], it[2]) for line in lines if (it := _HEADER_FIELD.fullmatch(line))]
    fields = [(name, value) for name, value in found if name.lower() not in _FRAMING]
    fields += _framing(*(_values(found, name) for name in _FRAMING))
    version = b"HTTP/1.0 " if start[1] == b"0" else b"HTTP/1.1 "
    text = [version + start[2] + b" ", *(name + b": " + _clean(value) for name, value in fields)]
    return b"\r\n".join([*text, b"", b""])


def _is_sound(head: bytes) -> bool:
    """Whether nothing has to be rewritten, as in nearly all answers."""
    if not _SOUND.fullmatch(head):
        return False
    frame = _FRAME.findall(head)
    return not frame or (len(frame) == 1 and (frame[0] == b"chunked" or frame[0].isdigit()))


def _framing(lengths: list[bytes], codings: list[bytes]) -> list[tuple[bytes, bytes]]:
    """RFC 9112, section 6.3: chunks override a length, and equal lengths are one."""
    if b"chunked" in codings:
        return [(b"Transfer-Encoding", b"chunked")]
    return [(b"Content-Length", length) for length in dict.fromkeys(lengths) if length.isdigit()]


def _values(fields: list[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    joined = b",".join(value for name, value in fields if name.lower() == wanted)
    return [value.strip().lower() for value in joined.split(b",") if value.strip()]


def _clean(value: bytes) -> bytes:
    return value.replace(b"\0", b" ").replace(b"\r", b" ")
