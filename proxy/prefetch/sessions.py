"""What each client is about: which projects it asked for, what is needed of them, what was guessed.

A client is an address and a User-Agent; a session ends when it has been quiet for a while.

What was asked for together: kept over restarts, so that one page of an install tells the rest.

A record for each project, ``together/<index>/<project>``: which project opened the last install
that it was part of, and, of a project that opened some, what came after it, in order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
from packaging.specifiers import SpecifierSet

from proxy.distributions import RequiredProject
from proxy.events import AnswerDelivered
from proxy.model import ProjectName
from proxy.prefetch.user_agent import Client, read_user_agent
from proxy.storage import Records

SESSION_GAP = 30.0
"""Seconds without a request after which a session has ended."""
MAX_PROJECTS = 500
"""Projects of one session; further ones are neither guessed nor remembered."""
MAX_SESSIONS = 500
MAX_MISSES = 3
"""Wrong choices after which a session is taken to pin versions, unless more are right."""


class Taken(NamedTuple):
    project: ProjectName
    filename: str = ""
    """The wheel, where it was not the newest."""


class Session:
    """One install, seen from here."""

    def __init__(self, client: Client | None) -> None:
        self.client = client
        self.last = 0.0
        self.fetched = False
        """Whether anything had to come from upstream."""
        self.asked: dict[ProjectName, str] = {}
        """The projects in the order in which their pages were asked for, as in ``Taken``."""
        self.extras: dict[ProjectName, set[str]] = {}
        self.newest: dict[ProjectName, str] = {}
        """The wheels that would be taken if nothing were required of their version."""
        self.known: dict[ProjectName, str] = {}
        """The wheels whose requirements are known, or are being found out."""
        self.recalled: set[ProjectName] = set()
        """Projects of which it is known by now what else was asked for with them."""
        self._specifiers: dict[ProjectName, dict[ProjectName, SpecifierSet]] = {}
        self._choices: dict[ProjectName, str] = {}
        self._right = self._wrong = 0

    @property
    def taken(self) -> list[Taken]:
        return [Taken(project, filename) for project, filename in self.asked.items()]

    @property
    def predictable(self) -> bool:
        """Whether it takes what is chosen here, as far as can be told."""
        return self._wrong < MAX_MISSES or self._wrong < self._right

    def ask(self, project: ProjectName) -> None:
        if len(self.asked) < MAX_PROJECTS:
            self.asked.setdefault(project, "")

    def specifiers(self, project: ProjectName) -> tuple[SpecifierSet, ...]:
        """All that is required of the project's version so far."""
        return tuple(dict.fromkeys(self._specifiers.get(project, {}).values()))

    def need(self, owner: ProjectName, need: RequiredProject) -> bool:
        """Note what ``owner`` needs; whether that is news."""
        if need.project not in self._specifiers and len(self._specifiers) >= MAX_PROJECTS:
            return False
        extras = self.extras.setdefault(need.project, set())
        by_owner = self._specifiers.setdefault(need.project, {})
        news = need.specifier not in by_owner.values()
        by_owner[owner] = need.specifier
        if not need.extras <= extras:
            extras |= need.extras
            self.known.pop(need.project, None)
            return True
        return news

    def choose(self, project: ProjectName, filename: str) -> bool:
        """Note the wheel that is expected to be taken; whether that is news."""
        news = self._choices.get(project) != filename
        if news and len(self._choices) < MAX_PROJECTS:
            self._choices[project] = filename
        return news

    def take(self, project: ProjectName, filename: str) -> None:
        """The client asked for the metadata of this wheel: was the choice right?"""
        expected = self._choices.pop(project, None)
        if expected is not None:
            self._right += expected == filename
            self._wrong += expected != filename


class Sessions:
    """Those that go on; the quietest go first where there are too many."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[tuple[str, str], Session] = OrderedDict()

    def of(self, asked: AnswerDelivered, now: float) -> Session:
        key = (asked.client, asked.user_agent)
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = Session(read_user_agent(asked.user_agent))
        self._sessions.move_to_end(key)
        session.last = now
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def end(self, now: float) -> Iterator[Session]:
        """Forget, one by one, the sessions that have ended by ``now``."""
        while self._sessions:
            key, session = next(iter(self._sessions.items()))
            if now - session.last < SESSION_GAP:
                return
            del self._sessions[key]
            yield session


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
