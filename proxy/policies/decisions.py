"""Rule ``hook``: what a service outside decides about files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from proxy.model import ProjectName
from proxy.policies.base import Facts, PageView
from proxy.policies.configured import Finding, Rule

JUDGED_AGAIN_AFTER = 30.0
"""Seconds for which a decision that has ended counts, until the service has been asked again."""


class Decision(msgspec.Struct, frozen=True, gc=False):
    decision: Literal["allow", "refuse", "unknown"]
    reason: str
    until: float
    """Unix time in seconds at which it ends."""


DecisionsOf = Callable[[ProjectName], Callable[[str], Decision | None]]
"""The last decisions about the files of a project by their ``ParsedPage.digests``; None: the
service has not been asked."""


class Decided(Rule):
    """Refuses files that the service refuses."""

    is_changing = True

    def __init__(
        self,
        decisions_of: DecisionsOf,
        facts: Facts | None,
        *,
        refuses_unknown: bool = False,
        refuses_undecided: bool = False,
    ) -> None:
        """``refuses_unknown``: files about which the service knows nothing. ``refuses_undecided``:
        files that the service has not been asked about."""
        self._decisions_of = decisions_of
        self.facts = facts
        self._refuses_unknown = refuses_unknown
        self._refuses_undecided = refuses_undecided

    def judge(self, view: PageView) -> Iterator[Finding]:
        decisions = map(self._decisions_of(view.page.project), view.parsed.digests)
        passing: list[float] = []
        for position, found in enumerate(decisions):
            if found is None:
                if self._refuses_undecided:
                    name = view.page.files[position].filename
                    yield Finding((position,), f"nothing is decided about {name} yet")
                continue
            until = found.until if view.now < found.until else view.now + JUDGED_AGAIN_AFTER
            if self.refuses(found):
                yield Finding((position,), found.reason or "decided outside", until)
            else:
                passing.append(until)
        if passing:
            yield Finding((0,), "", min(passing), refuses=False)  # says only until when

    def refuses(self, decision: Decision | None) -> bool:
        """Whether a file of that decision is refused."""
        if decision is None:
            return self._refuses_undecided
        return decision.decision == "refuse" or (
            decision.decision == "unknown" and self._refuses_unknown
        )
