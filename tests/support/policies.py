"""Policies for tests: each refuses by one simple rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from proxy.errors import Denied
from proxy.events import Events
from proxy.indexes import Guarded
from proxy.model import File, ProjectName
from proxy.policies import Look, Mode, PageView, Policy, Verdict
from tests.support.fake_index import FakeIndex


class FakePolicy(Policy):
    """Refuses the files that ``refuses`` is true of, and the project named banned."""

    def __init__(
        self,
        refuses: Callable[[File], object],
        name: str = "fake",
        mode: Mode = "enforce",
        show: Look = "hide",
        reason: str = "refused by a test",
        exemption: str = "",
    ) -> None:
        self.refuses = refuses
        self.name = name
        self.mode: Mode = mode
        self.show: Look = show
        self.judged: list[PageView] = []
        self._verdict = Verdict(name, reason, refuses=not exemption, exemption=exemption)

    def admit(self, project: ProjectName) -> None:
        if project == "banned":
            raise Denied(project, "malware")

    def judge(self, view: PageView) -> Iterable[tuple[int, Verdict]]:
        self.judged.append(view)
        return [
            (at, self._verdict) for at, each in enumerate(view.page.files) if self.refuses(each)
        ]


class GuardedFake(Guarded):
    """Policies over a fake index."""

    @property
    def events(self) -> Events:
        assert isinstance(self.index, FakeIndex)
        return self.index.events


class Cooldown(Policy):
    """Refuses files until they are of an age in seconds."""

    name = "cooldown"

    def __init__(self, age: float) -> None:
        self._age = age

    def judge(self, view: PageView) -> Iterator[tuple[int, Verdict]]:
        for at, file in enumerate(view.page.files):
            if file.uploaded_at is None:
                continue
            matures = file.uploaded_at.timestamp() + self._age
            if view.now < matures:
                yield at, Verdict("cooldown", "it is too new", matures)


class Exempt(FakePolicy):
    """Lets every file pass until an instant, then refuses all."""

    def __init__(self, until: float) -> None:
        super().__init__(lambda file: True, "exempt")
        self._until = until

    def judge(self, view: PageView) -> Iterable[tuple[int, Verdict]]:
        if view.now >= self._until:
            return super().judge(view)
        passes = Verdict(self.name, "approved", self._until, refuses=False)
        return [(at, passes) for at in range(len(view.page.files))]


def upload_time(unix_time: float) -> str:
    return datetime.fromtimestamp(unix_time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
