"""What locks name, as requirements that a resolver or an installer takes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from proxy.bundle.needs import LockedVersion
from proxy.bundle.targets import Target
from proxy.bundle.wants import Requirements


def lock_rounds(locked: Iterable[LockedVersion], target: Target) -> list[Requirements]:
    """Every version that is locked for the target.

    A lock may hold several of one project, for extras that exclude each other: one a round.
    """
    made: list[dict[str, str]] = []
    for lock in locked:
        if lock.target != target:
            continue
        at = next(n for n in count() if n == len(made) or lock.project not in made[n])
        if at == len(made):
            made.append({})
        made[at][lock.project] = _line(lock)
    return [Requirements("what is locked", "".join(each.values())) for each in made]


def _line(lock: LockedVersion) -> str:
    hashes = "".join(f" --hash={each}" for each in sorted(lock.digests) if _usable(each))
    return f"{lock.project}=={lock.version}{hashes}\n"


def _usable(digest: str) -> bool:
    """Whether installers know the algorithm."""
    return digest.startswith(("sha256:", "sha384:", "sha512:"))
