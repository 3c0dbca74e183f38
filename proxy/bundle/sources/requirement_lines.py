"""The syntax of requirements files: logical lines, comments, variables, options.

It is written out here because pip, whose format it is, has no public interface for it. What
a requirement itself looks like is left to ``packaging``.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from proxy.bundle.sources.document import Document
from proxy.bundle.sources.options import Parser

_COMMENT = re.compile(r"(?:^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_OPTIONS = re.compile(r"(?:^|\s)-")
_QUOTED = re.compile(r"""['"\\]""")


@dataclass(frozen=True, slots=True)
class Line:
    """A logical line: a requirement with options, or options alone."""

    number: int
    """Where it begins, counted from 1."""
    requirement: str
    """Empty where there are only options."""
    options: argparse.Namespace = field(repr=False)


def _parser() -> Parser:
    parser = Parser(add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("-r", "--requirement", action="append", default=[])
    add("-c", "--constraint", action="append", default=[])
    add("-e", "--editable", action="append", default=[])
    add("--hash", action="append", default=[])
    add("--no-binary", action="append", default=[])
    add("--only-binary", action="append", default=[])
    add("--pre", action="store_true")
    add("--require-hashes", action="store_true")
    for names in (("-i", "--index-url", "--pypi-url"), ("-f", "--find-links"), ("--trusted-host",)):
        add(*names, dest="index", action="append", default=[])
    add("--extra-index-url", dest="index", action="append")
    add("--no-index", dest="index", action="append_const", const="")
    add("--prefer-binary", dest="other", action="append_const", const="", default=[])
    for names in (("-C", "--config-settings", "--config-setting"), ("--global-option",)):
        add(*names, dest="other", action="append", default=[])
    add("--use-feature", dest="other", action="append")
    return parser


_PARSER = _parser()


def lines(document: Document, environ: Mapping[str, str]) -> Iterator[Line]:
    """The logical lines that say something. Raises ``UnreadableSource``.

    ``${NAME}`` stands for a variable of ``environ``, and for itself if there is none.
    """
    for number, text in _logical(document.text()):
        bare = _COMMENT.sub("", text).strip()
        bare = _VARIABLE.sub(lambda found: environ.get(found[1], found[0]), bare)
        if bare:
            yield _line(document, number, bare)


def _logical(text: str) -> Iterator[tuple[int, str]]:
    """Lines with those joined that end in a backslash; a comment ends where its line ends."""
    begun, parts = 0, [""][:0]
    for number, line in enumerate(text.splitlines(), 1):
        begun = begun if parts else number
        comment = line.lstrip().startswith("#")
        if line.endswith("\\") and not comment:
            parts.append(line[:-1])
            continue
        yield begun, "".join((*parts, " " + line if comment else line))
        parts = []
    if parts:
        yield begun, "".join(parts)


def _line(document: Document, number: int, text: str) -> Line:
    found = _OPTIONS.search(text)
    cut = found.start() if found else len(text)
    try:
        options, unknown = _PARSER.parse_known_args(_words(text[cut:]))
    except ValueError as error:
        # The values of options are not told: addresses of indexes hold passwords.
        told = str(error) if "expected one argument" in str(error) else "options cannot be read"
        raise document.unreadable(told, number) from None
    if unknown:
        raise document.unreadable(f"unknown option {unknown[0].partition('=')[0][:40]}", number)
    return Line(number, text[:cut].strip(), options)


def _words(text: str) -> list[str]:
    """As a shell takes it apart, which is slow, and seldom more than what lies between spaces."""
    return shlex.split(text) if _QUOTED.search(text) else text.split()
