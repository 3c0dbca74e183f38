"""Entries of the audit: client, file, outcome, source and rule of an answer."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from proxy.events import AnswerServed, RequestKind
from proxy.model import SIBLING_SUFFIXES


class Result(StrEnum):
    """The outcome of a request."""

    RECEIVED = "received"  # all bytes were sent
    CHANGED = "changed"  # a file was published, or what is published was changed
    PARTIAL = "partial"  # the range that was requested
    INCOMPLETE = "incomplete"  # the answer broke off, or the client left
    REDIRECTED = "redirected"  # to the address of upstream; this server sent no bytes
    UNCHANGED = "unchanged"  # the client has the bytes already (304)
    REFUSED = "refused"  # by a rule, or because a right is missing
    OBSERVED = "observed"  # passed, and would be refused if the rule were in force
    FAILED = "failed"  # an error of this server or of an upstream

    __hash__ = str.__hash__


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One record of the audit about an answer."""

    event: AnswerServed
    result: Result
    rule: str
    """This and the next as in ``AnswerServed``; or of a rule that only observes."""
    reason: str
    sent: int
    """Bytes, for each of the requests."""
    with_requester: bool
    """False: only counted."""

    @property
    def kind(self) -> RequestKind:
        """A file beside a distribution is no distribution: its receipt is one of metadata."""
        event = self.event
        if event.kind is RequestKind.FILE and event.filename.endswith(SIBLING_SUFFIXES):
            return RequestKind.METADATA
        return event.kind


RESULTS = {
    200: Result.RECEIVED,
    206: Result.PARTIAL,
    302: Result.REDIRECTED,
    304: Result.UNCHANGED,
    403: Result.REFUSED,
    499: Result.INCOMPLETE,
}
"""By status. Absent: errors of clients, which could fill the audit with names that do not exist."""


def entries_of(event: AnswerServed, *, pages: bool) -> list[Entry]:
    """None for answers that give a client nothing, to HEAD or about no project, and change nothing.

    ``pages``: note who requests pages; else pages are only counted, refused ones excepted.
    """
    status = event.status
    result = Result.FAILED if status >= 500 else RESULTS.get(status)
    is_change = event.kind is RequestKind.CHANGE  # of a project, or of the whole index
    if result is None or not (event.project or is_change) or event.method == "HEAD":
        return []
    if is_change and status == 200:
        result = Result.CHANGED
    elif event.failure and status < 400:
        result = Result.INCOMPLETE
    noted = pages or event.kind is not RequestKind.PAGE or result is Result.REFUSED
    entries = [Entry(event, result, event.rule, event.reason, event.sent, noted)]
    for rule, reason in event.observed:
        entries.append(Entry(event, Result.OBSERVED, rule, reason, 0, True))
    return entries
