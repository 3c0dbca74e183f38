"""Which wheel a client is expected to take, and that choosing it blocks no request."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from packaging.specifiers import SpecifierSet

from proxy.distributions.targets import Target
from proxy.model import File, ProjectName, ProjectPage
from proxy.prefetch.choose_wheel import MAX_CANDIDATES, SLICE_SIZE, choose_wheel

TARGET = Target("3.12.4", "manylinux_2_36_x86_64")


def page(*files: str | File) -> ProjectPage:
    listed = (File(each, "") if isinstance(each, str) else each for each in files)
    return ProjectPage(ProjectName("foo-bar"), tuple(listed))


def wheel(version: str, tag: str = "py3-none-any") -> str:
    return f"foo_bar-{version}-{tag}.whl"


async def chosen(
    files: Sequence[str | File], specifier: str = "", target: Target = TARGET
) -> str | None:
    found = await choose_wheel(page(*files), target, [SpecifierSet(specifier)] if specifier else [])
    return found.filename if found else None


@pytest.mark.parametrize(
    ("files", "specifier", "expected"),
    [
        ([wheel("1.9"), wheel("1.10")], "", wheel("1.10")),
        ([wheel("1.10"), wheel("1.9")], "", wheel("1.10")),
        ([wheel("1.9"), wheel("1.10")], "<1.10", wheel("1.9")),
        ([wheel("1.9"), wheel("1.10")], "==1.9", wheel("1.9")),
        ([wheel("1.0"), wheel("2.0rc1")], "", wheel("1.0")),
        ([wheel("1.0"), wheel("2.0rc1")], ">=2.0rc1", wheel("2.0rc1")),
        ([wheel("2.0rc1"), wheel("2.0rc2")], "", wheel("2.0rc2")),
        ([wheel("1.0")], ">=2", None),
        ([wheel("1.0"), "foo_bar-1.0.tar.gz"], "", wheel("1.0")),
        ([wheel("1.0"), "foo_bar-2.0.tar.gz"], "", None),
        ([wheel("1.0"), "foo-bar-2.0.zip"], "<2", wheel("1.0")),
        ([wheel("1.0"), File(wheel("2.0"), "", yanked=True)], "", wheel("1.0")),
        ([wheel("1.0"), File(wheel("2.0"), "", yanked="broken")], "", wheel("1.0")),
        ([wheel("1.0"), File(wheel("2.0"), "", requires_python=">=3.13")], "", wheel("1.0")),
        ([wheel("1.0"), File(wheel("2.0"), "", requires_python="junk")], "", wheel("2.0")),
        ([wheel("1.0"), wheel("1" * 5000)], "", wheel("1.0")),
        ([File(wheel("2.0"), "", requires_python=">=" + "1" * 5000)], "", wheel("2.0")),
        ([wheel("1.0"), wheel("2.0", "cp312-cp312-win_amd64")], "", wheel("1.0")),
        ([wheel("1.0"), wheel("2.0", "cp311-cp311-linux_x86_64")], "", wheel("1.0")),
        ([wheel("1.0"), wheel("junk"), "foo_bar-3.0.exe", "x.whl"], "", wheel("1.0")),
        ([], "", None),
    ],
)
async def test_the_wheel_is_chosen_that_installers_take(
    files: list[str | File], specifier: str, expected: str | None
) -> None:
    assert await chosen(files, specifier) == expected


async def test_of_one_version_the_best_fit_is_taken() -> None:
    best = wheel("1.0", "cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64")
    others = [wheel("1.0"), wheel("1.0", "cp39-abi3-manylinux_2_17_x86_64")]
    for files in ([best, *others], [*others, best]):
        assert await chosen(files) == best
        assert await chosen(files, target=Target("3.11", "win_amd64")) == wheel("1.0")


async def test_the_higher_build_number_wins() -> None:
    assert await chosen([wheel("1.0"), wheel("1.0-2")]) == wheel("1.0-2")


async def test_small_pages_may_have_any_order() -> None:
    files = [wheel(f"1.{number}") for number in range(SLICE_SIZE)]
    random.Random(1).shuffle(files)
    assert await chosen(files) == wheel(f"1.{SLICE_SIZE - 1}")


async def test_a_large_page_is_looked_at_from_its_end_and_no_further_than_it_takes() -> None:
    touched = []

    class RecordedName(str):
        def endswith(self, *suffix: object) -> bool:
            touched.append(self)
            return super().endswith(*suffix)  # type: ignore[arg-type]

    files = [RecordedName(wheel(f"1.{number}")) for number in range(10_000)]
    assert await chosen(files) == wheel("1.9999")
    assert len(set(touched)) <= 2 * SLICE_SIZE
    touched.clear()
    assert await chosen(files, "<1.9500") == wheel("1.9499")
    assert len(set(touched)) <= 500 + 2 * SLICE_SIZE
    touched.clear()
    assert await chosen(files, "<1.100") is None
    assert len(set(touched)) <= MAX_CANDIDATES + SLICE_SIZE


async def test_others_have_their_turn_after_each_slice() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await chosen([wheel(f"1.{number}") for number in range(5_000)], "<1")
    task.cancel()
    assert turns >= MAX_CANDIDATES / SLICE_SIZE - 1
