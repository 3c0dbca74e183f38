"""Projects, specifiers and extras in core metadata, and requirements that are left out."""

from __future__ import annotations

import asyncio

import pytest

from proxy.distributions.core_metadata import MAX_REQUIREMENTS, RequiredProject, required_projects
from proxy.prefetch.user_agent import read_user_agent
from tests.support.distributions import core_metadata
from tests.support.speculating import user_agent

CLIENT = read_user_agent(user_agent())


async def found(*requires: str, extras: tuple[str, ...] = ()) -> list[RequiredProject]:
    assert CLIENT
    return await required_projects(core_metadata("demo", "1.0", requires), CLIENT.markers, extras)


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("Foo_Bar", "foo-bar"),
        ("foo>=1,<2", "foo<2,>=1"),
        ("foo (>=1)", "foo>=1"),
        ('foo; python_version >= "3.8"', "foo"),
        ('foo; sys_platform == "linux" and implementation_name == "cpython"', "foo"),
        ('foo; python_version < "3.8"', None),
        ('foo; sys_platform == "win32"', None),
        ('foo; extra == "docs"', None),
        ("foo @ https://files.example.com/foo-1.0.zip", None),
        ("not a requirement", None),
        ("foo; made_up == '1'", None),
        ("foo; " + "(" * 2000 + "os_name == 'x'" + ")" * 2000, None),
    ],
)
async def test_requirements_on_projects_of_the_index_are_found(
    requirement: str, expected: str | None
) -> None:
    needs = [f"{need.project}{need.specifier}" for need in await found(requirement)]
    assert needs == ([expected] if expected else [])


async def test_extras_bring_theirs() -> None:
    requires = ["foo[a,B]", 'bar; extra == "fast"', 'baz; extra == "slow"']
    needs = await found(*requires, extras=("fast",))
    assert [need.project for need in needs] == ["foo", "bar"]
    assert needs[0].extras == {"a", "B"}


async def test_only_the_header_counts() -> None:
    assert CLIENT
    text = core_metadata("demo", "1.0", ["foo"]) + b"\nRequires-Dist: bar\n"
    assert [need.project for need in await required_projects(text, CLIENT.markers)] == ["foo"]
    assert await required_projects(b"", CLIENT.markers) == []
    assert await required_projects(b"\xff\x00Requires-Dist: \xff\n", CLIENT.markers) == []


async def test_line_ends_of_windows_are_line_ends() -> None:
    assert CLIENT
    text = core_metadata("demo", "1.0", ["foo", "bar"]).replace(b"\n", b"\r\n")
    assert [need.project for need in await required_projects(text, CLIENT.markers)] == [
        "foo",
        "bar",
    ]


async def test_there_is_an_end_to_what_is_read_and_others_have_their_turn() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    needs = await found(*(f"foo{number}" for number in range(5 * MAX_REQUIREMENTS)))
    task.cancel()
    assert len(needs) == MAX_REQUIREMENTS
    assert turns > MAX_REQUIREMENTS / 10
