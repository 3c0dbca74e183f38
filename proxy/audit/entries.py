"""What the audit remembers of an answer: who got which bytes, from where, and by which rule."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from proxy.events import AnswerServed, Outcome, RequestKind, Timing
from proxy.model import SIBLING_SUFFIXES


class Result(StrEnum):
    """What came of a request."""

    RECEIVED = "received"  # all bytes were sent
    PARTIAL = "partial"  # the range that was requested
    INCOMPLETE = "incomplete"  # the answer broke off, or the client left
    REDIRECTED = "redirected"  # to the address of upstream; this server sent no bytes
    UNCHANGED = "unchanged"  # the client has the bytes already (304)
    REFUSED = "refused"  # by a rule, or for want of a right
    OBSERVED = "observed"  # passed, and would be refused if the rule were in force
    FAILED = "failed"  # an error of this server or of an upstream

    __hash__ = str.__hash__


class Subject(NamedTuple):
    """What a request is about. The fields are those of ``AnswerServed``."""

    project: str
    filename: str
    digest: str
    index_name: str
    kind: RequestKind


class Requester(NamedTuple):
    """Who asks. The fields are those of ``AnswerServed``."""

    client: str = ""
    principal: str = ""
    user_agent: str = ""


NOT_NOTED = Requester()
"""The requester of pages, which are only counted."""


class Entry(NamedTuple):
    """Answers of one kind to one requester; the fields are those of ``AnswerServed``."""

    subject: Subject
    requester: Requester
    result: Result
    outcome: Outcome | None
    status: int
    rule: str
    reason: str
    sent: int
    timings: tuple[Timing, ...]


RESULTS = {
    200: Result.RECEIVED,
    206: Result.PARTIAL,
    302: Result.REDIRECTED,
    304: Result.UNCHANGED,
    403: Result.REFUSED,
    499: Result.INCOMPLETE,
}
"""By status. Absent: errors of clients, which could fill the audit with names that do not exist."""


def entries_of(event: AnswerServed, *, pages: bool) -> Iterator[Entry]:
    """None for answers that give nobody anything: to HEAD, and about no project.

    ``pages``: note who requests pages; else pages are only counted, refused ones excepted.
    """
    result = _result(event)
    if result is None or not event.project or event.method == "HEAD":
        return
    subject, requester = _subject(event), _requester(event)
    only_counted = event.kind is RequestKind.PAGE and not pages
    entry = Entry(
        subject,
        NOT_NOTED if only_counted and result is not Result.REFUSED else requester,
        result,
        event.outcome,
        event.status,
        event.rule,
        event.reason,
        event.sent,
        event.timings,
    )
    yield entry
    for rule, reason in event.observed:
        yield entry._replace(
            requester=requester, result=Result.OBSERVED, rule=rule, reason=reason, sent=0
        )


def _result(event: AnswerServed) -> Result | None:
    if event.failure and event.status < 400:
        return Result.INCOMPLETE
    return Result.FAILED if event.status >= 500 else RESULTS.get(event.status)


def _subject(event: AnswerServed) -> Subject:
    """A file beside a distribution is no distribution: its receipt is of the kind metadata."""
    kind = event.kind
    if kind is RequestKind.FILE and event.filename.endswith(SIBLING_SUFFIXES):
        kind = RequestKind.METADATA
    return Subject(event.project or "", event.filename, event.digest, event.index, kind)


def _requester(event: AnswerServed) -> Requester:
    return Requester(event.client, event.principal or "", event.user_agent)
