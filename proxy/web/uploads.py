"""The legacy upload API: ``POST`` of a form with a file, as twine, uv and other tools send it."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple

from aiohttp import web

from proxy.access import Scope
from proxy.distributions import DistributionKind, kind_of, parse_filename
from proxy.errors import (
    IndexUnavailable,
    NoRight,
    NotPermitted,
    ProxyError,
    StoreUnavailable,
    UploadRefused,
    reason,
)
from proxy.model import PROVENANCE, SIGNATURE, ProjectName
from proxy.publish import (
    Editor,
    Publisher,
    UploadedRelease,
    check_archive,
    check_digests,
    check_form,
)
from proxy.runtime import in_thread
from proxy.web.authentication import require
from proxy.web.errors import RETRY_AFTER, phrase, plain, status_of
from proxy.web.request_state import REQUEST_STATE
from proxy.web.upload_form import UploadForm, printable, reading_files, reading_form

log = logging.getLogger(__name__)

FILE_TYPES = {DistributionKind.WHEEL: "bdist_wheel", DistributionKind.SDIST: "sdist"}


def no_uploads() -> web.Response:
    text = "this index accepts no uploads: the setting uploads allows them"
    response = plain(405, text)
    response.headers["Allow"] = "GET,HEAD"
    return response


class UploadResult(NamedTuple):
    """The outcome of one file of a browser's form."""

    release: UploadedRelease | None
    """None: it was refused."""
    warnings: Sequence[str] = ()
    filename: str = ""
    """Of a refused file, as the browser sent it."""
    problem: ProxyError | None = None


class UploadHandler:
    """Publishes to one index."""

    def __init__(self, index: str, publisher: Publisher | None) -> None:
        """``index``: the name of the index that is served, which may be made of the one of
        ``publisher``; that is None where uploads are not accepted."""
        self._index = index
        self._publisher = publisher

    async def post(self, request: web.Request) -> web.Response:
        if self._publisher is None:
            return no_uploads()
        publisher = self._publisher

        async def published() -> web.Response:
            note_change(request, publisher.name)
            require_editor(request, (self._index, publisher.name))
            async with reading_form(request, publisher.receive) as form:
                return await self._publish(request, publisher, form)

        return await answering(request, published)

    async def publish_files(self, request: web.Request) -> list[UploadResult]:
        """Publish the files of a browser's form; their names say the rest.

        The refusal of one does not stop the others. Raises ``UploadRefused`` for the form as a
        whole, ``NotAuthenticated``, ``NoRight`` and ``OSError``.
        """
        publisher = self._publisher
        if publisher is None:
            raise UploadRefused("this index accepts no uploads: the setting uploads allows them")
        note_change(request, publisher.name)
        require_editor(request, (self._index, publisher.name))
        results = []
        async with aclosing(reading_files(request, publisher.receive)) as forms:
            async for form in forms:
                results.append(await self._result(request, publisher, form))
        return results

    async def _result(
        self, request: web.Request, publisher: Publisher, form: UploadForm
    ) -> UploadResult:
        try:
            if form.refusal:
                raise form.refusal
            form.fields = _described(form)
            return UploadResult(*await self._release(request, publisher, form))
        except (UploadRefused, NoRight) as error:
            request[REQUEST_STATE].reason = str(error)
            return UploadResult(None, (), form.filename, error)

    async def _publish(
        self, request: web.Request, publisher: Publisher, form: UploadForm
    ) -> web.Response:
        action = next(iter(form.fields.get(":action", ())), request.query.get(":action", ""))
        if action in ("submit", "submit_pkg_info", "doc_upload"):
            return plain(410, f"{action} is not part of the upload API any more")
        if action != "file_upload":
            raise UploadRefused(f"unknown :action {printable(action)!r}: use file_upload")
        _, warnings = await self._release(request, publisher, form)
        return plain(200, "\n".join(["OK", *(f"warning: {each}" for each in warnings)]))

    async def _release(
        self, request: web.Request, publisher: Publisher, form: UploadForm
    ) -> tuple[UploadedRelease, list[str]]:
        assert form.content
        release = check_form(form.fields, form.filename)
        note_change(request, publisher.name, release.filename)
        state = request[REQUEST_STATE]
        state.project, state.digest = release.project, form.content.digests["sha256"]
        check_digests(form.fields, form.content.digests)
        warnings = await in_thread(check_archive, form.content.path, release, form.fields)
        editor = editor_of(request, (self._index, publisher.name), release.project)
        beside = {SIGNATURE: form.signature} if form.signature else {}
        if attestations := form.fields.get("attestations"):
            digest = form.content.digests["sha256"]
            made = await publisher.make_provenance(attestations[0], release.filename, digest)
            beside[PROVENANCE] = made
        await publisher.publish(release, form.content, editor, beside)
        return release, warnings


