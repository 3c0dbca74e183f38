"""``/-/audit``: which clients have version X? Only for principals with the right to see the
audit."""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from aiohttp import web
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from proxy.access import Scope
from proxy.audit import Found, Result, Wanted, find
from proxy.events import RequestKind
from proxy.face.shell import Place, Shell
from proxy.model import normalize
from proxy.runtime import in_thread
from proxy.web import require

MAX_ROWS = 500
MAX_FIELD = 200
"""Characters."""
RESULTS = (("", "any result"), *((each.value, each.value) for each in Result))


class AuditQuestion(NamedTuple):
    """The fields of the form, as typed."""

    project: str = ""
    version: str = ""
    who: str = ""
    result: str = ""

    def wanted(self) -> Wanted:
        """Raises ``ValueError`` with what is wrong."""
        try:
            project = normalize(self.project) if self.project else ""
        except ValueError:
            raise ValueError(f"{self.project} is not the name of a project") from None
        version = self.version
        if version and version[0].isdigit():
            version = f"=={version}"
        try:
            versions = SpecifierSet(version) if version else None
        except InvalidSpecifier:
            raise ValueError(f"{self.version} is no version, and no specifier of any") from None
        if versions is not None and not project:
            raise ValueError("a version needs the name of its project")
        results = frozenset([Result(self.result)]) if self.result else frozenset[Result]()
        return Wanted(
            project=project,
            versions=versions,
            results=results,
            kinds=frozenset([RequestKind.FILE]),
        )


class AuditPage:
    def __init__(self, shell: Shell, folder: Path | None) -> None:
        """``folder``: of the databases of the audit; None: nothing is recorded."""
        self._shell = shell
        self._folder = folder
        self._turn = asyncio.Lock()

    async def page(self, place: Place) -> web.Response:
        require(place.request, Scope.AUDIT)
        if self._folder is None:
            raise web.HTTPNotFound
        question = _question(place)
        found: list[Found] = []
        problem = ""
        if question.project or question.who:
            try:
                found = await self._find(question)
            except ValueError as error:
                problem = str(error)
        return self._shell.page(
            place,
            "audit.html",
            private=True,
            section="audit",
            question=question,
            results=RESULTS,
            problem=problem,
            asked=bool(question.project or question.who),
            found=found[:MAX_ROWS],
            more=len(found) > MAX_ROWS,
            clients=len({(each.principal, each.client) for each in found}),
        )

    async def _find(self, question: AuditQuestion) -> list[Found]:
        """The last first. One search at a time: it reads databases of any size."""
        wanted, folder = question.wanted(), self._folder
        assert folder

        def work() -> list[Found]:
            rows = (each for each in find(folder, wanted) if _is_by(each, question.who))
            return sorted(islice(rows, 100_000), key=lambda each: -each.last)[: MAX_ROWS + 1]

        async with self._turn:
            return await in_thread(work)


def _is_by(found: Found, who: str) -> bool:
    return not who or who in (found.principal, found.client)


def _question(place: Place) -> AuditQuestion:
    given = place.request.query
    fields = [given.get(name, "").strip()[:MAX_FIELD] for name in AuditQuestion._fields]
    question = AuditQuestion(*fields)
    return question if question.result in dict(RESULTS) else question._replace(result="")
