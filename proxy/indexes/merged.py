"""Several indexes as one: their pages of a project united."""

from __future__ import annotations

import asyncio
import hashlib
from collections import ChainMap
from collections.abc import Callable, Iterable, Sequence, Set

import msgspec

from proxy.errors import NoSuchFile, NoSuchProject
from proxy.indexes.base import CheckFile, Index
from proxy.indexes.explanation import Explanation, Step, Verdicts
from proxy.model import Artifact, ProjectName, ProjectPage, with_distributions
from proxy.policies import Verdict


class Merged:
    """All indexes answer together; of files of one name, that of the first index is listed.

    An error of any of them is an error of the page: a page without the files of one that is
    down would change what a resolver chooses, and what it writes to lock files.
    """

    def __init__(self, name: str, indexes: Sequence[Index]) -> None:
        self.name = name
        self.indexes = tuple(indexes)

    def rebuilt(self, replace: Callable[[Index], Index]) -> Merged:
        """The same of other indexes, each made from one of these."""
        return Merged(self.name, [replace(index) for index in self.indexes])

    async def projects(self) -> Set[ProjectName]:
        found: set[ProjectName] = set()
        for index in self.indexes:
            found |= await index.projects()
        return found

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        return united([page for _, page in await self._pages(project, checked_after)])

    async def file(
        self,
        project: ProjectName,
        filename: str,
        digest: str | None = None,
        check: CheckFile | None = None,
    ) -> Artifact:
        pages = await self._pages(project)
        merged = united([page for _, page in pages])

        async def check_merged(page: ProjectPage) -> None:
            """``page``: of one index; of one file if that is stored, and no longer listed."""
            if check:
                await check(merged if _lists(merged, filename) else page)

        listing = [index for index, page in pages if _lists(page, filename)][:1]
        for index in listing or [index for index, _ in pages]:
            try:
                return await index.file(project, filename, digest, check_merged)
            except NoSuchFile:
                continue
        raise NoSuchFile(project, filename)

    async def explain(self, project: ProjectName) -> Explanation:
        found = [await index.explain(project) for index in self.indexes]
        steps = [Step(self.name, "merge"), *(step for each in found for step in each.steps)]
        missing = [each for each in found if each.page is None and each.result != "absent"]
        pages = [each for each in found if each.page]
        if missing or not pages:
            result = missing[0].result if missing else "absent"
            return Explanation(steps=(*steps, Step(self.name, "merge", result)))
        return _explained(pages, (*steps, Step(self.name, "merge", "answers", _dropped(pages))))

    async def _pages(
        self, project: ProjectName, checked_after: float = 0.0
    ) -> list[tuple[Index, ProjectPage]]:
        """Of the indexes that have the project. Raises what any of them raises, else."""
        answers = await asyncio.gather(
            *(index.page(project, checked_after) for index in self.indexes),
            return_exceptions=True,
        )
        found = []
        for index, answer in zip(self.indexes, answers, strict=True):
            if isinstance(answer, ProjectPage):
                found.append((index, answer))
            elif not isinstance(answer, NoSuchProject):
                raise answer
        if not found:
            raise NoSuchProject(project)
        return found


def united(pages: Sequence[ProjectPage]) -> ProjectPage:
    """One page of the files of all, each of which has the same project."""
    if len(pages) == 1:
        return pages[0]
    files = {file.filename: file for page in reversed(pages) for file in reversed(page.files)}
    known = [(page.source, page.version) for page in pages]
    return ProjectPage(
        pages[0].project,
        tuple(reversed(files.values())),
        versions=tuple(dict.fromkeys(version for page in pages for version in page.versions)),
        status=next((page.status for page in pages if page.status), None),
        source="+".join(page.source for page in pages),
        fresh_until=_earliest(page.fresh_until for page in pages),
        stale_until=min(
            (page.stale_until for page in pages if page.fresh_until is not None), default=0.0
        ),
        checked=_earliest(page.checked for page in pages),
        not_after=_earliest(page.not_after for page in pages),
        may_change=any(page.may_change for page in pages),
        refused=sum(page.refused for page in pages),
        first_seen=dict(ChainMap(*(dict(page.first_seen) for page in pages))),
        version=hashlib.sha256(msgspec.msgpack.encode(known)).hexdigest()
        if all(page.version for page in pages)
        else "",
    )


def _explained(found: Sequence[Explanation], steps: tuple[Step, ...]) -> Explanation:
    """One explanation of all. A file is explained by the index whose file is shown; a file that
    every index hides, by all of them."""
    showing: dict[str, Explanation] = {}
    for each in found:
        for file in each.page.files if each.page else ():
            showing.setdefault(file.filename, each)

    def verdicts(of: Callable[[Explanation], Verdicts]) -> Verdicts:
        joined: dict[str, tuple[Verdict, ...]] = {}
        for each in found:
            for name, its in of(each).items():
                if showing.get(name, each) is each:
                    joined[name] = (*joined.get(name, ()), *its)
        return joined

    def listed(each: Explanation, page: ProjectPage) -> ProjectPage:
        files = [file for file in page.files if showing.get(file.filename, each) is each]
        return msgspec.structs.replace(page, files=tuple(files))

    return Explanation(
        steps=steps,
        page=united([each.page for each in found if each.page]),
        listed=united([listed(each, each.listed) for each in found if each.listed]),
        refusals=verdicts(lambda each: each.refusals),
        observed=verdicts(lambda each: each.observed),
        exempted=verdicts(lambda each: each.exempted),
        kinds={rule: kind for each in found for rule, kind in each.kinds.items()},
        stored=frozenset().union(*(each.stored for each in found)),
    )


def _lists(page: ProjectPage, filename: str) -> bool:
    """Whether the page lists the file, or the distribution that it is a sibling of."""
    listed = {file.filename for file in page.files}
    return any(name in listed for name in with_distributions(filename))


def _earliest(instants: Iterable[float | None]) -> float | None:
    return min((each for each in instants if each is not None), default=None)


def _dropped(found: Sequence[Explanation]) -> str:
    """The files that are not shown, since an earlier index lists one of the same name."""
    seen: set[str] = set()
    dropped = []
    for each in found:
        names = [file.filename for file in each.page.files] if each.page else []
        dropped += [name for name in names if name in seen]
        seen.update(names)
    return f"listed by an earlier index already: {', '.join(dropped)}" if dropped else ""
