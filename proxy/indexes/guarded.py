"""An index seen through policies."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

import msgspec
from cachetools import LRUCache

from proxy.errors import Denied, IndexUnavailable, NoSuchProject, PolicyFailed
from proxy.indexes.base import CheckFile, Index
from proxy.indexes.explanation import Explanation, Result
from proxy.model import Artifact, File, ProjectName, ProjectPage, with_distributions
from proxy.policies import PageView, Policy, Verdict
from proxy.runtime import run_in_worker

log = logging.getLogger(__name__)

MAX_JUDGED_FILES = 12_000
"""Files of the judged pages that are kept; a page counts as one more."""
COST_PER_FILE = 200
"""What judging one file costs, in bytes of input as ``run_in_worker`` counts them."""

Verdicts = Mapping[str, tuple[Verdict, ...]]
"""By file name, in the order of the policies."""


JudgedKey = tuple[str, str, int]
"""Source and version of the page, and the epoch of the policies."""


class Judged(msgspec.Struct, frozen=True):
    """A page after its policies have judged it."""

    page: ProjectPage
    """As it is shown."""
    refusals: Verdicts
    observed: Verdicts
    """What policies in mode ``observe`` would refuse."""
    not_after: float | None
    """The earliest instant at which a verdict may change, as in ``ProjectPage``."""

    def check(self, filename: str) -> None:
        """Raises ``Denied`` for a refused file and for the siblings of one."""
        for verdict in _of(self.refusals, filename):
            raise Denied(self.page.project, f"{filename}: {verdict.reason}", verdict.rule)


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
    ) -> None:
        """``clock`` gives Unix time in seconds. ``epoch`` grows with every change of what the
        policies know; ``PageChanged`` has to be emitted with each such change.
        """
        self.index = index
        self.policies = tuple(policies)
        self._judges = tuple(policy for policy in self.policies if policy.judges_files)
        self._clock = clock
        self._epoch = epoch
        self._judged: LRUCache[ProjectName, tuple[JudgedKey, Judged]]
        self._judged = LRUCache(MAX_JUDGED_FILES, getsizeof=_weight)

    @property
    def name(self) -> str:
        return self.index.name

    async def projects(self) -> Set[ProjectName]:
        return {project for project in await self.index.projects() if self._admits(project)}

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        for policy in self.policies:  # as ``_admit``, without its call
            policy.admit(project)
        page = await self.index.page(project, checked_after)
        return (await self.judge(page)).page if self._judges else page

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

        async def check_verdicts(page: ProjectPage) -> None:
            nonlocal not_after
            judged = await self.judge(page)
            judged.check(filename)
            not_after = judged.not_after
            if check:
                await check(judged.page)

        artifact = await self.index.file(project, filename, digest, check_verdicts)
        return msgspec.structs.replace(
            artifact, not_after=_earliest((artifact.not_after, not_after))
        )

    async def explain(self, project: ProjectName) -> Explanation:
        for policy in self.policies:
            if found := self._explain_refusal(policy, project):
                return found
        found = await self.index.explain(project)
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
        )

    def _explain_refusal(self, policy: Policy, project: ProjectName) -> Explanation | None:
        try:
            policy.admit(project)
        except NoSuchProject as error:
            result: Result = "absent"
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
        now, key = self._clock(), (page.source, page.version, self._epoch())
        known_key, known = self._judged.get(page.project) or (None, None)
        if known is None or known_key != key or not _holds(known, now):
            size = COST_PER_FILE * len(self._judges) * len(page.files)
            known = await run_in_worker(size, lambda: self._judge(page, now))
            if page.version:
                self._judged[page.project] = key, known
        return msgspec.structs.replace(known, page=_with_times_of(page, known))

    def _judge(self, page: ProjectPage, now: float) -> Judged:
        view = PageView(page, now)
        refusals: dict[str, tuple[Verdict, ...]] = {}
        observed: dict[str, tuple[Verdict, ...]] = {}
        hidden: set[str] = set()
        ends = [page.not_after]
        for policy, file, verdict in self._verdicts(view):
            ends.append(verdict.until)
            if not verdict.refuses:
                continue
            enforced = policy.mode == "enforce"
            found = refusals if enforced else observed
            found[file.filename] = (*found.get(file.filename, ()), verdict)
            if enforced and policy.show == "hide":
                hidden.add(file.filename)
        not_after = _earliest(ends)
        return Judged(_shown(page, refusals, hidden), refusals, observed, not_after)

    def _verdicts(self, view: PageView) -> Iterator[tuple[Policy, File, Verdict]]:
        for policy in self._judges:
            try:
                for position, verdict in policy.judge(view):
                    yield policy, view.page.files[position], verdict
            except Exception as error:
                log.exception("the policy %s failed on %s", policy.name, view.page.project)
                raise PolicyFailed(self.name, policy.name) from error

    def _admit(self, project: ProjectName) -> None:
        for policy in self.policies:
            policy.admit(project)

    def _admits(self, project: ProjectName) -> bool:
        try:
            self._admit(project)
        except (NoSuchProject, Denied, IndexUnavailable):
            return False
        return True


def _joined(inner: Verdicts, outer: Verdicts) -> Verdicts:
    """The verdicts of the policies of two indexes, one made of the other."""
    both = inner.keys() | outer.keys()
    return {name: (*inner.get(name, ()), *outer.get(name, ())) for name in both}


def _weight(entry: tuple[JudgedKey, Judged]) -> int:
    return min(1 + len(entry[1].page.files), MAX_JUDGED_FILES)


def _of(verdicts: Verdicts, filename: str) -> Iterator[Verdict]:
    """The verdicts on a file, and on the distribution that it is a sibling of."""
    for name in with_distributions(filename):
        yield from verdicts.get(name, ())


def _holds(judged: Judged, now: float) -> bool:
    return judged.not_after is None or now < judged.not_after


def _shown(page: ProjectPage, refusals: Verdicts, hidden: Set[str]) -> ProjectPage:
    """The page without the hidden files, with the other refused ones yanked."""
    if not refusals:
        return page
    files = []
    for file in page.files:
        verdict = next(_of(refusals, file.filename), None)
        if verdict is None:
            files.append(file)
        elif hidden.isdisjoint(with_distributions(file.filename)):
            files.append(msgspec.structs.replace(file, yanked=verdict.reason))
    content = msgspec.msgpack.encode((page.version, [each.filename for each in files], refusals))
    version = hashlib.sha256(content).hexdigest() if page.version else ""
    return msgspec.structs.replace(page, files=tuple(files), version=version)


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


def _earliest(instants: Iterable[float | None]) -> float | None:
    return min((each for each in instants if each is not None), default=None)
