"""Sessions: the requests of one client so far, and the projects of earlier installs.

A client is an address and a User-Agent; its session ends when it sends no request for a while.
The history of installs outlives the process, so that the first page of an install predicts the
others: the record ``together/<index>/<project>`` holds the project with which the last install
of the project began, and, of a project with which installs began, what followed, in order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
from packaging.specifiers import SpecifierSet

from proxy.distributions import RequiredProject
from proxy.events import AnswerServed
from proxy.model import ProjectName
from proxy.prefetch.user_agent import Client, read_user_agent
from proxy.storage import Key, RecordKind, Records

SESSION_GAP = 30.0
"""Seconds without a request after which a session has ended."""
MAX_PROJECTS = 500
"""Projects of one session; further ones are neither prefetched nor recorded."""
MAX_SESSIONS = 500
MAX_WRONG_GUESSES = 3
"""Wrong guesses after which a session counts as one that pins versions, unless more are right."""


class Taken(NamedTuple):
    project: ProjectName
    filename: str = ""
    """The wheel, if it was not the newest one."""


class Session:
    """One install, as far as its requests show it."""

    def __init__(self, client: Client | None) -> None:
        self.client = client
        self.last = 0.0
        self.fetched = False
        """Whether anything had to come from upstream."""
        self.asked: dict[ProjectName, str] = {}
        """The projects in the order of their requests, with the filename of ``Taken``."""
        self.extras: dict[ProjectName, set[str]] = {}
        self.newest: dict[ProjectName, str] = {}
        """The wheels that the client would choose without requirements on the version."""
        self.known: dict[ProjectName, str] = {}
        """The wheels whose requirements are known, or are being read."""
        self.recalled: set[ProjectName] = set()
        """Projects that the history of installs has predicted."""
        self._specifiers: dict[ProjectName, dict[ProjectName, SpecifierSet]] = {}
        self._choices: dict[ProjectName, str] = {}
        self._right = self._wrong = 0

    @property
    def taken(self) -> list[Taken]:
        return [Taken(project, filename) for project, filename in self.asked.items()]

    @property
    def predictable(self) -> bool:
        """Whether the guesses about its choices are mostly right."""
        return self._wrong < MAX_WRONG_GUESSES or self._wrong < self._right

    def ask(self, project: ProjectName) -> None:
        if len(self.asked) < MAX_PROJECTS:
            self.asked.setdefault(project, "")

    def specifiers(self, project: ProjectName) -> tuple[SpecifierSet, ...]:
        """All requirements on the project's version so far."""
        return tuple(dict.fromkeys(self._specifiers.get(project, {}).values()))

    def need(self, owner: ProjectName, need: RequiredProject) -> bool:
        """Note a requirement of ``owner``; whether it is new."""
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
        """Note the wheel that the client will probably choose; whether that is new."""
        news = self._choices.get(project) != filename
        if news and len(self._choices) < MAX_PROJECTS:
            self._choices[project] = filename
        return news

    def take(self, project: ProjectName, filename: str) -> None:
        """The client requested the metadata of this wheel: note whether the guess was right."""
        expected = self._choices.pop(project, None)
        if expected is not None:
            self._right += expected == filename
            self._wrong += expected != filename


class Sessions:
    """All open sessions; where there are too many, the one without a request for longest goes."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[tuple[str, str], Session] = OrderedDict()

    def of(self, event: AnswerServed, now: float) -> Session:
        key = (event.client, event.user_agent)
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = Session(read_user_agent(event.user_agent))
        self._sessions.move_to_end(key)
        session.last = now
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def end(self, now: float) -> Iterator[Session]:
        """Remove and return the sessions that have ended by ``now``."""
        while self._sessions:
            key, session = next(iter(self._sessions.items()))
            if now - session.last < SESSION_GAP:
                return
            del self._sessions[key]
            yield session


MAX_MEMBERS = 400
"""Projects of an install that are recorded."""
MIN_TIMES = 3
"""Installs in a row without a project after which it is dropped from the record."""


class _Member(msgspec.Struct, frozen=True, array_like=True):
    project: ProjectName
    filename: str = ""
    """As in ``Taken``."""
    absent: int = 0
    """Installs since it was last requested."""


class _HistoryRecord(msgspec.Struct, frozen=True):
    opener: ProjectName
    members: tuple[_Member, ...] = ()
    """Of the install that began with this project, which is one of them."""


class InstallHistory:
    """Projects that were requested together in earlier installs."""

    def __init__(self, records: Records, index: str) -> None:
        """``index``: the name of the index that is served."""
        self._records = records
        self._index = index

    async def recall(self, project: ProjectName) -> list[Taken]:
        """The install that began with the project, else the last one that it was part of."""
        record = await self._get(project)
        if record and not record.members and record.opener != project:
            record = await self._get(record.opener)
        members = record.members if record else ()
        return [Taken(member.project, member.filename) for member in members]

    async def remember(self, taken: Sequence[Taken]) -> None:
        """Record an install that has ended."""
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
                await self._records.put(self._key(project), record)

    def _key(self, project: ProjectName) -> Key:
        return Key(RecordKind.INSTALL_HISTORY, self._index, project)

    async def _get(self, project: ProjectName) -> _HistoryRecord | None:
        found = await self._records.get(self._key(project))
        try:
            return msgspec.json.decode(found, type=_HistoryRecord) if found else None
        except msgspec.MsgspecError:
            return None


def _merged(former: Sequence[_Member], taken: Sequence[Taken]) -> tuple[_Member, ...]:
    """The members of the latest install first, then those of other recent ones."""
    now = {each.project for each in taken}
    kept = [
        msgspec.structs.replace(member, absent=member.absent + 1)
        for member in former
        if member.project not in now and member.absent + 1 < MIN_TIMES
    ]
    return (*(_Member(*each) for each in taken), *kept)[:MAX_MEMBERS]
