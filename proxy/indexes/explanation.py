"""The answer that an index would give for a project, and its reasons, without any request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Literal

import msgspec

from proxy.errors import IndexUnavailable, NoSuchProject
from proxy.model import ProjectPage
from proxy.policies import Verdict

Verdicts = Mapping[str, tuple[Verdict, ...]]
"""By file name, in the order of the policies."""
StepResult = Literal["answers", "absent", "refused", "unavailable", "unknown"]
"""``absent``: the next index is asked. ``unknown``: an upstream would have to be asked."""


class Step(msgspec.Struct, frozen=True):
    """One index on the way to the answer."""

    index: str
    kind: str
    """As the settings call it."""
    result: StepResult | None = None
    """None: the index only passes the question on."""
    detail: str = ""
    """Why, in a sentence without its first capital."""
    rule: str = ""
    """The rule of the index that decided."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The way of a project through an index, and the page at its end with all its verdicts."""

    steps: tuple[Step, ...]
    """In the order in which the indexes are asked."""
    page: ProjectPage | None = None
    """As it is shown; None: the index has no answer, or does not know it."""
    listed: ProjectPage | None = None
    """The page as its index lists it, before any policy."""
    refusals: Verdicts = {}
    """The verdicts of enforced policies that refuse files, by file name."""
    observed: Verdicts = {}
    """The refusals by policies in mode ``observe``."""
    exempted: Verdicts = {}
    """The refusals by policies of either mode, if there were no exemptions."""
    kinds: Mapping[str, str] = {}
    """The kind of each rule that has verdicts here."""
    stored: Set[str] = frozenset()
    """The names of the files whose bytes are here."""

    @property
    def result(self) -> StepResult | None:
        return self.steps[-1].result if self.steps else None

    @classmethod
    def without_page(
        cls, index: str, kind: str, result: StepResult, detail: str = "", rule: str = ""
    ) -> Explanation:
        return cls(steps=(Step(index, kind, result, detail, rule),))

    @classmethod
    def of_error(
        cls, index: str, kind: str, error: NoSuchProject | IndexUnavailable
    ) -> Explanation:
        """There is no page, for the reason that the error has."""
        result: StepResult = "absent" if isinstance(error, NoSuchProject) else "unavailable"
        return cls.without_page(index, kind, result, error.reason)

    @classmethod
    def of_page(
        cls,
        index: str,
        kind: str,
        page: ProjectPage,
        stored: Set[str] | None = None,
        detail: str = "",
    ) -> Explanation:
        """The index answers with the page. ``stored``: None means all of its files."""
        if stored is None:
            stored = {file.filename for file in page.files}
        step = Step(index, kind, "answers", detail)
        return cls(steps=(step,), page=page, listed=page, stored=stored)

    def after(self, steps: Iterable[Step]) -> Explanation:
        """The same answer, with earlier steps before it."""
        return msgspec.structs.replace(self, steps=(*steps, *self.steps))
