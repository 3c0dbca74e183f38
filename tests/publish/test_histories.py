"""Histories of one project against a simple model: what is listed after each change."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from proxy.errors import FileConflict, NotPermitted, UploadRefused
from proxy.model import ProjectName, ProjectStatus
from proxy.publish import Selection, Upkeep
from tests.support.distributions import make_wheel
from tests.support.publishing import ANA, DirectoryPublisher, publish, publishing

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
)


class Model:
    """What has to be listed; methods raise as the publisher has to."""

    def __init__(self) -> None:
        self.listed: dict[str, Listed] = {}
        self.deleted: dict[str, Listed] = {}
        self.used: dict[str, int] = {}
        self.status = "active"

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

    def _mark(self, selected: tuple[str, ...], yanked: bool | str) -> None:
        for version in self._present(selected):
            self.listed[version] = (self.listed[version][0], yanked)

    def _present(self, selected: tuple[str, ...]) -> list[str]:
        found = [version for version in selected if version in self.listed]
        if not found:
            raise UploadRefused("")
        return found


class Real:
    """The same changes of a directory."""

    def __init__(self, publisher: DirectoryPublisher, wheels: Wheels) -> None:
        self._publisher = publisher
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

    async def listed(self) -> dict[str, Listed]:
        page = await self._publisher.page(FOO)
        found = {}
        for file in page.files if page else ():
            path = self._publisher.folder(FOO) / file.filename
            contents = {
                wheel.read_bytes(): key
                for key, wheel in self._wheels.items()
                if wheel.name == file.filename
            }
            version, content = contents[path.read_bytes()]
            found[version] = (content, file.yanked)
        return found


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


@example(steps=FORMER_MARK)
@example(steps=PUBLISHED_AGAIN)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=4, max_size=14))
def test_a_history_lists_what_a_simple_model_says(
    wheels: Wheels, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[object, ...]]
) -> None:
    asyncio.run(_compare(wheels, tmp_path_factory.mktemp("packages") / "packages", steps))


async def _compare(wheels: Wheels, root: Path, steps: list[tuple[object, ...]]) -> None:
    model = Model()
    async with publishing(root) as publisher:
        real = Real(publisher, wheels)
        for number, step in enumerate(steps):
            expected, before = _expect(model, step), len(publisher.journal.changes())
            if expected:
                with pytest.raises(expected):
                    await real.make(step)
                assert len(publisher.journal.changes()) == before
            else:
                await real.make(step)
            assert await real.listed() == model.listed, steps[: number + 1]
        numbers = [change.number for change in publisher.journal.changes()]
        assert numbers == sorted(set(numbers))
