"""The state of one request: what handlers and middleware note of it, until it becomes an event."""

from __future__ import annotations

import time
from functools import lru_cache

from aiohttp import web

from proxy.access import Principal, Rights
from proxy.errors import NotFound
from proxy.events import (
    AnswerServed,
    FileServed,
    Outcome,
    PageRefused,
    RequestKind,
    record_outcomes,
)
from proxy.model import METADATA, ProjectName, ProjectPage, normalize

CLIENT_CLOSED = 499
"""The status that is logged where the client left before the answer began."""


_normalized = lru_cache(1024)(normalize)
"""Clients repeat names; hostile ones may send any."""


class NotAProjectName(NotFound):
    def __str__(self) -> str:
        return "that is not a project name"


class RequestState:
    """Mutable, and owned by the task of the request."""

    __slots__ = (
        "changed",
        "changes",
        "client",
        "digest",
        "failure",
        "index",
        "length",
        "observed",
        "outcomes",
        "page",
        "principal",
        "project",
        "reason",
        "request_bytes",
        "rights",
        "rule",
        "sent",
        "started",
        "status",
    )

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.outcomes: list[Outcome] = []
        """Of the answers of indexes so far; the last one counts."""
        self.request_bytes: bytes | None = None
        """The key under which a response to it may be cached: the complete request, where access
        is not controlled."""
        self.client = ""
        """The address that a trusted proxy in front has named; empty: that of the connection."""
        self.principal: Principal | None = None
        self.rights: Rights | None = None
        """Those of the principal, or of requests without one; None: access is not controlled."""
        self.index = ""
        """The name of the index that the request is for."""
        self.digest = ""
        """That of the file, where its address does not have it."""
        self.project: ProjectName | None = None
        self.page: ProjectPage | None = None
        """The page that was rendered for the answer."""
        self.changes = 0
        """The value of ``ResponseCache.changes`` for the page that the answer is made from."""
        self.changed: str | None = None
        """The file that the request publishes or changes, empty if it is several; None: it
        changes nothing. ``digest`` is then its sha256."""
        self.status: int | None = None
        """None until the head of the answer is being sent."""
        self.length: int | None = None
        """Bytes of a streamed body, if known beforehand."""
        self.sent = 0
        """Bytes of the body."""
        self.observed: tuple[tuple[str, str], ...] = ()
        self.rule = ""
        self.reason = ""
        self.failure = ""
        """This and the three before as in ``AnswerServed``."""

    @property
    def outcome(self) -> Outcome | None:
        return self.outcomes[-1] if self.outcomes else None

    @property
    def is_complete(self) -> bool:
        """Whether the whole body is known to be sent."""
        return self.length is not None and self.sent >= self.length


REQUEST_STATE = web.RequestKey("state", RequestState)


def begin(request: web.Request) -> RequestState:
    """A new state for the request; outcomes of index answers in this task go into it."""
    state = request[REQUEST_STATE] = RequestState()
    state.outcomes = record_outcomes()
    # Taken now: the connection may receive its next request before this one has ended.
    state.request_bytes = getattr(request.protocol, "request_bytes", None)
    return state


def project_of(request: web.Request) -> ProjectName:
    """The project that the path names. Raises ``NotAProjectName``."""
    try:
        project = _normalized(request.match_info["project"])
    except ValueError:
        raise NotAProjectName from None
    request[REQUEST_STATE].project = project
    return project


def named_project(request: web.Request) -> ProjectName | None:
    """The project that the path names; None if it names none, or what is no name."""
    try:
        return _normalized(request.match_info["project"])
    except (KeyError, ValueError):
        return None


def kind_of(request: web.Request) -> RequestKind:
    filename = request.match_info.get("filename")
    if filename:
        return RequestKind.METADATA if filename.endswith(METADATA) else RequestKind.FILE
    return RequestKind.PAGE if "project" in request.match_info else RequestKind.OTHER


def served(request: web.Request, state: RequestState) -> AnswerServed:
    """The event of the request, which ends now."""
    milliseconds = (time.perf_counter() - state.started) * 1000
    match = request.match_info
    event = PageRefused if state.rule else AnswerServed
    return (FileServed if "filename" in match else event)(
        client=state.client or request.remote or "-",
        principal=state.principal.label if state.principal else None,
        user_agent=request.headers.get("User-Agent", ""),
        method=request.method,
        path=request.rel_url.raw_path,
        kind=kind_of(request) if state.changed is None else RequestKind.CHANGE,
        index=state.index,
        project=state.project,
        filename=match.get("filename", state.changed or ""),
        digest=match.get("digest", state.digest),
        status=state.status or CLIENT_CLOSED,
        outcome=state.outcome,
        sent=state.sent,
        rule=state.rule,
        observed=state.observed,
        reason=state.reason,
        failure=state.failure,
        page=state.page,
        timings=((time.time(), milliseconds),),
    )


def body_of(method: str, response: web.StreamResponse) -> bytes:
    """The body that was sent, of a response that is not streamed."""
    if method == "HEAD" or not isinstance(response, web.Response):
        return b""
    return response.body if isinstance(response.body, bytes) else b""
