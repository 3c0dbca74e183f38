"""Changes of packages, which the journal of their index keeps as numbered events."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from proxy.indexes import yank_reason
from proxy.model import ProjectName, ProjectStatus

NO_PROJECT = ProjectName("")
"""Changes of the index itself are of no project."""


class Action(StrEnum):
    """The kind of a change."""

    PUBLISH = "publish"
    REPLACE = "replace"
    YANK = "yank"
    UNYANK = "unyank"
    DELETE = "delete"
    RESTORE = "restore"
    REMOVE = "remove"
    """The bytes of a deleted file are gone."""
    STATUS = "status"
    CLAIM = "claim"
    OWNERS = "owners"
    ATTEST = "attest"
    """Attestations were added to a file that is listed."""
    SNAPSHOT = "snapshot"
    """What the index shows got a name, which is ``detail``. The change is of ``NO_PROJECT``."""
    FORGET = "forget"
    """A snapshot was deleted."""


class PackageChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event. A field is empty if the change has no such value."""

    number: int = 0
    """Rises with every change, and is never used twice; there may be gaps."""
    at: float = 0.0
    """Unix time in seconds."""
    actor: str = ""
    action: Action
    project: ProjectName
    version: str = ""
    filename: str = ""
    sha256: str = ""
    size: int = 0
    detail: str = ""
    """The reason of a yank, the new status, the owners, or the index from which a file comes."""

    @property
    def status(self) -> ProjectStatus:
        """That of a change of the status (PEP 792)."""
        status, _, why = self.detail.partition(": ")
        return ProjectStatus(status, why or None)


MAX_REASON = 1000
"""Characters of the reason of a yank or a status."""


def reason_text(reason: str) -> str:
    """A reason as pages have it: in one line, without control characters, and not too long."""
    found = yank_reason(reason.encode("utf-8", "replace"))
    return found[:MAX_REASON].rstrip() if isinstance(found, str) else ""


def yank_detail(yanked: bool | str) -> str:
    """The detail of a change that yanks, from ``File.yanked``: its reason, or nothing."""
    return reason_text(yanked) if isinstance(yanked, str) else ""


class BegunChange(PackageChange, frozen=True, kw_only=True, omit_defaults=True):
    """The first change of a step with content, and what a process needs that has to end the step.

    Versions of this program that know nothing of the further fields read it as its change.
    """

    further: tuple[PackageChange, ...] = ()
    """The changes that go with it."""
    owners: tuple[str, ...] = ()
    """The users to whom the project belongs after it, if it has no owners yet."""
    former: Mapping[str, bytes] | None = None
    """The files beside it before, by suffix; None if they are not known."""
