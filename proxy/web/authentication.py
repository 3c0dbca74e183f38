"""Which principal a request comes from, and whether it may do what it asks for."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.access import Scope
from proxy.errors import NoRight, NoSuchProject, NotAuthenticated
from proxy.model import ProjectName
from proxy.web.gate import Gate, client_address, peer_of
from proxy.web.gated_path import cache_key
from proxy.web.request_state import REQUEST_STATE
from proxy.web.response_cache import PRIVATE

WITHOUT_ACCESS = (Scope.READ, Scope.METRICS)
"""The rights of every client if the settings have no ``[access]``."""
GATE: web.AppKey[Gate] = web.AppKey("gate")


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Put the principal and its rights into the state of the request."""
    gate, state = request.app[GATE], request[REQUEST_STATE]
    if gate.is_open(request):
        caller = gate.access.anonymous
    else:
        caller = await gate.identify(request)
        if caller is gate.access.anonymous and not caller.rights.grants:
            raise NotAuthenticated
    state.principal, state.rights = caller.principal, caller.rights
    front = gate.access.front
    proxied = front is not None and front.trusts(peer_of(request.transport))
    if proxied:
        state.client = client_address(gate.access, request)
    state.request_bytes = cache_key(state.request_bytes, caller, proxied=proxied)
    return await handler(request)


def require(
    request: web.Request, scope: Scope, index: str = "", project: ProjectName | None = None
) -> None:
    """Raise unless the principal of the request may do that.

    ``index`` and ``project``: those that are read or uploaded to. ``NotAuthenticated`` without
    credentials; ``NoSuchProject`` if the project has to look as if it did not exist; else
    ``NoRight``. Without ``[access]`` in the settings only ``WITHOUT_ACCESS`` is allowed.
    """
    state = request[REQUEST_STATE]
    rights = state.rights
    if rights is None:
        if scope in WITHOUT_ACCESS:
            return
        raise NoRight(f"{scope}: that needs [access] in the settings")
    if rights.allows(scope, index, project):
        return
    if state.principal is None:
        raise NotAuthenticated
    if project is None or not rights.allows(scope, index):
        raise NoRight(f"{scope} index {index}" if index else scope)
    if scope is Scope.READ and request.app[GATE].access.hide_names:
        raise NoSuchProject(project)
    raise NoRight(f"{scope} project {project} of index {index}")


def requiring(scope: Scope, handler: Handler) -> Handler:
    """The handler, for principals that have the right."""

    async def handle(request: web.Request) -> web.StreamResponse:
        require(request, scope)
        return await handler(request)

    return handle


def require_principal(request: web.Request) -> None:
    """Raise ``NotAuthenticated`` without credentials, where access is controlled.

    So that a request without credentials does not find out which names of indexes exist.
    """
    state = request[REQUEST_STATE]
    if state.rights is not None and state.principal is None:
        raise NotAuthenticated


def may(request: web.Request, scope: Scope, index: str = "") -> bool:
    """Whether the principal may do that, in any project of the index."""
    rights = request[REQUEST_STATE].rights
    return scope in WITHOUT_ACCESS if rights is None else rights.allows(scope, index)


def visible_projects(request: web.Request, index: str) -> Callable[[ProjectName], bool] | None:
    """A test of the projects whose names the principal may see; None: it may see all."""
    rights = request[REQUEST_STATE].rights
    if rights is None or rights.allows_all(Scope.READ, index):
        return None
    if not request.app[GATE].access.hide_names:
        return None
    return lambda project: rights.allows(Scope.READ, index, project)


def keep_private(response: web.StreamResponse) -> None:
    """Keep the answer to one principal out of caches that several clients share.

    ``Authorization`` alone would not: it is missing where a certificate or a proxy in front proves
    the caller (RFC 9111, section 3.5).
    """
    control = response.headers.get("Cache-Control", "")
    parts = [each for each in map(str.strip, control.split(",")) if each and each != "public"]
    if not {"private", "no-store"} & set(parts):
        parts.insert(0, PRIVATE)
    response.headers["Cache-Control"] = ", ".join(parts)
    vary = response.headers.get("Vary")
    response.headers["Vary"] = f"{vary}, Authorization" if vary else "Authorization"
