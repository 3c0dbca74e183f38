"""What was asked for together: kept over restarts, so that one page of an install tells the rest.

A record for each project, ``together/<index>/<project>``: which project opened the last install
that it was part of, and, of a project that opened some, what came after it, in order.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from proxy.model import ProjectName
from proxy.speculation.sessions import Taken
from proxy.storage.base import Records

HISTORY_KIND = "together"
MAX_MEMBERS = 400
"""Projects of an install that are remembered."""
MIN_TIMES = 3
"""Installs in a row after which a project that was not part of them is forgotten."""


class _Member(msgspec.Struct, frozen=True, array_like=True):
    project: ProjectName
    filename: str = ""
    """As in ``Taken``."""
    absent: int = 0
    """Installs since it was asked for."""


class _HistoryRecord(msgspec.Struct, frozen=True):
    opener: ProjectName
    members: tuple[_Member, ...] = ()
    """Of the install that this project opened, itself among them."""


class InstallHistory:
    def __init__(self, records: Records, index: str) -> None:
        """``index``: the name of the one that is served."""
        self._records = records
        self._prefix = f"{HISTORY_KIND}/{index}/"

    async def recall(self, project: ProjectName) -> list[Taken]:
        """What was asked for in the install that the project opened, else was last part of."""
        record = await self._get(project)
        if record and not record.members and record.opener != project:
            record = await self._get(record.opener)
        members = record.members if record else ()
        return [Taken(member.project, member.filename) for member in members]

    async def remember(self, taken: Sequence[Taken]) -> None:
        """An install has ended."""
        if len(taken) < 2:
            return
        opener = taken[0].project
        for project, _ in taken[:MAX_MEMBERS]:
            former = await self._get(project)
            members = former.members if former else ()
            if project == opener:
                members = _merged(members, taken)
            if former is None or (former.opener, former.members) != (opener, members):
                record = msgspec.json.encode(_HistoryRecord(opener, members))
                await self._records.put(self._prefix + project, record)

    async def _get(self, project: ProjectName) -> _HistoryRecord | None:
        found = await self._records.get(self._prefix + project)
        try:
            return msgspec.json.decode(found, type=_HistoryRecord) if found else None
        except msgspec.MsgspecError:
            return None


def _merged(former: Sequence[_Member], taken: Sequence[Taken]) -> tuple[_Member, ...]:
    """What is asked for now comes first, then what was asked for not long ago."""
    now = {each.project for each in taken}
    kept = [
        msgspec.structs.replace(member, absent=member.absent + 1)
        for member in former
        if member.project not in now and member.absent + 1 < MIN_TIMES
    ]
    return (*(_Member(*each) for each in taken), *kept)[:MAX_MEMBERS]
