"""The syntax of requirements files: logical lines, comments, variables, options.

It is written out here because pip, whose format it is, has no public interface for it. What
a requirement itself looks like is left to ``packaging``.
"""

from __future__ import annotations

import argparse
import codecs
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from proxy.bundle.sources.document import SourceDocument
from proxy.bundle.sources.options import Parser

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as that of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODING = re.compile(rb"#.*?coding[:=]\s*([-\w.]+)")
"""A comment that names the encoding (PEP 263), in one of the first two lines."""
_FALLBACK = "latin-1"
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
    unknown: tuple[str, ...] = ()
    """Names of options that are not known, without their values."""


def _parser() -> Parser:
    parser = Parser(add_help=False)  # options may be cut short, as pip's may
    add = parser.add_argument
    add("-r", "--requirement", action="append", default=[])
    add("-c", "--constraint", action="append", default=[])
    add("-e", "--editable", action="append", default=[])
    add("--hash", action="append", default=[])
    add("--no-binary", action="append", default=[])
    add("--only-binary", action="append", default=[])
    add("--pre", action="store_true")
    add("--all-releases", action="append", default=[])
    add("--only-final", action="append", default=[])
    for name in ("--require-hashes", "--no-require-hashes"):
        add(name, dest="require_hashes", action="store_true")
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


def decoded(document: SourceDocument) -> tuple[str, bool]:
    """The text, and whether its encoding had to be guessed. Raises ``UnreadableSource``.

    The encoding is that of a byte order mark, of a PEP 263 comment, or UTF-8. Where the bytes
    are not UTF-8, pip takes the encoding of its machine; here it is Latin-1, in which no
    byte is wrong and what names and versions consist of is the same.
    """
    content = document.content
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return _decoded(document, content.removeprefix(mark), encoding), False
    for line in content.split(b"\n", 2)[:2]:
        if found := _CODING.match(line):
            return _decoded(document, content, found[1].decode("ascii")), False
    try:
        return content.decode(), False
    except UnicodeDecodeError:
        return content.decode(_FALLBACK), True


def _decoded(document: SourceDocument, content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except LookupError:
        raise document.unreadable(f"its encoding {encoding[:40]} is not known") from None
    except ValueError:
        raise document.unreadable(f"not text in {encoding[:40]}, as its beginning says") from None


def logical_lines(
    text: str, document: SourceDocument, environ: Mapping[str, str]
) -> Iterator[Line]:
    """The logical lines that say something. Raises ``UnreadableSource`` about the document.

    ``${NAME}`` stands for a variable of ``environ``, and for itself if there is none.
    """
    for number, logical in _logical(text):
        bare = _COMMENT.sub("", logical).strip()
        bare = _VARIABLE.sub(lambda found: environ.get(found[1]) or found[0], bare)
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


def _line(document: SourceDocument, number: int, text: str) -> Line:
    found = _OPTIONS.search(text)
    cut = found.start() if found else len(text)
    try:
        options, unknown = _PARSER.parse_known_args(_words(text[cut:]))
    except ValueError as error:
        # The values of options are not told: addresses of indexes hold passwords.
        told = str(error) if "expected one argument" in str(error) else "options cannot be read"
        raise document.unreadable(told, number) from None
    names = tuple(each.partition("=")[0][:40] for each in unknown if each.startswith("-"))
    return Line(number, text[:cut].strip(), options, names)


def _words(text: str) -> list[str]:
    """As a shell takes it apart, which is slow, and seldom more than what lies between spaces."""
    return shlex.split(text) if _QUOTED.search(text) else text.split()
