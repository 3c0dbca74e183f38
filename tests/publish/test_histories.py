"""Histories of one project against a simple model: what is listed after each change, and later as
of each instant and snapshot of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from proxy.errors import FileConflict, NoSuchProject, NotPermitted, UploadRefused
from proxy.indexes import Index
from proxy.model import Moment, ProjectName, ProjectStatus
from proxy.publish import PastIndex, Promotion, Selection, Snapshots, Upkeep
from tests.support.clock import Clock
from tests.support.content import read_blob
from tests.support.distributions import make_wheel
from tests.support.publishing import ADMIN, ANA, DirectoryPublisher, publish, publishing

pytestmark = pytest.mark.slow

FOO = ProjectName("foo")
VERSIONS, STATUSES = ("1.0", "2.0"), ("active", "deprecated", "archived")
Wheels: TypeAlias = dict[tuple[str, int], Path]
Listed: TypeAlias = tuple[int, bool | str]
"""Which of the bytes of a version, and its yank."""
SELECTED = st.sampled_from([(version,) for version in VERSIONS] + [VERSIONS])
STEPS = st.one_of(
    st.tuples(st.just("upload"), st.sampled_from(VERSIONS), st.integers(0, 1)),
    st.tuples(st.just("yank"), SELECTED, st.sampled_from(["", "bad"])),
    st.tuples(st.sampled_from(["unyank", "delete", "restore"]), SELECTED),
    st.tuples(st.just("status"), st.sampled_from(STATUSES)),
    st.tuples(st.just("promote"), SELECTED),
    st.tuples(st.sampled_from(["snapshot", "forget", "roll_back"]), st.sampled_from(["a", "b"])),
)


class Model:
    """What has to be listed; methods raise as the publisher has to."""

    def __init__(self) -> None:
        self.listed: dict[str, Listed] = {}
        self.deleted: dict[str, Listed] = {}
        self.used: dict[str, int] = {}
        self.status = "active"
        self.snapshots: dict[str, tuple[dict[str, Listed], str]] = {}

    @property
    def shown(self) -> tuple[dict[str, Listed], str]:
        return dict(self.listed), self.status

    def promote(self, selected: tuple[str, ...]) -> None:
        """Content 0 of both versions is in the other index."""
        if self.status == "archived":
            raise NotPermitted("")
        if any(self.used.get(version, 0) != 0 for version in selected):
            raise FileConflict("", "")
        for version in selected:
            self.upload(version, 0)

    def snapshot(self, name: str) -> None:
        if name in self.snapshots:
            raise UploadRefused("")
        self.snapshots[name] = self.shown

    def forget(self, name: str) -> None:
        if self.snapshots.pop(name, None) is None:
            raise UploadRefused("")

    def roll_back(self, name: str) -> None:
        if name not in self.snapshots:
            raise UploadRefused("")
        listed, self.status = self.snapshots[name]
        self.deleted |= {each: self.listed[each] for each in self.listed.keys() - listed.keys()}
        for version in listed.keys() - self.listed.keys():
            del self.deleted[version]
        self.listed = dict(listed)

    def upload(self, version: str, content: int) -> None:
        if self.status == "archived":
            raise NotPermitted("")
        if self.used.setdefault(version, content) != content:
            raise FileConflict("", "")
        self.listed.setdefault(version, (content, False))

    def yank(self, selected: tuple[str, ...], reason: str) -> None:
        self._mark(selected, reason or True)

    def unyank(self, selected: tuple[str, ...]) -> None:
        self._mark(selected, False)

    def delete(self, selected: tuple[str, ...]) -> None:
        for version in self._present(selected):
            self.deleted[version] = self.listed.pop(version)

    def restore(self, selected: tuple[str, ...]) -> None:
        found = {*selected} & self.deleted.keys() - self.listed.keys()
        if not found:
            raise UploadRefused("")
        self.listed |= {version: self.deleted.pop(version) for version in found}

    def set_status(self, status: str) -> None:
        if not self.used:
            raise UploadRefused("")
        self.status = status

    def left_of(self, listed: dict[str, Listed]) -> dict[str, Listed]:
        """The files of a former state whose bytes are still here."""
        return listed

    def _mark(self, selected: tuple[str, ...], yanked: bool | str) -> None:
        for version in self._present(selected):
            self.listed[version] = (self.listed[version][0], yanked)

    def _present(self, selected: tuple[str, ...]) -> list[str]:
        found = [version for version in selected if version in self.listed]
        if not found:
            raise UploadRefused("")
        return found


class VolatileModel(Model):
    """Of an index with ``overwrite``, which keeps replaced bytes for snapshots alone."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, int], bool | str] = {}
        """Bytes that are not listed, with the mark that was beside them."""
        self.replaced: set[tuple[str, int]] = set()
        """Those of them that were not deleted."""

    def promote(self, selected: tuple[str, ...]) -> None:
        for version in selected:
            self.upload(version, 0)

    def upload(self, version: str, content: int) -> None:
        if self.status == "archived":
            raise NotPermitted("")
        before = self.listed.get(version)
        if before and before[0] == content:
            return
        if before and self._is_needed((version, before[0])):
            self.replaced |= {(version, before[0])} - self.kept.keys()
            self.kept[version, before[0]] = before[1]
        self.listed[version] = (content, False)
        self.used[version] = content

    def delete(self, selected: tuple[str, ...]) -> None:
        for version in self._present(selected):
            content, yanked = self.listed.pop(version)
            self.kept[version, content] = yanked
            self.replaced.discard((version, content))

    def restore(self, selected: tuple[str, ...]) -> None:
        last = {each: (each, self.used[each]) for each in selected if each in self.used}
        found = {each for each in last.keys() - self.listed.keys() if last[each] in self.kept}
        if not found:
            raise UploadRefused("")
        for version in found:
            self._bring_back(*last[version])

    def forget(self, name: str) -> None:
        super().forget(name)
        for place in [each for each in self.replaced if not self._is_needed(each)]:
            self.replaced.discard(place)
            del self.kept[place]

    def roll_back(self, name: str) -> None:
        if name not in self.snapshots:
            raise UploadRefused("")
        listed, self.status = self.snapshots[name]
        gone = {
            each
            for each, (content, _) in self.listed.items()
            if listed.get(each, (-1,))[0] != content
        }
        for version in gone:
            self.delete((version,))
        for version in listed.keys() - self.listed.keys():
            self._bring_back(version, listed[version][0])
        self.listed = dict(listed)

    def left_of(self, listed: dict[str, Listed]) -> dict[str, Listed]:
        here = self.kept.keys() | {(each, content) for each, (content, _) in self.listed.items()}
        return {each: state for each, state in listed.items() if (each, state[0]) in here}

    def _bring_back(self, version: str, content: int) -> None:
        self.listed[version] = (content, self.kept.pop((version, content)))
        self.replaced.discard((version, content))
        self.used[version] = content

    def _is_needed(self, place: tuple[str, int]) -> bool:
        version, content = place
        states = (listed for listed, _ in self.snapshots.values())
        return any(version in each and each[version][0] == content for each in states)


