"""An index seen through policies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import suppress

import msgspec
from cachetools import LRUCache

from proxy.errors import Denied, IndexUnavailable, NoSuchFile, NoSuchProject, PolicyFailed
from proxy.indexes.base import CheckFile, Index
from proxy.indexes.explanation import Explanation, StepResult, Verdicts
from proxy.indexes.judged import Judged, judge_page, observations
from proxy.model import Artifact, ProjectName, ProjectPage, with_distributions
from proxy.policies import (
    Facts,
    OpenFile,
    PageView,
    ParsedPage,
    ParsedPages,
    Policy,
    parse_names,
)
from proxy.runtime import BoundedDict, run_in_worker

MAX_JUDGED_FILES = 12_000
COST_PER_FILE = 200
"""The cost of judging one file, in bytes of input as ``run_in_worker`` counts them."""

JudgedKey = tuple[str, str, int]
"""Source and version of the page, and the epoch of the policies."""


class Guarded:
    """Shows the projects and files that every policy allows.

    Stands outside of the cache, which keeps what upstream really sent: so a changed policy acts
    at once, and two indexes may share one mirror under different policies.
    """

    def __init__(
        self,
        index: Index,
        policies: Sequence[Policy],
        clock: Callable[[], float] = time.time,
        epoch: Callable[[], int] = lambda: 0,
        parsed_pages: ParsedPages | None = None,
        name: str = "",
        max_files: int = MAX_JUDGED_FILES,
    ) -> None:
        """``clock`` gives Unix time in seconds. ``epoch`` grows with every change of what the
        policies know; ``PageChanged`` has to be emitted with each such change. ``parsed_pages``
        may be shared with other indexes. ``name``: if it is not that of the guarded index.
        ``max_files``: files of the judged pages that are kept; a page counts as one more.
        """
        self.index = index
        self.name = name or index.name
        self.policies = tuple(policies)
        self._gates = tuple(policy.admit for policy in self.policies if policy.judges_projects)
        self._judges = tuple(policy for policy in self.policies if policy.judges_files)
        enforced = [policy for policy in self._judges if policy.mode == "enforce"]
        self._enforces = bool(enforced)
        self._may_change = any(policy.is_changing for policy in enforced)
        self._informed = tuple(policy for policy in self._judges if policy.facts)
        self._clock = clock
        self._now = 0.0
        self._epoch = epoch
        self._parsed_pages = parsed_pages or ParsedPages()
        self._judged: LRUCache[ProjectName, tuple[JudgedKey, Judged]]
        self._prefetched: BoundedDict[ProjectName, object] = BoundedDict(max_files)
        self._judged = LRUCache(
            max_files, getsizeof=lambda entry: min(1 + len(entry[1].page.files), max_files)
        )

    def rebuilt(self, replace: Callable[[Index], Index], max_files: int) -> Guarded:
        """The same policies around another index, made from the guarded one."""
        guarded = replace(self.index)
        known = self._clock, self._epoch, self._parsed_pages
        return Guarded(guarded, self.policies, *known, self.name, max_files)

    async def projects(self) -> Set[ProjectName]:
        return {project for project in await self.index.projects() if self.admits(project)}

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        for admit in self._gates:  # as ``_admit``, without its call
            admit(project)
        page = await self.index.page(project, checked_after)
        if not self._judges:
            return page
        judged = await self.judge(page)
        if self._informed:
            await self._prefetch(page, judged)
        return judged.page

    async def file(
        self,
        project: ProjectName,
        filename: str,
        digest: str | None = None,
        check: CheckFile | None = None,
    ) -> Artifact:
        self._admit(project)
        if not self._judges:
            return await self.index.file(project, filename, digest, check)
        not_after: float | None = None
        observed: tuple[tuple[str, str], ...] = ()

        async def check_verdicts(page: ProjectPage) -> None:
            nonlocal not_after, observed
            await self._learn(page, filename)
            judged = await self.judge(page)
            judged.check(filename, digest)
            not_after = judged.not_after
            observed = observations(judged, filename)
            if check:
                await check(judged.page)

        artifact = await self.index.file(project, filename, digest, check_verdicts)
        return msgspec.structs.replace(
            artifact,
            not_after=_earliest(artifact.not_after, not_after),
            private=artifact.private or self._enforces,
            observed=artifact.observed + observed,
        )

    async def explain(self, project: ProjectName) -> Explanation:
        for policy in self.policies:
            if found := self._explain_refusal(policy, project):
                return found
        found = self._named(await self.index.explain(project))
        if found.page is None or not self._judges:
            return found
        try:
            judged = await self.judge(found.page)
        except PolicyFailed as error:
            return Explanation.without_page(
                self.name, "policy", "unavailable", str(error), error.policy
            )
        return msgspec.structs.replace(
            found,
            page=judged.page,
            refusals=_joined(found.refusals, judged.refusals),
            observed=_joined(found.observed, judged.observed),
            exempted=_joined(found.exempted, judged.exempted),
            kinds={**found.kinds, **{policy.name: policy.kind for policy in self._judges}},
        )

    def _named(self, found: Explanation) -> Explanation:
        """In the words of the settings: indexes of one upstream share a mirror, and its name."""
        if self.name == self.index.name or len(found.steps) > 1:
            return found
        steps = tuple(msgspec.structs.replace(step, index=self.name) for step in found.steps)
        return msgspec.structs.replace(found, steps=steps)

    def _explain_refusal(self, policy: Policy, project: ProjectName) -> Explanation | None:
        try:
            policy.admit(project)
        except NoSuchProject as error:
            result: StepResult = "absent"
            detail = error.reason
        except Denied as error:
            result, detail = "refused", error.reason
        except IndexUnavailable as error:
            result, detail = "unavailable", str(error)
        else:
            return None
        return Explanation.without_page(self.name, "policy", result, detail, policy.name)

    async def judge(self, page: ProjectPage) -> Judged:
        """The verdicts on a page of the guarded index as of now. Raises ``PolicyFailed``.

        A page is judged once for each of its versions and each epoch, until a verdict may change.
        """
        # A clock that was set back takes nothing away that has been shown already.
        for facts in self._facts_about(page.project):
            await facts.load(page.project)
        now = self._now = max(self._now, self._clock())
        key = (page.source, page.version, self._epoch())
        known_key, known = self._judged.get(page.project) or (None, None)
        if known is None or known_key != key or not _holds(known, now):
            size = COST_PER_FILE * len(self._judges) * len(page.files)
            parsed = self._parsed_pages.get(page)
            judged, names = await run_in_worker(size, lambda: self._judge(page, now, parsed))
            if page.version:
                self._judged[page.project] = key, judged
                self._parsed_pages.put(page, names)
            known = judged
        shown = _with_times_of(page, known)
        if self._may_change:
            shown = msgspec.structs.replace(shown, may_change=True)
        return msgspec.structs.replace(known, page=shown)

    def _judge(
        self, page: ProjectPage, now: float, parsed: ParsedPage | None
    ) -> tuple[Judged, ParsedPage]:
        parsed = parsed or parse_names(page)
        return judge_page(self.name, self._judges, PageView(page, now, parsed)), parsed

    async def _learn(self, page: ProjectPage, filename: str) -> None:
        """Let policies collect facts of a requested file, or of the owner of a sibling."""
        *_, owner = with_distributions(filename)
        for facts in self._facts_about(page.project):
            await facts.load(page.project)
            with suppress(NoSuchFile):
                await facts.learn(page, page.file(owner), self._opener(page))

    async def _prefetch(self, page: ProjectPage, judged: Judged) -> None:
        """Once for each judgement: until the next one the same would be collected."""
        key = (page.source, page.version, self._epoch(), judged.not_after)
        if page.version and self._prefetched.get(page.project) == key:
            return
        self._prefetched[page.project] = key
        for facts in self._facts_about(page.project):
            await facts.prefetch(page, self._opener(page))

    def _facts_about(self, project: ProjectName) -> Iterable[Facts]:
        if not self._informed:
            return ()
        found = (policy.facts for policy in self._informed if policy.concerns(project))
        return dict.fromkeys(facts for facts in found if facts)

    def _opener(self, page: ProjectPage) -> OpenFile:
        async def open_file(filename: str) -> Artifact:
            *_, owner = with_distributions(filename)
            digest = page.file(owner).address_digest
            return await self.index.file(page.project, filename, digest)

        return open_file

    def _admit(self, project: ProjectName) -> None:
        for admit in self._gates:
            admit(project)

    def admits(self, project: ProjectName) -> bool:
        """Whether the policies let the project be requested."""
        try:
            self._admit(project)
        except (NoSuchProject, Denied, IndexUnavailable):
            return False
        return True


def _joined(inner: Verdicts, outer: Verdicts) -> Verdicts:
    """The verdicts of the policies of two indexes, one made of the other."""
    both = inner.keys() | outer.keys()
    return {name: (*inner.get(name, ()), *outer.get(name, ())) for name in both}


def _holds(judged: Judged, now: float) -> bool:
    return judged.not_after is None or now < judged.not_after


def _with_times_of(page: ProjectPage, judged: Judged) -> ProjectPage:
    """The judged page with the freshness of this one, which ends when a verdict may change."""
    shown, end = judged.page, judged.not_after
    if end is None:
        return _timed(shown, page, page.fresh_until) if judged.refusals else page
    fresh_until = None if page.fresh_until is None else min(page.fresh_until, end)
    return msgspec.structs.replace(
        _timed(shown, page, fresh_until), stale_until=min(page.stale_until, end), not_after=end
    )


def _timed(shown: ProjectPage, page: ProjectPage, fresh_until: float | None) -> ProjectPage:
    return msgspec.structs.replace(
        shown, fresh_until=fresh_until, stale_until=page.stale_until, checked=page.checked
    )


def _earliest(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
