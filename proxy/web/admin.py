"""``/-/admin/…``: administration of a running server, in JSON, for principals with that right.

Where access is not controlled, only requests that come straight from this machine are answered,
and none at all where the settings show that a server in front passes requests on.
There are no cookies, so that no page of another site can act for a user; a browser that is
tricked into sending a request is refused all the same, by its ``Origin`` or ``Host``.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.access import Scope
from proxy.distributions import safe_filename
from proxy.errors import ConfigurationError, NoRight, ProxyError
from proxy.model import ProjectName, normalize
from proxy.web.authentication import require
from proxy.web.errors import status_of
from proxy.web.home import origin_of, split_address
from proxy.web.refusals import CONTACT
from proxy.web.request_state import REQUEST_STATE

log = logging.getLogger(__name__)

MAX_BODY = 64 * 1024
"""Bytes of the body of a request."""
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
"""Headers by which a server in front shows itself: the request may come from anywhere."""


_ENOUGH = {"refresh": Scope.REFRESH, "audit": Scope.AUDIT}
"""The actions that a smaller right allows too."""
T = TypeVar("T")


class Administration(Protocol):
    """The operations of a server; results are values for JSON. Methods raise ``ProxyError``."""

    async def status(self) -> Any: ...
    async def cached(self, project: ProjectName | None, after: str) -> Any: ...
    async def pins(self) -> Any: ...
    async def downloads(self) -> Any: ...
    async def upstreams(self) -> Any: ...
    async def settings(self) -> Any: ...
    async def refresh(self, project: ProjectName, index: str) -> Any: ...
    async def purge(self, project: ProjectName | None, filename: str) -> Any: ...
    async def pin(self, project: ProjectName, filename: str) -> Any: ...
    async def unpin(self, project: ProjectName, filename: str) -> Any: ...
    async def reload(self) -> Any: ...
    async def audit(self, query: dict[str, Any]) -> Any: ...


class AdminRequestInvalid(ProxyError):
    """The request is not one of the forms in the documentation; the message says why."""


class NotFromThisMachine(NoRight):
    def __str__(self) -> str:
        return (
            "administration without [access] in the settings is for requests from this machine"
            f" alone: {self.what}"
        )


class AdminRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a POST request, and the query of a GET request."""

    project: str = ""
    filename: str = ""
    index: str = ""
    after: str = ""
    everything: bool = False

    def named(self) -> ProjectName:
        """The project. Raises ``AdminRequestInvalid``."""
        if self.filename and not safe_filename(self.filename):
            raise AdminRequestInvalid("filename: not the name of a file")
        try:
            return normalize(self.project)
        except ValueError:
            raise AdminRequestInvalid('project: give a name, such as "requests"') from None


class AuditRequest(NamedTuple):
    """The body of a request to search the audit, which checks it."""

    query: dict[str, Any]

    @property
    def project(self) -> str:
        return str(self.query.get("project", ""))


def admin_routes(base: str, offered: Administration) -> list[web.RouteDef]:
    """The routes below ``base``, which is empty or a prefix."""

    async def cached(asked: AdminRequest) -> Any:
        return await offered.cached(asked.named() if asked.project else None, asked.after)

    async def refresh(asked: AdminRequest) -> Any:
        return await offered.refresh(asked.named(), asked.index)

    async def purge(asked: AdminRequest) -> Any:
        if asked.everything and (asked.project or asked.filename):
            raise AdminRequestInvalid("everything: name no project with it")
        return await offered.purge(None if asked.everything else asked.named(), asked.filename)

    async def pin(asked: AdminRequest) -> Any:
        return await offered.pin(asked.named(), asked.filename)

    async def unpin(asked: AdminRequest) -> Any:
        return await offered.unpin(asked.named(), asked.filename)

    root = f"{base}/-/admin"
    reads = {
        "status": lambda asked: offered.status(),
        "cache": cached,
        "pins": lambda asked: offered.pins(),
        "downloads": lambda asked: offered.downloads(),
        "upstreams": lambda asked: offered.upstreams(),
        "settings": lambda asked: offered.settings(),
    }
    actions = {"refresh": refresh, "purge": purge, "pin": pin, "unpin": unpin}
    actions["reload"] = lambda asked: offered.reload()
    return [
        *(web.get(f"{root}/{name}", _handler(name, act, _query)) for name, act in reads.items()),
        *(web.post(f"{root}/{name}", _handler(name, act, _body)) for name, act in actions.items()),
        web.post(
            f"{root}/audit",
            _handler("audit", lambda asked: offered.audit(asked.query), _audit_query),
        ),
    ]


