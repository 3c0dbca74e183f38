"""Reads the form of an upload (``multipart/form-data``, RFC 7578) while its file arrives."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from proxy.errors import UploadRefused, UploadTooLarge
from proxy.publish import IncomingUpload

_MAX_PARTS = 3000
"""Parts of a form; the largest honest ones have about 700, most of them classifiers."""
_MAX_TEXT = 8 * 2**20
"""Bytes of the text in one part; descriptions are the longest."""
_MAX_TEXTS = 16 * 2**20
"""Bytes of all texts."""
MAX_FILES = 50
"""Of a browser's form."""
_MAX_SIGNATURE = 8 * 2**20
_PIECE = 64 * 1024
_PARSER_ERRORS: tuple[type[Exception], ...] = (
    ValueError,
    AssertionError,
    HttpProcessingError,
    web.RequestPayloadError,
)
"""Of aiohttp, for a body that is no form, or ends early."""


@dataclass(slots=True)
class UploadForm:
    fields: dict[str, list[str]] = field(default_factory=dict)
    filename: str = ""
    content: IncomingUpload | None = None
    signature: bytes = b""
    refusal: UploadRefused | None = None
    """Why its file was not read to the end; only of ``reading_files``."""


@asynccontextmanager
async def reading_form(
    request: web.Request, receive: Callable[[], IncomingUpload]
) -> AsyncIterator[UploadForm]:
    """The form, with its file in a place that ``receive`` gives; what is not published is removed.

    Raises ``UploadRefused``, also for a body that ends early, and ``OSError`` from the disk.
    """
    form = UploadForm()
    try:
        await _FormReader(form, receive).all_of(request)
        yield form
    finally:
        if form.content:
            await form.content.discard()


async def reading_files(
    request: web.Request, receive: Callable[[], IncomingUpload]
) -> AsyncGenerator[UploadForm, None]:
    """The files of a browser's form, each as one form while it is processed.

    Files that are not published are removed. Raises as ``reading_form``.
    """
    count = 0
    async for part in _parts(request):
        if not part.filename:
            continue
        count += 1
        if count > MAX_FILES:
            raise UploadRefused(f"the form has more than {MAX_FILES} files")
        form = UploadForm()
        try:
            with _understood():
                await _FormReader(form, receive).take(part)
        except UploadRefused as error:
            form.refusal = error
        try:
            yield form
        finally:
            if form.content:
                await form.content.discard()
    if not count:
        raise UploadRefused("choose a file")


@contextmanager
def _understood(*more: type[Exception]) -> Iterator[None]:
    """Errors of the parser, and ``more``, become refusals."""
    try:
        yield
    except _PARSER_ERRORS + more as error:
        raise UploadRefused("the form cannot be read: it is malformed or incomplete") from error


async def _parts(request: web.Request) -> AsyncIterator[BodyPartReader]:
    if request.content_type != "multipart/form-data":
        raise UploadRefused("an upload is a form of the type multipart/form-data")
    with _understood():
        reader, count = await request.multipart(), 0
    while True:
        with _understood(RuntimeError):  # for a wrong ``_charset_``
            part = await reader.next()
        if part is None:
            return
        count += 1
        if count > _MAX_PARTS or isinstance(part, MultipartReader):
            raise UploadRefused("the form has too many parts, or parts within parts")
        yield part


class _FormReader:
    def __init__(self, form: UploadForm, receive: Callable[[], IncomingUpload]) -> None:
        self._form = form
        self._receive = receive
        self._texts = 0

    async def all_of(self, request: web.Request) -> None:
        async for part in _parts(request):
            with _understood():
                await self.take(part)
        if self._form.content is None:
            raise UploadRefused("Upload payload does not have a file.")

    async def take(self, part: BodyPartReader) -> None:
        name = part.name or ""
        if name == "content":
            await self._take_content(part)
        elif name == "gpg_signature":
            self._form.signature = await self._bytes(part, _MAX_SIGNATURE)
        elif part.filename is not None:
            raise UploadRefused(f"the form has an unknown file {printable(name)}")
        else:
            text = (await self._bytes(part, _MAX_TEXT)).decode("utf-8", "replace")
            self._form.fields.setdefault(name, []).append(text)

    async def _take_content(self, part: BodyPartReader) -> None:
        if self._form.content is not None:
            raise UploadRefused("the form has more than one file")
        self._form.filename = part.filename or ""
        if not self._form.filename:
            raise UploadRefused("Upload payload does not have a file.")
        content = self._form.content = self._receive()
        while data := await part.read_chunk(_PIECE):
            await content.write(data)
        await content.finish()

    async def _bytes(self, part: BodyPartReader, limit: int) -> bytes:
        data = bytearray()
        while piece := await part.read_chunk(_PIECE):
            data += piece
            if len(data) > limit or self._texts + len(data) > _MAX_TEXTS:
                raise UploadTooLarge("the texts of the form are too long")
        self._texts += len(data)
        return bytes(data)


def printable(text: str) -> str:
    """The text without characters that move the cursor or end the line, at most 100 long."""
    shown = (c if not unicodedata.category(c).startswith("C") else "?" for c in text[:100])
    return "".join(shown)
