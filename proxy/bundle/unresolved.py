"""What the resolver failed at: told line by line, and what can be had without those lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.bundle.collected import Collected
from proxy.bundle.fault import at_fault
from proxy.bundle.needs import Need
from proxy.bundle.parallel import each
from proxy.bundle.resolve import Resolver
from proxy.bundle.targets import Target
from proxy.bundle.uv import UvFailed
from proxy.bundle.wants import Requirements
from proxy.bundle.witness import Witness

Asked = tuple[Requirements, Target]


@dataclass(slots=True)
class Unresolved:
    witness: Witness
    collected: Collected
    resolver: Resolver
    jobs: int
    rest: bool
    """Whether what is not at fault is wanted all the same."""
    asked: dict[Asked, None] = field(default_factory=dict)
    """As ``Needs.unresolved``."""

    async def told(self, failed: Mapping[Asked, UvFailed]) -> list[Asked]:
        """What is to be resolved instead. What is missing is collected."""
        files = self.witness.missed_files()
        lines = [Need(file.project, file.filename, file.digest).line for file in files]
        for (requirements, target), error in failed.items():
            for line in lines:
                self.collected.miss(line, _reason(requirements, target, error))
        # The file that was not there tells all, if it is but one.
        alone = len(files) == 1 and not self.witness.missed_pages
        if not alone:
            self.asked |= dict.fromkeys(failed)
        return await self._without_those_at_fault(failed, alone=alone)

    async def _without_those_at_fault(
        self, failed: Mapping[Asked, UvFailed], *, alone: bool
    ) -> list[Asked]:
        instead: dict[Asked, None] = {}

        async def look(asked: Asked) -> None:
            requirements, target = asked
            faults = await at_fault(
                requirements, failed[asked], lambda part: self.resolver.resolve(part, target)
            )
            for line, error in () if alone else faults.items():
                self.collected.miss(line, _reason(requirements, target, error))
            good = [line for line in requirements.lines if line not in faults]
            if good and self.rest:
                instead[requirements.only(good), target] = None

        if self.rest or not alone:
            with self.witness.looking_away():
                await each(failed, look, self.jobs)
        return list(instead)


def _reason(requirements: Requirements, target: Target, error: UvFailed) -> str:
    return f"{requirements.title}, for {target}: {error}"
