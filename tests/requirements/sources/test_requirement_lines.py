from __future__ import annotations

import pytest

from proxy.requirements.model import UnreadableSource
from proxy.requirements.sources.requirements_syntax import RequirementLine, decode, logical_lines
from tests.support.requirement_sources import document


def parsed(text: str | bytes, **environ: str) -> list[RequirementLine]:
    given = document(text)
    return list(logical_lines(decode(given)[0], given, environ))


def read(text: str | bytes, **environ: str) -> list[tuple[int, str]]:
    return [(line.number, line.requirement) for line in parsed(text, **environ)]


@pytest.mark.parametrize(
    ("content", "guessed"),
    [
        ("é==1\r\n".encode(), False),
        ("é==1".encode("utf-8-sig"), False),
        ("é==1".encode("utf-16"), False),
        (b"\xfe\xff" + "é==1".encode("utf-16-be"), False),
        ("é==1".encode("utf-32"), False),
        (b"\x00\x00\xfe\xff" + "é==1".encode("utf-32-be"), False),
        ("# -*- coding: latin-1 -*-\né==1".encode("latin-1"), False),
        ("#!x\n# vim: set fileencoding=cp1252 :\né==1".encode("cp1252"), False),
        ("é==1".encode("latin-1"), True),
        ("\n\n# coding: cp437\né==1".encode("latin-1"), True),
        ("x # coding: cp437\né==1".encode("latin-1"), True),
    ],
)
def test_the_encoding_is_that_of_a_mark_or_comment_or_utf_8(content: bytes, guessed: bool) -> None:
    assert decode(document(content))[1] is guessed
    assert read(content)[-1][1] == "é==1"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# coding: klingon\na", "unknown encoding klingon"),
        (b"# coding: hex\na", "unknown encoding hex"),
        (b"# coding: ascii\n\xff", "not text in ascii, the encoding that the file names"),
        (b"\xff\xfea", "not text in utf-16-le, the encoding that the file names"),
        (b"\xef\xbb\xbf\xff", "not text in utf-8, the encoding that the file names"),
    ],
)
def test_a_text_in_another_encoding_than_it_says_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(UnreadableSource, match=message):
        decode(document(content))


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


def test_variables_are_replaced_where_they_say_something() -> None:
    text = "${A}-x ${B} $A ${a} ${C}"
    assert read(text, A="a", a="no", C="") == [(1, "a-x ${B} $A ${a} ${C}")]


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("a --use-pep517", ("--use-pep517",)),
        ("--unknown=secret --other secret", ("--unknown", "--other")),
        ("--pre x", ()),
        ("a --all-releases x --only-final=y --no-require-hashes -C x=y", ()),
    ],
)
def test_unknown_options_are_named_without_their_values(text: str, unknown: tuple[str]) -> None:
    (line,) = parsed(text)
    assert line.unknown == unknown


def test_hashes_belong_to_the_requirement_they_follow() -> None:
    (line,) = parsed("a==1 \\\n  --hash=sha256:1 \\\n  --hash sha256:2 # x")
    assert line.requirement == "a==1"
    assert line.options.hash == ["sha256:1", "sha256:2"]


@pytest.mark.parametrize(
    "text",
    ["-r x.txt", "-rx.txt", "--requirement x.txt", "--requirement=x.txt", "--requirem x.txt"],
)
def test_options_may_be_spelled_in_every_way(text: str) -> None:
    (line,) = parsed(text)
    assert (line.requirement, line.options.requirement) == ("", ["x.txt"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-r", "line 1: argument -r/--requirement: expected one argument"),
        ("a --hash='secret", "line 1: options cannot be read"),
        ("a --pre=secret", "line 1: options cannot be read"),
    ],
)
def test_broken_line_is_reported_without_values(text: str, message: str) -> None:
    with pytest.raises(UnreadableSource) as caught:
        parsed(text)
    assert str(caught.value) == f"given, {message}"