class Real:
    """The same changes of a directory."""

    def __init__(
        self, publisher: DirectoryPublisher, other: DirectoryPublisher, wheels: Wheels
    ) -> None:
        """``other``: the index from which versions are promoted."""
        self._publisher = publisher
        self._promotion = Promotion(other, publisher)
        self._snapshots = Snapshots(publisher)
        self._upkeep = Upkeep(publisher)
        self._wheels = wheels

    async def make(self, step: tuple[object, ...]) -> None:
        match step:
            case ("upload", str(version), int(content)):
                await publish(self._publisher, self._wheels[version, content], ANA)
            case ("yank", tuple(versions), str(reason)):
                await self._upkeep.yank(_selection(versions), reason, ANA)
            case ("unyank", tuple(versions)):
                await self._upkeep.unyank(_selection(versions), ANA)
            case ("delete", tuple(versions)):
                await self._upkeep.delete(_selection(versions), ANA)
            case ("restore", tuple(versions)):
                await self._upkeep.restore(_selection(versions), ANA)
            case ("status", str(status)):
                await self._upkeep.set_status(FOO, ProjectStatus(status), ANA)
            case ("promote", tuple(versions)):
                await self._promotion.promote(_selection(versions), ANA)
            case ("snapshot", str(name)):
                await self._snapshots.create(name, ADMIN)
            case ("forget", str(name)):
                await self._snapshots.delete(name, ADMIN)
            case ("roll_back", str(name)):
                await self._snapshots.restore(name, ADMIN)

    async def shown(self, moment: Moment | None = None) -> tuple[dict[str, Listed], str]:
        """What is listed now, or was at a moment, with the bytes that are served."""
        index: Index = self._publisher.directory
        index = PastIndex(self._publisher, moment) if moment else index
        try:
            page = await index.page(FOO)
        except NoSuchProject:
            return {}, "active"
        found = {}
        for file in page.files:
            data = await read_blob((await index.file(FOO, file.filename, file.sha256)).blob)
            contents = {wheel.read_bytes(): key for key, wheel in self._wheels.items()}
            version, content = contents[data]
            found[version] = (content, file.yanked)
        return found, page.status.status if page.status else "active"


