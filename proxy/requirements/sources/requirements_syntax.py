"""The syntax of requirements files: encoding, logical lines, comments, variables and options.

pip defines the format and has no public parser for it. Requirements themselves are parsed by
``packaging``.
"""

from __future__ import annotations

import argparse
import codecs
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from proxy.requirements.sources.document import OptionParser, SourceDocument

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODING = re.compile(rb"#.*?coding[:=]\s*([-\w.]+)")
"""A comment with the encoding (PEP 263), in one of the first two lines."""
_FALLBACK = "latin-1"
_COMMENT = re.compile(r"(?:^|\s+)#.*$")
_ENVIRONMENT_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_OPTION_START = re.compile(r"(?:^|\s)-")
_QUOTED = re.compile(r"""['"\\]""")


@dataclass(frozen=True, slots=True)
class RequirementLine:
    """A logical line: a requirement with options, or options alone."""

    number: int
    """The number of its first physical line, counted from 1."""
    requirement: str
    """Empty if the line has only options."""
    options: argparse.Namespace = field(repr=False)
    unknown: tuple[str, ...] = ()
    """Names of unknown options, without their values."""


def _parser() -> OptionParser:
    parser = OptionParser(add_help=False)  # as in pip, options may be abbreviated
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


def decode(document: SourceDocument) -> tuple[str, bool]:
    """The text, and whether its encoding is a guess. Raises ``UnreadableSource``.

    A byte order mark or a PEP 263 comment names the encoding; the default is UTF-8. If the
    bytes are not UTF-8, pip uses the locale's encoding. Here it is Latin-1, which decodes any
    bytes and leaves the characters of names and versions unchanged.
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
        raise document.unreadable(f"unknown encoding {encoding[:40]}") from None
    except ValueError:
        raise document.unreadable(
            f"not text in {encoding[:40]}, the encoding that the file names"
        ) from None


def logical_lines(
    text: str, document: SourceDocument, environ: Mapping[str, str]
) -> Iterator[RequirementLine]:
    """The logical lines that are not empty. Raises ``UnreadableSource``.

    ``${NAME}`` is replaced by the variable of ``environ``, and stays if there is none.
    """
    for number, logical in _logical(text):
        bare = _COMMENT.sub("", logical).strip()
        bare = _ENVIRONMENT_VARIABLE.sub(lambda found: environ.get(found[1]) or found[0], bare)
        if bare:
            yield _line(document, number, bare)


def _logical(text: str) -> Iterator[tuple[int, str]]:
    """Lines joined at a backslash at their end; a comment is not continued."""
    start = 0
    parts: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        start = start if parts else number
        comment = line.lstrip().startswith("#")
        if line.endswith("\\") and not comment:
            parts.append(line[:-1])
            continue
        yield start, "".join((*parts, " " + line if comment else line))
        parts = []
    if parts:
        yield start, "".join(parts)


def _line(document: SourceDocument, number: int, text: str) -> RequirementLine:
    found = _OPTION_START.search(text)
    cut = found.start() if found else len(text)
    try:
        options, unknown = _PARSER.parse_known_args(_words(text[cut:]))
    except ValueError as error:
        # The values of options are left out: addresses of indexes may have passwords.
        problem = str(error) if "expected one argument" in str(error) else "options cannot be read"
        raise document.unreadable(problem, number) from None
    names = tuple(each.partition("=")[0][:40] for each in unknown if each.startswith("-"))
    return RequirementLine(number, text[:cut].strip(), options, names)


def _words(text: str) -> list[str]:
    """The words as a shell splits them; plain text is split at spaces, which is faster."""
    return shlex.split(text) if _QUOTED.search(text) else text.split()
