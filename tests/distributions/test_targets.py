from __future__ import annotations

import sys
from pathlib import Path

import pytest
from packaging.markers import Marker, default_environment
from packaging.specifiers import SpecifierSet
from packaging.tags import sys_tags

from proxy.distributions.platforms import PLATFORM_ALIASES
from proxy.distributions.targets import Target, parse_targets
from proxy.errors import ConfigurationError
from tests.support.locked_project import UV
from tests.support.requirement_sources import LINUX, MAC, WINDOWS, run

TARGET = Target("3.11", LINUX)


def test_every_python_is_wanted_on_every_platform_once() -> None:
    targets = parse_targets(["3.10", "3.13", "3.10"], ["linux", "windows", LINUX])
    assert targets == (
        Target("3.10", LINUX),
        Target("3.10", WINDOWS),
        Target("3.13", LINUX),
        Target("3.13", WINDOWS),
    )


def test_without_options_the_target_is_this_machine() -> None:
    (target,) = parse_targets()
    assert target.python == f"3.{sys.version_info.minor}"
    assert set(sys_tags()) <= set(target.tags())
    known = default_environment()
    for name in ("sys_platform", "platform_machine", "os_name", "python_version"):
        assert target.environment()[name] == known[name]


@pytest.mark.parametrize("text", ["", "3", "2.7", "3.x", "3.12t", "pypy3.10", "3.12\n", "3.1234"])
def test_other_pythons_are_refused_by_name_of_the_option(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--python"):
        parse_targets([text])


@pytest.mark.parametrize(
    ("filename", "fits"),
    [
        ("a-1-py3-none-any.whl", True),
        ("a-1-py2.py3-none-any.whl", True),
        ("a-1-py2-none-any.whl", False),
        ("a-1-cp311-cp311-manylinux_2_28_x86_64.whl", True),
        ("a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", True),
        ("a-1-cp311-cp311-manylinux1_x86_64.whl", True),
        ("a-1-1-cp311-cp311-linux_x86_64.whl", True),
        ("a-1-cp38-abi3-manylinux_2_5_x86_64.whl", True),
        ("a-1-py3-none-manylinux_2_17_x86_64.whl", True),
        ("a-1-cp311-cp311-manylinux_2_29_x86_64.whl", False),
        ("a-1-cp312-abi3-manylinux_2_17_x86_64.whl", False),
        ("a-1-cp310-cp310-manylinux_2_17_x86_64.whl", False),
        ("a-1-cp311-cp311t-manylinux_2_17_x86_64.whl", False),
        ("a-1-cp311-cp311-musllinux_1_1_x86_64.whl", False),
        ("a-1-cp311-cp311-manylinux_2_17_aarch64.whl", False),
        ("a-1-cp311-cp311-win_amd64.whl", False),
        ("a-1-pp310-pypy310_pp73-manylinux_2_17_x86_64.whl", False),
        ("a.whl", False),
        ("a-1---.whl", False),
    ],
)
def test_wheel_fits_by_its_tags(filename: str, fits: bool) -> None:
    assert TARGET.fits(filename) is fits


@pytest.mark.parametrize(
    ("marker", "needed"),
    [
        ("python_version >= '3.11'", True),
        ("python_version < '3.9'", False),
        ("python_version < '3.2'", False),
        ("sys_platform == 'linux'", True),
        ("sys_platform == 'win32'", False),
        ("os_name == 'nt' or platform_machine == 'x86_64'", True),
        ("implementation_name == 'pypy'", False),
        # The target may have either patch version.
        ("python_full_version < '3.11.3'", True),
        ("python_full_version >= '3.11.3'", True),
        # True for every choice of extras and groups.
        ("extra == 'a'", True),
        ("extra != 'a' and extra == 'b'", True),
        ("'a' in extras and 'b' not in extras", True),
        ("'dev' in dependency_groups", True),
        ("extra == 'a' and sys_platform == 'win32'", False),
        ("'a' in extras and sys_platform == 'win32'", False),
        # Unknown for the target.
        ("platform_release >= '5'", True),
        ("python_full_version ~= 'x'", True),
        (f"python_full_version > '{'9' * 5000}'", True),
    ],
)
def test_marker_is_only_denied_where_it_cannot_be_true(marker: str, needed: bool) -> None:
    assert TARGET.admits(Marker(marker)) is needed


def test_patch_version_counts_where_it_is_named() -> None:
    assert not Target("3.11.7", LINUX).admits(Marker("python_full_version < '3.11.3'"))
    assert Target("3.11.7", LINUX).environment()["python_full_version"] == "3.11.7"


@pytest.mark.parametrize(
    ("pythons", "meets"),
    [(">=3.11", True), (">=3.12", False), (">=3.11.4", True), ("<3.11", False), ("", True)],
)
def test_target_meets_requires_python_if_some_patch_version_does(pythons: str, meets: bool) -> None:
    assert TARGET.meets(SpecifierSet(pythons)) is meets


@pytest.mark.parametrize(
    ("platform", "triple"),
    [
        ("manylinux_2_28_x86_64", "x86_64-manylinux_2_28"),
        ("manylinux_2_30_aarch64", "aarch64-manylinux_2_28"),
        ("manylinux_2_99_aarch64", "aarch64-manylinux_2_40"),
        ("musllinux_1_2_x86_64", "x86_64-unknown-linux-musl"),
        ("macosx_14_0_arm64", "aarch64-apple-darwin"),
        ("macosx_12_0_x86_64", "x86_64-apple-darwin"),
        ("win_amd64", "x86_64-pc-windows-msvc"),
        ("win_arm64", "aarch64-pc-windows-msvc"),
        ("win32", "i686-pc-windows-msvc"),
    ],
)
def test_uv_gets_the_platform_in_its_own_form(platform: str, triple: str) -> None:
    assert Target("3.10", platform).uv_arguments() == [
        *("--python-version", "3.10", "--python-platform", triple)
    ]


@pytest.mark.parametrize("platform", sorted({*PLATFORM_ALIASES.values(), "manylinux_2_17_aarch64"}))
def test_real_uv_takes_the_arguments(platform: str, tmp_path: Path) -> None:
    target = Target("3.12", platform)
    (tmp_path / "empty.in").touch()
    run([*UV, "pip", "compile", "-q", "empty.in", *target.uv_arguments()], tmp_path)


def test_uv_gets_the_version_of_macos_by_a_variable() -> None:
    assert Target("3.12", MAC).uv_environment() == {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
    assert TARGET.uv_environment() == {}


def test_uv_resolves_for_this_machine_as_it_is() -> None:
    (target,) = parse_targets(["3.10"])
    assert target.uv_arguments() == ["--python-version", "3.10"]


@pytest.mark.parametrize("platform", ["manylinux_2_28_s390x", "manylinux_2_12_x86_64"])
def test_platform_that_uv_does_not_know_is_a_clear_error(platform: str) -> None:
    with pytest.raises(ConfigurationError, match="uv cannot resolve") as caught:
        Target("3.12", platform).uv_arguments()
    assert caught.value.key == "--platform"
