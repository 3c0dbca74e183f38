"""What happened, as records, and those who want to know. The core emits; logs and counters listen.

An observer is a plain callable, called at once in the task that did the work; it must not
block and must not raise.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

from proxy.model import ProjectName, ProjectPage


class Outcome(StrEnum):
    """Where an answer came from."""

    HIT = "hit"  # from what is stored; upstream was not asked
    REVALIDATED = "revalidated"  # upstream was asked, and it is what is stored
    STALE = "stale"  # expired: revalidated in the background, or upstream is slow or fails
    MISS = "miss"  # fetched from upstream for this request
    JOINED = "joined"  # fetched from upstream for another request that was under way
    LOCAL = "local"  # from a local directory

    __hash__ = str.__hash__  # at a tenth of what an enumeration's own costs


class PageAnswered(msgspec.Struct, frozen=True):
    project: ProjectName
    index: str
    outcome: Outcome


class FileAnswered(msgspec.Struct, frozen=True):
    project: ProjectName
    filename: str
    index: str
    outcome: Outcome


class PageChanged(msgspec.Struct, frozen=True):
    """Answers made from this project's page so far may no longer be given. None: of any project."""

    project: ProjectName | None


class PageRevalidated(msgspec.Struct, frozen=True):
    """The index vouches anew for a page that is still the same: other times hold for it."""

    project: ProjectName
    source: str
    """The name of the index."""
    fresh_until: float
    """This and the others as in ``ProjectPage``."""
    stale_until: float
    checked: float | None

    @classmethod
    def of(cls, page: ProjectPage) -> PageRevalidated:
        """What the page says of itself; for one that has times."""
        return cls(
            page.project, page.source, page.fresh_until or 0.0, page.stale_until, page.checked
        )


class UpstreamFailed(msgspec.Struct, frozen=True):
    index: str
    what: str
    """A project or file, in words."""
    reason: str


class ChangeOutcome(StrEnum):
    """What clients get where the bytes under a file name have changed."""

    REFUSED = "refused"  # the file as it was seen first
    SHOWN = "shown"  # the file as it is now
    ACCEPTED = "accepted"  # the same, where the settings expect it


class FileChanged(msgspec.Struct, frozen=True):
    """Upstream lists other bytes than before under a file name."""

    project: ProjectName
    filename: str
    index: str
    seen: str
    """The digest that was seen first, as in ``File.digest``."""
    now: str
    outcome: ChangeOutcome


class UpstreamAsked(msgspec.Struct, frozen=True):
    """A request to upstream has ended, with all the tries that it took."""

    failed: bool
    """No answer, none that can be used, or one that broke off."""


class Fate(StrEnum):
    """What becomes of a page or file that a guess is about."""

    FETCHED = "fetched"  # from upstream, before anybody asked for it
    USED = "used"  # and then a client asked for it
    WASTED = "wasted"  # or nobody did


class Guessed(msgspec.Struct, frozen=True):
    fate: Fate
    size: int
    """Bytes of the file; 0 for a page."""


class Evicted(msgspec.Struct, frozen=True):
    """Files were deleted from the cache to make room."""

    files: int
    size: int
    """Bytes."""


class Kind(StrEnum):
    """What a request is about."""

    PAGE = "page"
    METADATA = "metadata"
    FILE = "file"
    OTHER = "other"

    __hash__ = str.__hash__


class Answered(msgspec.Struct, frozen=True):
    """Requests are at their end, whatever came of them."""

    kind: Kind
    outcome: Outcome | None
    status: int
    sent: int
    """Bytes of the body; of all bodies, where ``times`` says how many requests were alike."""
    times: int = 1


class AnswerDelivered(msgspec.Struct, frozen=True):
    """A client has got an answer: a page, or a file. Told to those who foresee what comes next."""

    client: str
    """Its address."""
    user_agent: str
    project: ProjectName
    outcome: Outcome | None
    page: ProjectPage | None = None
    filename: str = ""
    """Empty for a page."""
    digest: str = ""
    """As in ``File.digest``; of the distribution, where the file lies beside one."""
    held: bool = False
    """The client had it already, and was told so."""


Event = (
    PageAnswered
    | FileAnswered
    | PageChanged
    | PageRevalidated
    | UpstreamFailed
    | FileChanged
    | UpstreamAsked
    | Guessed
    | Evicted
    | Answered
)
Observer = Callable[[Event], None]


class Events:
    """All observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = list(observers)

    def subscribe(self, observer: Observer) -> None:
        self._observers.append(observer)

    def __call__(self, event: Event) -> None:
        for observer in self._observers:
            observer(event)