def _selection(versions: tuple[str, ...]) -> Selection:
    return Selection(FOO) if versions == VERSIONS else Selection(FOO, version=versions[0])


def _expect(model: Model, step: tuple[object, ...]) -> type[UploadRefused] | None:
    name, *arguments = step
    try:
        getattr(model, "set_status" if name == "status" else str(name))(*arguments)
    except UploadRefused as error:
        return type(error)
    return None


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Wheels:
    """Two files with different bytes for each version."""
    folder = tmp_path_factory.mktemp("wheels")
    return {
        (version, content): make_wheel(
            folder / str(content), "foo", version, requires=["bar"] * content
        )
        for version in VERSIONS
        for content in (0, 1)
    }


FORMER_MARK = [
    ("upload", "1.0", 0),
    ("yank", ("1.0",), "bad"),
    ("delete", ("1.0",)),
    ("upload", "1.0", 0),
    ("delete", ("1.0",)),
    ("restore", ("1.0",)),
]
"""What is beside the file is what was beside it when it was deleted last."""
PUBLISHED_AGAIN = [
    ("upload", "1.0", 0),
    ("upload", "2.0", 0),
    ("delete", VERSIONS),
    ("upload", "1.0", 0),
    ("restore", VERSIONS),
]
"""A file that is there again does not keep others from being restored."""
PROMOTED_AGAIN = [
    ("promote", ("1.0",)),
    ("delete", ("1.0",)),
    ("promote", ("1.0",)),
    ("delete", ("1.0",)),
]
"""The deleted file and the one that is deleted now are hard links of one file."""
ROLLED_BACK = [
    ("upload", "1.0", 0),
    ("yank", ("1.0",), "bad"),
    ("snapshot", "a"),
    ("upload", "2.0", 1),
    ("delete", ("1.0",)),
    ("status", "deprecated"),
    ("roll_back", "a"),
    ("roll_back", "a"),
    ("restore", ("2.0",)),
]
"""Each kind of change is undone, and a roll-back can be undone in part."""


@example(steps=PROMOTED_AGAIN)
@example(steps=ROLLED_BACK)
@example(steps=FORMER_MARK)
@example(steps=PUBLISHED_AGAIN)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=4, max_size=14))
def test_a_history_lists_what_a_simple_model_says(
    wheels: Wheels, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[object, ...]]
) -> None:
    asyncio.run(_compare(wheels, tmp_path_factory.mktemp("packages") / "packages", Model(), steps))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=4, max_size=14))
def test_a_history_of_an_index_that_replaces_files_does_too(
    wheels: Wheels, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[object, ...]]
) -> None:
    root = tmp_path_factory.mktemp("packages") / "packages"
    asyncio.run(_compare(wheels, root, VolatileModel(), steps, overwrite=True))


async def _compare(
    wheels: Wheels, root: Path, model: Model, steps: list[tuple[object, ...]], **limits: Any
) -> None:
    clock, dev = Clock(1_800_000_000.0), wheels["1.0", 0].parent
    async with publishing(root, clock=clock, **limits) as publisher, publishing(dev) as other:
        real = Real(publisher, other, wheels)
        seen = [(clock(), model.shown)]
        for number, step in enumerate(steps):
            expected, before = _expect(model, step), len(publisher.journal.changes())
            if expected:
                with pytest.raises(expected):
                    await real.make(step)
                assert len(publisher.journal.changes()) == before
            else:
                await real.make(step)
            assert await real.shown() == model.shown, steps[: number + 1]
            clock.advance(1)
            seen.append((clock(), model.shown))
        for instant, (listed, status) in seen:
            left = model.left_of(listed), status
            assert await real.shown(Moment(instant)) == left, (instant, steps)
        for name, shown in model.snapshots.items():
            assert await real.shown(await publisher.moment_of(name)) == shown, name
        numbers = [change.number for change in publisher.journal.changes()]
        assert numbers == sorted(set(numbers))
