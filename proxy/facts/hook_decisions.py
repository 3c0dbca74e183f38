"""Decisions of a service outside about files, asked by HTTP and kept for as long as it says."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Protocol

import msgspec

from proxy.errors import UpstreamError
from proxy.events import Observer, UpstreamFailed
from proxy.facts.fact_store import StoredFacts
from proxy.model import File, ProjectName, ProjectPage
from proxy.policies import Decision, OpenFile, digest_of, parse_names
from proxy.runtime import SingleFlight
from proxy.storage import RecordKind, Records

log = logging.getLogger(__name__)

SHORTEST, LONGEST = 60.0, 7 * 86400.0
"""Seconds for which a decision is kept, whatever the service says."""
AFTER_FAILURE = 30.0
"""Seconds for which the outcome of a failed request is kept."""
FAILURES, PAUSE = 3, 5.0
"""After so many failures in a row the service is not asked for so many seconds."""
MOST_AT_ONCE = 100
"""Files in one request about a page."""
SIGNATURE = "Waystation-Signature"
"""The header with the HMAC of the body (RFC 2104), as ``sha256=HEX``."""
UNAVAILABLE = "decision service unavailable"
LONGEST_REASON = 200
"""Characters."""


class Post(Protocol):
    async def post(self, body: bytes, headers: dict[str, str]) -> bytes:
        """Raises ``UpstreamError``."""


class _Answer(msgspec.Struct):
    decision: Literal["allow", "refuse", "unknown"]
    reason: str = ""
    ttl: Annotated[float, msgspec.Meta(ge=0)] | None = None


class DecisionFacts:
    """The facts of one rule of the kind ``hook``."""

    def __init__(
        self,
        service: Post,
        records: Records,
        changed: Callable[[Sequence[ProjectName]], None],
        events: Observer,
        *,
        key: str,
        ttl: float,
        secret: str = "",
        allows_on_failure: bool = False,
        whole_pages: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``key`` separates the decisions of one service from those of another. ``ttl``: seconds
        for which a decision is kept if the service does not say. ``whole_pages``: ask about all
        files of a page that is requested.
        """
        self._service = service
        self._stored: StoredFacts[Decision] = StoredFacts(
            records, RecordKind.DECISIONS, Decision, clock, key
        )
        self._changed = changed
        self._events = events
        self._ttl = ttl
        self._secret = secret.encode()
        self._allows_on_failure = allows_on_failure
        self._whole_pages = whole_pages
        self._clock = clock
        self._failures = 0
        self._paused_until = 0.0
        self._flights: SingleFlight[tuple[ProjectName, str], None] = SingleFlight()
        self.refuses: Callable[[Decision | None], bool] = lambda decision: False
        """How the rule judges a decision: its pages change only if that changes."""

    def decisions_of(self, project: ProjectName) -> Callable[[str], Decision | None]:
        """As in ``DecisionsOf``."""
        return self._stored.of(project)

    def read_again(self, project: ProjectName) -> None:
        """Another process has learnt a fact about the project."""
        self._stored.read_again(project)

    async def load(self, project: ProjectName) -> None:
        if await self._stored.load(project):
            self._changed([project])

    async def learn(self, page: ProjectPage, file: File, open_file: OpenFile) -> None:
        if self._is_needed(self._stored.of(page.project)(digest_of(file))):
            key = (page.project, digest_of(file))
            await self._flights.do(key, lambda: self._ask(page, [file], as_list=False))

    async def prefetch(self, page: ProjectPage, open_file: OpenFile) -> None:
        """Ask about the files of the page, and again about those whose decision has ended."""
        decisions = map(self._stored.of(page.project), map(digest_of, page.files))
        wanted = [
            file
            for file, known in zip(page.files, decisions, strict=True)
            if self._is_needed(known) and (self._whole_pages or known)
        ][::-1]
        if wanted:
            self._flights.start((page.project, ""), lambda: self._ask_all(page, wanted))

    async def close(self) -> None:
        await self._flights.close()

    def _is_needed(self, known: Decision | None) -> bool:
        return known is None or self._clock() >= known.until

    async def _ask_all(self, page: ProjectPage, files: Sequence[File]) -> None:
        for start in range(0, len(files), MOST_AT_ONCE):
            await self._ask(page, files[start : start + MOST_AT_ONCE], as_list=True)

    async def _ask(self, page: ProjectPage, files: Sequence[File], *, as_list: bool) -> None:
        """One request; its outcome is kept, whatever comes of it."""
        project, digests = page.project, [digest_of(file) for file in files]
        former = list(map(self._stored.of(project), digests))
        questions = [_question(page, file) for file in files]
        try:
            answers = await self._answers(questions if as_list else questions[0], len(files))
        except (UpstreamError, msgspec.DecodeError) as error:
            log.warning("the decision about %s failed: %s", files[0].filename, error)
            self._events(UpstreamFailed("hook", files[0].filename, str(error)))
            outcome: Literal["allow", "refuse"] = "allow" if self._allows_on_failure else "refuse"
            failed = Decision(outcome, UNAVAILABLE, self._clock() + AFTER_FAILURE)
            self._stored.note(project, dict.fromkeys(digests, failed), failed.until)
        else:
            decisions = map(self._decision, answers)
            await self._stored.add(project, dict(zip(digests, decisions, strict=True)))
        now = map(self._stored.of(project), digests)
        if [*map(self.refuses, former)] != [*map(self.refuses, now)]:
            self._changed([project])

    async def _answers(self, question: Any, count: int) -> list[_Answer]:
        """Raises ``UpstreamError`` and ``msgspec.DecodeError``."""
        now = self._clock()
        if self._failures >= FAILURES and now < self._paused_until:
            raise UpstreamError("hook", "it failed several times, and is asked again later")
        body = msgspec.json.encode(question)
        signature = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        headers = {SIGNATURE: f"sha256={signature}"} if self._secret else {}
        try:
            data = await self._service.post(body, headers)
            answers = _decoded(data, count, is_list=isinstance(question, list))
        except (UpstreamError, msgspec.DecodeError):
            self._failures += 1
            self._paused_until = self._clock() + PAUSE
            raise
        self._failures = 0
        return answers

    def _decision(self, answer: _Answer) -> Decision:
        ttl = self._ttl if answer.ttl is None else answer.ttl
        until = self._clock() + min(max(ttl, SHORTEST), LONGEST)
        return Decision(answer.decision, answer.reason[:LONGEST_REASON], until)


def _decoded(data: bytes, count: int, *, is_list: bool) -> list[_Answer]:
    if not is_list:
        return [msgspec.json.decode(data, type=_Answer)]
    answers = msgspec.json.decode(data, type=list[_Answer])
    if len(answers) != count:
        raise UpstreamError("hook", f"it answered {len(answers)} of {count} questions")
    return answers


def _question(page: ProjectPage, file: File) -> dict[str, Any]:
    one = msgspec.structs.replace(page, files=(file,), version="")
    return {
        "index": page.source,
        "project": page.project,
        "version": parse_names(one).releases[0].text,
        "filename": file.filename,
        "sha256": file.sha256,
        "size": file.size,
        "upload_time": file.uploaded,
        "requires_python": file.requires_python,
    }
