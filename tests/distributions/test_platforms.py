from __future__ import annotations

import pytest

from proxy.distributions.platforms import (
    PLATFORM_ALIASES,
    describe_platform,
    parse_platform,
    this_platform,
)
from proxy.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("manylinux_2_28_x86_64", "manylinux_2_28_x86_64"),
        ("manylinux2014_aarch64", "manylinux_2_17_aarch64"),
        ("manylinux2010_i686", "manylinux_2_12_i686"),
        ("musllinux_1_1_x86_64", "musllinux_1_1_x86_64"),
        ("macosx_10_9_x86_64", "macosx_10_9_x86_64"),
        ("WIN_AMD64", "win_amd64"),
        ("win32", "win32"),
        ("linux", "manylinux_2_28_x86_64"),
        ("macos", "macosx_14_0_arm64"),
        ("windows", "win_amd64"),
        ("linux-aarch64", "manylinux_2_28_aarch64"),
        ("windows-arm64", "win_arm64"),
    ],
)
def test_tags_and_short_forms_are_understood(text: str, tag: str) -> None:
    assert str(parse_platform(text)) == tag


def test_every_short_form_stands_for_a_tag() -> None:
    assert [str(parse_platform(name)) for name in PLATFORM_ALIASES] == [*PLATFORM_ALIASES.values()]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "solaris",
        "linux_x86_64",
        "manylinux_2_28",
        "manylinux_2_28_arm64",
        "macosx_14_0_aarch64",
        "manylinux_3_1_x86_64",
        "manylinux_2_16_aarch64",
        "musllinux_2_0_x86_64",
        "macosx_9_0_x86_64",
        "win_ia64",
        "win_amd64\n",
    ],
)
def test_other_platforms_are_refused_by_name_of_the_option(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_platform(text)
    assert caught.value.key == "--platform"
    assert "manylinux_2_28_x86_64" in caught.value.remedy


def test_glibc_tags_go_down_to_the_oldest_with_their_legacy_names() -> None:
    tags = parse_platform("manylinux_2_18_x86_64").tags()
    assert tags[:3] == ["manylinux_2_18_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"]
    assert tags[-3:] == ["manylinux_2_5_x86_64", "manylinux1_x86_64", "linux_x86_64"]
    assert "manylinux2010_x86_64" in tags
    assert parse_platform("manylinux_2_18_aarch64").tags() == [
        "manylinux_2_18_aarch64",
        "manylinux_2_17_aarch64",
        "manylinux2014_aarch64",
        "linux_aarch64",
    ]


def test_musl_and_macos_tags_include_older_versions() -> None:
    musl = parse_platform("musllinux_1_2_x86_64").tags()
    assert musl == [f"musllinux_1_{n}_x86_64" for n in (2, 1, 0)] + ["linux_x86_64"]
    mac = parse_platform("macosx_14_0_arm64").tags()
    assert "macosx_11_0_arm64" in mac
    assert "macosx_13_0_universal2" in mac
    assert "macosx_15_0_arm64" not in mac


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("linux", ("posix", "linux", "Linux", "x86_64")),
        ("musllinux-aarch64", ("posix", "linux", "Linux", "aarch64")),
        ("macos", ("posix", "darwin", "Darwin", "arm64")),
        ("windows", ("nt", "win32", "Windows", "AMD64")),
        ("windows-arm64", ("nt", "win32", "Windows", "ARM64")),
        ("win32", ("nt", "win32", "Windows", "x86")),
    ],
)
def test_markers_have_the_values_of_the_platforms_python(
    text: str, values: tuple[str, ...]
) -> None:
    markers = parse_platform(text).markers()
    names = ("os_name", "sys_platform", "platform_system", "platform_machine")
    assert tuple(markers[name] for name in names) == values


@pytest.mark.parametrize(
    ("tag", "meaning"),
    [
        ("manylinux_2_28_x86_64", "Linux with glibc 2.28 or newer on x86_64"),
        ("musllinux_1_2_aarch64", "Linux with musl 1.2 or newer on aarch64"),
        ("macosx_14_0_arm64", "macOS 14.0 or newer on arm64"),
        ("win_amd64", "Windows on AMD64"),
    ],
)
def test_tags_are_described(tag: str, meaning: str) -> None:
    assert describe_platform(tag) == f"{tag} ({meaning})"


def test_this_machine_has_a_platform_that_is_understood() -> None:
    assert parse_platform(str(this_platform())) == this_platform()