def _described(form: UploadForm) -> dict[str, list[str]]:
    """The fields that tools send, from the file name and the bytes; the archive is checked later.

    Raises ``UploadRefused``.
    """
    parsed, kind = parse_filename(form.filename), kind_of(form.filename)
    if parsed is None or kind not in FILE_TYPES or form.content is None:
        raise UploadRefused(f"{printable(form.filename)!r} is no wheel and no sdist")
    return {
        "name": [parsed.project],
        "version": [parsed.version],
        "filetype": [FILE_TYPES[kind]],
        "sha256_digest": [form.content.digests["sha256"]],
    }


async def answering(
    request: web.Request, make: Callable[[], Awaitable[web.Response]]
) -> web.Response:
    """The answer of ``make``, or the answer to its exception."""
    try:
        return await make()
    except (UploadRefused, StoreUnavailable, IndexUnavailable) as error:
        return refusal(request, error)
    except OSError as error:
        log.error("a change of packages could not be stored: %s", reason(error))
        return plain(507, "the change could not be stored; the log of the server says why")


def note_change(request: web.Request, index: str, filename: str = "") -> None:
    """Before the right to change the index is checked, so that refusals are in the audit, too.

    ``filename``: the file that is changed, or another name of what is.
    """
    state = request[REQUEST_STATE]
    state.index, state.changed = index, filename


def require_editor(request: web.Request, indexes: Sequence[str]) -> None:
    """Refuse principals without rights to change these indexes, before an upload is read.

    Raises ``NotAuthenticated``, ``NoRight`` and ``NotPermitted``.
    """
    rights = request[REQUEST_STATE].rights
    if rights is None:
        _require_local(request)
    elif not any(rights.allows(Scope.UPLOAD, index) for index in indexes):
        require(request, Scope.UPLOAD, indexes[0])


def editor_of(request: web.Request, indexes: Sequence[str], project: ProjectName) -> Editor:
    """The editor of a project: a right on an index covers the indexes that it is made of.

    Raises ``NotAuthenticated``, ``NoRight`` and ``NotPermitted``. Without access control every
    client on this machine is an administrator.
    """
    state = request[REQUEST_STATE]
    if state.rights is None:
        _require_local(request)
        return Editor(is_administrator=True)
    administers = state.rights.allows(Scope.ADMIN)
    allowed = any(state.rights.allows(Scope.UPLOAD, index, project) for index in indexes)
    if not (administers or allowed):
        require(request, Scope.UPLOAD, indexes[0], project)
    return Editor(state.principal.owner if state.principal else "", administers)


def administrator_of(request: web.Request) -> Editor:
    """The editor of a whole index. Raises as ``editor_of``."""
    state = request[REQUEST_STATE]
    if state.rights is None:
        _require_local(request)
    else:
        require(request, Scope.ADMIN)
    return Editor(state.principal.name if state.principal else "", is_administrator=True)


def refusal(request: web.Request, error: ProxyError) -> web.Response:
    """Tools print the reason phrase or the body; uv reads JSON."""
    status, text = status_of(error), str(error)
    request[REQUEST_STATE].reason = text
    accepted = request.headers.get("Accept", "")
    if "application/json" in accepted:
        body = {"message": text, "code": f"{status} {text}", "title": text}
        response: web.Response = web.json_response(body, status=status)
        response.headers["Cache-Control"] = "no-store"
    else:
        response = plain(status, text)
    response.set_status(status, phrase(text))
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def _require_local(request: web.Request) -> None:
    """Raises ``NotPermitted`` for a client on another machine, where access is not controlled."""
    try:
        local = ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        local = False
    if not local:
        raise NotPermitted("without access control, packages are changed from this machine only")
