"""Patterns of routes: what they match and capture, and that none takes long."""

from __future__ import annotations

import pytest

from proxy.model import ProjectName
from proxy.policies import captured_names, patterns_overlap, project_pattern


def matched(pattern: str, *projects: str) -> list[str]:
    match = project_pattern([pattern])
    return [each for each in projects if match(ProjectName(each)) is not None]


NAMES = ("torch", "torchvision", "torchaudio", "torchmetrics", "pytorch", "nvidia-cublas-cu13")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("torch", ["torch"]),
        ("Torch", ["torch"]),
        ("torch*", ["torch", "torchvision", "torchaudio", "torchmetrics"]),
        ("?ytorch", ["pytorch"]),
        ("nvidia-*-cu13", ["nvidia-cublas-cu13"]),
        ("NVIDIA_*.cu13", ["nvidia-cublas-cu13"]),
        ("*", list(NAMES)),
        ("re:torch", ["torch"]),
        ("re:^torch(vision|audio)?$", ["torch", "torchvision", "torchaudio"]),
        ("re:torch(?:vision|audio)", ["torchvision", "torchaudio"]),
        ("re:nvidia-[a-z0-9-]+-cu1[0-9]", ["nvidia-cublas-cu13"]),
        (r"re:\w+torch", ["pytorch"]),
        ("re:.{5}", ["torch"]),
    ],
)
def test_a_pattern_matches_whole_names(pattern: str, names: list[str]) -> None:
    assert matched(pattern, *NAMES) == names


def test_an_expression_captures_its_named_groups() -> None:
    match = project_pattern(["re:(?P<tool>[a-z]+)-(?P<chip>cpu|cu130)(?P<rest>-x)?"])
    assert match(ProjectName("torch-cu130")) == {"tool": "torch", "chip": "cu130", "rest": ""}
    assert captured_names(["re:(?P<a>x)(?P<b>y)", "re:(?P<b>y)"]) == {"b"}
    assert captured_names(["re:(?P<a>x)", "x"]) == set()


@pytest.mark.parametrize(
    "bomb",
    [
        "(a+)+",
        "(a*)*b",
        "(a|a)*b",
        "(a?){30}b",
        "((a+)?)+",
        ".*.*.*x",
        "a*a*a*a*b",
        "a+" * 50,
        "a?" * 40 + "a" * 40,
        "(a|a)" * 30 + "b",
        "(a|aa)(a|aa)" * 10,
        "a{0,100}a{0,100}a{0,100}b",
        "(?:a{1,99}){1,99}",
        "[a-z]+[a-z]+[a-z]+x",
        "((((a|b)?|c)?|d)*)*",
    ],
)
def test_an_expression_that_could_take_long_is_refused(bomb: str) -> None:
    with pytest.raises(ValueError, match=r"too long|more than 200 char"):
        project_pattern([f"re:{bomb}"])


@pytest.mark.parametrize(
    "wrong",
    [
        "(", ")", "a)", "(a", "[", "[a", "*", "a**", "a|*", r"\1", r"(a)\1", "(?=a)", "(?<=a)b",
        "(?P=a)", "(?i)a", "(?P<A>a)", "a b", "A", "é", "(?#x)", r"\D", "a" * 201, "(?>a)",
    ],
)  # fmt: skip
def test_any_other_syntax_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="regular expression"):
        project_pattern([f"re:{wrong}"])


def test_what_is_accepted_takes_few_steps_with_any_name() -> None:
    """The slowest expression of all that are accepted, with names of 200 characters."""
    match = project_pattern(["re:.*a.*b"])
    for name in ("a" * 200, "ab" * 100, "a" * 199 + "c"):
        match(ProjectName(name))
    assert match(ProjectName("a" * 10_000_000 + "b")) is None


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("numpy", "numpy", True),
        ("numpy", "Num.py", False),
        ("acme-*", "acme_tool", True),
        ("acme-*", "acmetool", False),
        ("*-tool", "acme-*", True),
        ("a*", "b*", False),
        ("?", "a", True),
        ("?", "ab", False),
        ("*", "x", True),
        ("a*c", "ab*d", False),
        ("a?c", "a*c", True),
    ],
)
def test_patterns_overlap_if_a_name_matches_both(one: str, other: str, overlap: bool) -> None:
    assert patterns_overlap(one, other) is overlap
    assert patterns_overlap(other, one) is overlap