Asked = TypeVar("Asked", AdminRequest, AuditRequest)


def _handler(
    name: str,
    act: Callable[[Asked], Awaitable[Any]],
    read: Callable[[web.Request], Awaitable[Asked]],
) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        authorize_administration(request, name)
        try:
            asked = await read(request)
            result = await act(asked)
        except ProxyError as error:
            return _problem(error)
        if request.method == "POST":
            who = request[REQUEST_STATE].principal or request.remote
            log.info("administration: %s %s by %s", name, asked.project or "", who)
        return await asyncio.to_thread(_answer, 200, result)  # the audit has long answers

    return handle


def authorize_administration(request: web.Request, name: str) -> None:
    """Raises ``NoRight`` and ``NotAuthenticated``."""
    state = request[REQUEST_STATE]
    if state.rights is None:
        _require_this_machine(request)
    elif not state.rights.allows(Scope.ADMIN):
        require(request, _ENOUGH.get(name, Scope.ADMIN))
    origin = request.headers.get("Origin")
    if origin is not None and origin not in (origin_of(request), _public_origin(request)):
        raise NoRight("do that from a page of another site")


def _public_origin(request: web.Request) -> str:
    """That of ``public_url``: a server in front may add TLS, or name another host to this one."""
    base = request.app[CONTACT].base
    parts = split_address(base() if base else "")
    return f"{parts.scheme}://{parts.netloc}"


def _require_this_machine(request: web.Request) -> None:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    if not (isinstance(peer, tuple) and _is_this_machine(peer[0])):
        raise NotFromThisMachine("this one comes from elsewhere")
    contact = request.app[CONTACT]
    if contact.base or contact.prefix:
        raise NotFromThisMachine("public_url or prefix is set, so a server may be in front")
    if named := next((each for each in _FORWARDED if each in request.headers), None):
        raise NotFromThisMachine(f"this one has passed a server in front ({named})")
    host = split_address(f"//{request.headers.get('Host', '')}").hostname or ""
    if host != "localhost" and not _is_this_machine(host):
        raise NotFromThisMachine("this one names another host")


def _is_this_machine(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


async def _query(request: web.Request) -> AdminRequest:
    given = {name: value for name, value in request.query.items() if name in ("project", "after")}
    if len(given) < len(request.query):
        raise AdminRequestInvalid("the query may have project and after, once each")
    return msgspec.convert(given, AdminRequest)


async def _body(request: web.Request) -> AdminRequest:
    return await _read_json(request, AdminRequest)


async def _audit_query(request: web.Request) -> AuditRequest:
    return AuditRequest(await _read_json(request, dict[str, Any]))


async def _read_json(request: web.Request, form: type[T]) -> T:
    if request.content_type != "application/json":
        raise AdminRequestInvalid("send JSON, with the header Content-Type: application/json")
    if (request.content_length or 0) > MAX_BODY:
        raise AdminRequestInvalid(f"the body has more than {MAX_BODY} bytes")
    data = await request.read()
    try:
        return msgspec.json.decode(data[:MAX_BODY] or b"{}", type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise AdminRequestInvalid(f"the body is not what is expected: {error}") from None


def _problem(error: ProxyError) -> web.Response:
    """A problem document (RFC 9457)."""
    invalid = {AdminRequestInvalid: 400, ConfigurationError: 422}
    status = next((invalid[kind] for kind in invalid if isinstance(error, kind)), None)
    status = status or status_of(error)
    response = _answer(status, {"title": "Not done", "status": status, "detail": str(error)})
    response.content_type = "application/problem+json"
    return response


def _answer(status: int, values: Any) -> web.Response:
    text = json.dumps(msgspec.to_builtins(values), indent=2) + "\n"
    return web.Response(
        status=status,
        text=text,
        content_type="application/json",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )
