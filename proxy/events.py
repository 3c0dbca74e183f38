"""Events: what happened, as values. The core emits them; logs, counters and prefetching observe.

An observer is a plain callable that runs at once, in the task that emits the event; it must not
block and must not raise.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from enum import StrEnum
from typing import Literal

import msgspec

from proxy.model import ProjectName, ProjectPage


class Outcome(StrEnum):
    """The source of an answer."""

    HIT = "hit"  # from the cache; upstream was not asked
    REVALIDATED = "revalidated"  # upstream confirmed what is in the cache
    STALE = "stale"  # expired: revalidated in the background, or upstream is slow or fails
    MISS = "miss"  # fetched from upstream for this request
    JOINED = "joined"  # fetched from upstream for another request that was running already
    LOCAL = "local"  # from a local directory
    PEER = "peer"  # fetched from a peer for this request

    __hash__ = str.__hash__  # ten times as fast as the hash of an enumeration


class PageAnswered(msgspec.Struct, frozen=True):
    """An index has answered with a page."""

    project: ProjectName
    index: str
    outcome: Outcome


class FileAnswered(msgspec.Struct, frozen=True):
    """An index has answered with a file."""

    project: ProjectName
    filename: str
    index: str
    outcome: Outcome


class PageChanged(msgspec.Struct, frozen=True):
    """Answers made from this project's page so far are outdated, in every index that shows it."""

    project: ProjectName | None  # None: those of all projects


class PageRevalidated(msgspec.Struct, frozen=True):
    """The index has revalidated a page, which has not changed: only its times are new."""

    project: ProjectName
    source: str
    """The name of the index."""
    fresh_until: float
    """This and the others as in ``ProjectPage``."""
    stale_until: float
    checked: float | None

    @classmethod
    def of(cls, page: ProjectPage) -> PageRevalidated:
        """The times of a page; for a page that has times."""
        times = page.fresh_until or 0.0, page.stale_until, page.checked
        return cls(page.project, page.source, *times)


class UpstreamFailed(msgspec.Struct, frozen=True):
    index: str
    what: str  # a project or file, in words
    reason: str


class ChangeOutcome(StrEnum):
    """The answer to clients after the bytes under a file name have changed."""

    REFUSED = "refused"  # the file as first seen
    SHOWN = "shown"  # the file as it is now
    ACCEPTED = "accepted"  # the same, where the settings expect it


class FileChanged(msgspec.Struct, frozen=True):
    """Upstream lists other bytes than before under a file name."""

    project: ProjectName
    filename: str
    index: str
    seen: str
    """The digest that was seen first, as in ``File.address_digest``."""
    now: str
    outcome: ChangeOutcome


class AskResult(StrEnum):
    """The outcome of a request to an upstream."""

    ANSWERED = "answered"
    FAILED = "failed"  # there was no answer, or an unusable or incomplete one
    TIMEOUT = "timeout"  # there was none in time
    REFUSED = "refused"  # it was not sent, as the circuit breaker is open

    __hash__ = str.__hash__


class UpstreamAsked(msgspec.Struct, frozen=True):
    """A request to upstream has ended, with all its retries."""

    index: str  # the name of the mirror
    what: str  # ``page`` or ``file``
    result: AskResult
    seconds: float
    """Until the head of the answer came, or the request failed."""


class PeerAsked(msgspec.Struct, frozen=True):
    """Peers were asked for a file."""

    result: Literal["hit", "miss", "broken"]
    """``miss``: none had it; ``broken``: one did not send all of it."""
    size: int  # bytes that came


class PrefetchResult(StrEnum):
    """The use of a page or file that was prefetched."""

    FETCHED = "fetched"  # from upstream, before a client asked for it
    USED = "used"  # and then a client asked for it
    WASTED = "wasted"  # or no client did


class Prefetched(msgspec.Struct, frozen=True):
    result: PrefetchResult
    size: int  # bytes of the file; 0 for a page


class FileRefused(msgspec.Struct, frozen=True, kw_only=True):
    """A policy refused a request of a client, or would have in mode ``observe``.

    Of an observing policy there is one for each file, rule and client in an hour.
    """

    index: str
    """The name of the index that was asked."""
    rule: str
    kind: str
    """Of the policy, as the settings call it."""
    mode: str  # ``enforce`` or ``observe``
    project: ProjectName | None
    filename: str
    """Empty for a page."""
    client: str
    reason: str


class Evicted(msgspec.Struct, frozen=True):
    """Files were deleted from the cache to make room."""

    files: int
    size: int  # bytes


class StoreFailed(msgspec.Struct, frozen=True):
    """A request to a store that machines share was refused, or failed with all its retries."""

    store: Literal["files", "records"]
    what: Literal["read", "write"]


class CheckResult(StrEnum):
    """The result of a check of the source of advisories."""

    NEW = "new"  # there are other advisories than before
    UNCHANGED = "unchanged"
    FAILED = "failed"  # those of the last check stay valid


class AdvisoriesChecked(msgspec.Struct, frozen=True):
    result: CheckResult


class AuditLost(msgspec.Struct, frozen=True):
    """Answers are missing in a journal of the audit, which could not take them."""

    journal: str
    answers: int


class ClientLimited(msgspec.Struct, frozen=True):
    """A request was refused, as its client is over a limit."""

    work: Literal["misses", "uploads"]


class CredentialsChecked(msgspec.Struct, frozen=True):
    """Credentials were verified, and not found in the cache of those that were before."""

    method: str
    """The kind of the principal, such as ``token``; empty without one."""
    result: str  # ``ok``, ``wrong`` or ``limited``: refused, after too many wrong ones


class RequestKind(StrEnum):
    """The kind of resource that a request names."""

    PAGE = "page"
    METADATA = "metadata"
    FILE = "file"
    CHANGE = "change"  # an upload, or another change of what is published
    OTHER = "other"

    __hash__ = str.__hash__


Timing = tuple[float, float]
"""When a request ended (Unix time in seconds), and the milliseconds that it took."""


class AnswerServed(msgspec.Struct, frozen=True, kw_only=True):
    """A request of a client has ended, whatever came of it.

    Requests of one client that got the same cached response at almost the same time are one event.
    """

    client: str
    """The address of the other end of the connection; ``-`` if unknown."""
    principal: str | None = None
    """The authenticated identity; None without authentication."""
    user_agent: str = ""
    method: str
    path: str
    """As requested, without query and authority, which may hold secrets."""
    kind: RequestKind
    index: str = ""
    """The name of the index that was asked; empty if the path belongs to none."""
    project: ProjectName | None = None
    filename: str = ""
    """Empty for a page."""
    digest: str = ""
    """As in ``File.address_digest``; for a ``.metadata`` file, that of its distribution."""
    status: int
    """499: the client left before the answer began."""
    outcome: Outcome | None = None
    sent: int = 0  # bytes of the body that were sent, for each of the requests
    rule: str = ""
    """The policy rule that refused the request."""
    observed: tuple[tuple[str, str], ...] = ()
    """Rules in mode ``observe`` that would have refused the request, each with its reason."""
    reason: str = ""
    """Why the answer is an error."""
    failure: str = ""
    """Why the answer broke off."""
    cached: bool = False
    """The answer came from the response cache, before the request was parsed."""
    page: ProjectPage | None = None
    """The page that was rendered for the answer; None for a cached response."""
    timings: tuple[Timing, ...] = ()
    """One for each request."""


class FileServed(AnswerServed, frozen=True, kw_only=True):
    """The request was for a file, or a sibling of one; refused or not."""


class PageRefused(AnswerServed, frozen=True, kw_only=True):
    """A policy refused a request that was not for a file."""


IndexEvent = PageAnswered | FileAnswered | PageChanged | PageRevalidated | FileChanged
SourceEvent = UpstreamFailed | UpstreamAsked | PeerAsked | Prefetched | AdvisoriesChecked
ClientEvent = AnswerServed | FileRefused | CredentialsChecked | ClientLimited
Event = IndexEvent | SourceEvent | ClientEvent | Evicted | StoreFailed | AuditLost
Observer = Callable[[Event], None]

INDEX_ANSWERS = (PageAnswered, FileAnswered)

_recorded: ContextVar[list[Outcome]] = ContextVar("recorded outcomes")


def record_outcomes() -> list[Outcome]:
    """A list to which outcomes of index answers are appended from now on in this task."""
    outcomes: list[Outcome] = []
    _recorded.set(outcomes)
    return outcomes


class Events:
    """All observers as one. Also keeps the lists of ``record_outcomes``."""

    def __init__(self, *observers: Observer) -> None:
        self._subscriptions: list[tuple[Observer, tuple[type[Event], ...]]] = []
        self._by_kind: dict[type[Event], list[Observer]] = {}
        for observer in observers:
            self.subscribe(observer)

    def subscribe(self, observer: Observer, *kinds: type[Event]) -> None:
        """``kinds``: the classes of events that the observer gets, with those below; none: all."""
        self._subscriptions.append((observer, kinds))
        self._by_kind.clear()

    def unsubscribe(self, observer: Observer) -> None:
        self._subscriptions = [each for each in self._subscriptions if each[0] != observer]
        self._by_kind.clear()

    def __call__(self, event: Event) -> None:
        if isinstance(event, INDEX_ANSWERS) and (outcomes := _recorded.get(None)) is not None:
            outcomes.append(event.outcome)
        kind = type(event)
        observers = self._by_kind.get(kind)
        if observers is None:  # the first event of its class
            observers = self._by_kind[kind] = [
                each for each, kinds in self._subscriptions if not kinds or issubclass(kind, kinds)
            ]
        for observer in observers:
            observer(event)
