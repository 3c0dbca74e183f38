"""Rule ``hook``: what a service outside decides about files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from proxy.model import File, ProjectName
from proxy.policies.base import Facts, PageView
from proxy.policies.configured import Finding, Rule

JUDGED_AGAIN_AFTER = 30.0
"""Seconds for which a decision that has ended counts, until the service has been asked again."""


class Decision(msgspec.Struct, frozen=True):
    decision: Literal["allow", "refuse", "unknown"]
    reason: str
    until: float
    """Unix time in seconds at which it ends."""


DecisionOf = Callable[[ProjectName, File], Decision | None]
"""The last decision about a file; None: the service has not been asked."""


class Decided(Rule):
    """Refuses files that the service refuses."""

    is_changing = True

    def __init__(
        self,
        decision_of: DecisionOf,
        facts: Facts | None,
        *,
        refuses_unknown: bool = False,
        refuses_undecided: bool = False,
    ) -> None:
        """``refuses_unknown``: files about which the service knows nothing. ``refuses_undecided``:
        files that the service has not been asked about."""
        self._decision_of = decision_of
        self.facts = facts
        self._refuses_unknown = refuses_unknown
        self._refuses_undecided = refuses_undecided

    def judge(self, view: PageView) -> Iterator[Finding]:
        for position, file in enumerate(view.page.files):
            found = self._decision_of(view.page.project, file)
            if found is None:
                if self._refuses_undecided:
                    yield Finding((position,), f"nothing is decided about {file.filename} yet")
                continue
            until = found.until if view.now < found.until else view.now + JUDGED_AGAIN_AFTER
            yield Finding(
                (position,), found.reason or "decided outside", until, refuses=self.refuses(found)
            )

    def refuses(self, decision: Decision | None) -> bool:
        """Whether a file of that decision is refused."""
        if decision is None:
            return self._refuses_undecided
        return decision.decision == "refuse" or (
            decision.decision == "unknown" and self._refuses_unknown
        )
