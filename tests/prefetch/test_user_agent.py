"""What is read out of User-Agents, of whom, and what is made of nonsense."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.prefetch.user_agent import read_user_agent
from tests.support.speculating import user_agent


def linux(libc: dict[str, str]) -> dict[str, Any]:
    return {"distro": {"name": "x", "version": "1", "libc": libc}}


@pytest.mark.parametrize(
    ("fields", "platform"),
    [
        ({}, "manylinux_2_36_x86_64"),
        ({"cpu": "aarch64"}, "manylinux_2_36_aarch64"),
        (linux({}), "musllinux_1_2_x86_64"),
        (linux({"lib": "musl", "version": "1.1"}), "musllinux_1_1_x86_64"),
        (
            {
                "system": {"name": "Darwin", "release": "23.1.0"},
                "distro": {"name": "macOS", "version": "14.1.2"},
                "cpu": "arm64",
            },
            "macosx_14_1_arm64",
        ),
        ({"system": {"name": "Windows", "release": "11"}, "cpu": "AMD64"}, "win_amd64"),
    ],
)
def test_the_platform_is_read(fields: dict[str, Any], platform: str) -> None:
    client = read_user_agent(user_agent(**fields))
    assert client is not None
    assert (client.target.python, client.target.platform) == ("3.12.4", platform)


def test_markers_are_those_of_the_client() -> None:
    client = read_user_agent(user_agent(python="3.9.1", system={"name": "Linux", "release": "r"}))
    assert client is not None
    assert client.markers["python_version"] == "3.9"
    assert client.markers["python_full_version"] == "3.9.1"
    assert client.markers["platform_release"] == "r"


def test_a_prerelease_of_python_counts_as_its_release() -> None:
    client = read_user_agent(user_agent(python="3.14.0rc2"))
    assert client is not None
    assert client.target.python == "3.14.0"


@pytest.mark.parametrize(
    ("subcommand", "installs"),
    [
        (["pip", "install"], True),
        (["sync"], True),
        (["pip", "compile"], False),
        (["lock"], False),
    ],
)
def test_the_user_agent_of_uv_says_whether_it_installs(
    subcommand: list[str], installs: bool
) -> None:
    agent = user_agent("uv/0.13.9", installer={"name": "uv", "subcommand": subcommand})
    client = read_user_agent(agent)
    assert client is not None
    assert client.installs is installs


@pytest.mark.parametrize(
    "agent",
    [
        "",
        "pip/26.1",
        "curl/8.9.1",
        "poetry/2.1 CPython/3.12.4 Linux/6.1",
        "pip/26.1 {",
        "pip/26.1 []",
        "pip/26.1 {}",
        'pip/26.1 {"python": 3}',
        "pip/26.1 " + "{" * 100_000,
        'uv/0.9 {"a":' + "[" * 3000,
        user_agent("x/1"),
        user_agent(implementation={"name": "PyPy", "version": "7.3"}),
        user_agent(python="2.7.18"),
        user_agent(python="3"),
        user_agent(cpu="made-up"),
        user_agent(cpu="x" * 5000),
        user_agent(system={"name": "Windows"}, cpu="x86_128"),
        user_agent(distro={"version": None}, system={"name": "Darwin"}),
    ],
)
def test_an_uninformative_user_agent_gives_no_target(agent: str) -> None:
    assert read_user_agent(agent) is None


@pytest.mark.parametrize(
    "fields",
    [
        linux({"lib": "glibc", "version": "2.999"}),
        linux({"lib": "musl", "version": "1.999"}),
        {"system": {"name": "Darwin"}, "distro": {"version": "99.9"}, "cpu": "arm64"},
        {"python": "3.99.0"},
    ],
)
def test_versions_that_would_make_long_lists_of_tags_are_refused(fields: dict[str, Any]) -> None:
    assert read_user_agent(user_agent(**fields)) is None
