from __future__ import annotations

import pytest

from proxy.bundle.sources.requirement_lines import lines
from proxy.bundle.wants import UnreadableSource
from tests.bundle.support import document


def read(text: str, **environ: str) -> list[tuple[int, str]]:
    return [(line.number, line.requirement) for line in lines(document(text), environ)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("\n  \n# x\n   # y\n", []),
        ("a\nb\r\nc", [(1, "a"), (2, "b"), (3, "c")]),
        ("a # x\nb#x\n", [(1, "a"), (2, "b#x")]),
        ("\na \\\n ==1 \\\n\n b", [(2, "a  ==1"), (5, "b")]),
        ("a \\\n# x\nb", [(1, "a"), (3, "b")]),
        ("# x \\\na", [(2, "a")]),
        ("a \\", [(1, "a")]),
        ("\ufeffa", [(1, "a")]),
        ("a @ https://example.com/x#sha256=1", [(1, "a @ https://example.com/x#sha256=1")]),
    ],
)
def test_logical_lines_and_comments(text: str, found: list[tuple[int, str]]) -> None:
    assert read(text) == found


def test_variables_are_replaced_where_they_exist() -> None:
    text = "${A}-x ${B} $A ${a}"
    assert read(text, A="a", a="no") == [(1, "a-x ${B} $A ${a}")]


def test_hashes_belong_to_the_requirement_they_follow() -> None:
    (line,) = lines(document("a==1 \\\n  --hash=sha256:1 \\\n  --hash sha256:2 # x"), {})
    assert line.requirement == "a==1"
    assert line.options.hash == ["sha256:1", "sha256:2"]


@pytest.mark.parametrize(
    "text", ["-r x.txt", "-rx.txt", "--requirement x.txt", "--requirement=x.txt"]
)
def test_options_may_be_spelled_in_every_way(text: str) -> None:
    (line,) = lines(document(text), {})
    assert (line.requirement, line.options.requirement) == ("", ["x.txt"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a\n--unknown=secret", "line 2: unknown option --unknown"),
        ("-r", "line 1: argument -r/--requirement: expected one argument"),
        ("a --hash='secret", "line 1: options cannot be read"),
        ("a --pre=secret", "line 1: options cannot be read"),
        (b"a\nb\xff".decode("latin-1"), None),
    ],
)
def test_broken_line_is_told_without_values(text: str, told: str | None) -> None:
    content = text.encode() if told else text.encode("latin-1")
    with pytest.raises(UnreadableSource) as caught:
        list(lines(document(content), {}))
    assert str(caught.value) == f"given, {told or 'line 2: not text in UTF-8'}"
