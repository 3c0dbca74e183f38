"""Reads requirements files: a lock if every line is pinned with digests, else a resolver's work.

The syntax of requirements files: logical lines, comments, variables, options.

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
from pathlib import Path

from packaging.requirements import Requirement

from proxy.model import normalize
from proxy.requirements.model import (
    FileFilter,
    PinnedVersion,
    Requirements,
    SkippedRequirement,
    SourceRequirements,
    joined,
)
from proxy.requirements.sources.document import Parser, SourceDocument, open_document
from proxy.requirements.sources.local_projects import local_project, names_path, path_of
from proxy.requirements.sources.lock_files import digests, version

_ADDRESS = re.compile(r"(?:(?:git|hg|svn|bzr)\+|(?!file:)[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
_FORMAT = re.compile(r"[A-Za-z0-9._-]+|:all:|:none:")
_MOST = 200
"""Included files; each may be included by the one before."""

_NAME_ENCODING = "Name its encoding in the first line: # -*- coding: cp1252 -*-"
_NOT_INDEXED = "comes from an address, not from an index"


def read_requirements(
    document: SourceDocument, choice: FileFilter, environ: Mapping[str, str]
) -> SourceRequirements:
    """The file with all it includes. ``environ`` is for ``${NAME}``.

    Raises ``UnreadableSource``.
    """
    reading = _Reading(choice, environ)
    reading.file(document, constraint=False)
    return reading.wants(document.name)


@dataclass(slots=True)
class _Reading:
    """What has been read so far of a file and of those it includes."""

    choice: FileFilter
    environ: Mapping[str, str]
    seen: set[tuple[Path, bool]] = field(default_factory=set)
    required: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    pinned: list[PinnedVersion] = field(default_factory=list)
    to_resolve: bool = False
    """Whether something required is not pinned with digests."""
    prereleases: bool = False
    others: list[SourceRequirements] = field(default_factory=list)

    def wants(self, name: str) -> SourceRequirements:
        if not self.to_resolve:
            return joined((SourceRequirements(versions=tuple(self.pinned)), *self.others))
        text, constraints = (
            "".join(f"{line}\n" for line in dict.fromkeys(part))
            for part in (self.required, self.constraints)
        )
        asked = Requirements(name, text, constraints, self.prereleases)
        return joined((SourceRequirements(requirements=(asked,)), *self.others))

    def file(self, document: SourceDocument, *, constraint: bool) -> None:
        text, guessed = decoded(document)
        if guessed:
            self.say(f"{document.name}: not UTF-8, so read as Latin-1. {_NAME_ENCODING}")
        for line in logical_lines(text, document, self.environ):
            if line.requirement:
                self.requirement(document, line, line.requirement, constraint=constraint)
            for editable in line.options.editable:
                self.requirement(document, line, editable, constraint=constraint)
            if not (line.requirement or line.options.editable):  # beside one, pip ignores them
                for name in line.options.requirement:
                    self.include(document, line, name, constraint=False)
                for name in line.options.constraint:
                    self.include(document, line, name, constraint=True)
            self.options(document, line)

    def requirement(
        self, document: SourceDocument, line: Line, text: str, *, constraint: bool
    ) -> None:
        if _ADDRESS.match(text):
            self.skip(document, f"line {line.number}")
        elif names_path(text):
            self.local(document, line, text)
        else:
            found = document.requirement(text, line.number)
            if found.url is None:
                self.named(document, line, found, constraint=constraint)
            elif found.url.startswith("file:"):
                extras = f"[{','.join(found.extras)}]" if found.extras else ""
                marker = f" ; {found.marker}" if found.marker else ""
                self.local(document, line, found.url + extras + marker)
            else:
                self.skip(document, found.name)

    def named(
        self, document: SourceDocument, line: Line, found: Requirement, *, constraint: bool
    ) -> None:
        hashes = digests(document, line.options.hash, line.number)
        written = " ".join([str(found), *(f"--hash={each}" for each in sorted(hashes))])
        (self.constraints if constraint else self.required).append(written)
        if constraint:
            return
        exact = [each for each in found.specifier if each.operator in ("==", "===")]
        if not hashes or len(exact) != 1 or exact[0].version.endswith(".*"):
            self.to_resolve = True
            return
        number = version(document, exact[0].version, line.number)
        targets = tuple(each for each in self.choice.targets if each.admits(found.marker))
        if targets:
            self.pinned.append(PinnedVersion(normalize(found.name), number, hashes, targets))

    def local(self, document: SourceDocument, line: Line, text: str) -> None:
        found = local_project(document, text, line.number)
        if found is None:
            self.skip(document, f"line {line.number}", "names a local file that is no distribution")
            return
        written, build = found
        self.to_resolve = True
        self.required.append(written)
        self.others.append(build)

    def include(self, document: SourceDocument, line: Line, name: str, *, constraint: bool) -> None:
        if _ADDRESS.match(name):
            self.skip(document, f"line {line.number}", "includes a file from an address")
            return
        path = document.folder / (path_of(name) if name.startswith("file:") else name)
        # A file counts once, however often it is included: so circles end, too.
        key = (path.absolute(), constraint)
        if key in self.seen:
            return
        self.seen.add(key)
        if len(self.seen) > _MOST:
            raise document.unreadable(f"includes more than {_MOST} files", line.number)
        self.file(open_document(path), constraint=constraint)

    def options(self, document: SourceDocument, line: Line) -> None:
        options = line.options
        for name in ("no_binary", "only_binary"):
            for value in _FORMAT.findall(" ".join(getattr(options, name))):
                self.required.append(f"--{name.replace('_', '-')} {value}")
        every = _FORMAT.findall(" ".join(options.all_releases))
        self.prereleases |= options.pre or ":all:" in every
        if {*every, *_FORMAT.findall(" ".join(options.only_final))} - {":all:", ":none:"}:
            self.note(document, line, "allows pre-releases of some projects only: not followed")
        for name in line.unknown:
            self.note(document, line, f"the option {name} is not known and is ignored")
        if options.index:
            self.note(
                document,
                line,
                "names an index or files elsewhere; not used, this index stands for all",
            )
        if options.other:
            self.note(document, line, "has an option that matters only when installing")

    def note(self, document: SourceDocument, line: Line, text: str) -> None:
        self.say(f"{document.name}, line {line.number}: {text}")

    def say(self, text: str) -> None:
        self.others.append(SourceRequirements(notes=(text,)))

    def skip(self, document: SourceDocument, what: str, reason: str = _NOT_INDEXED) -> None:
        self.others.append(
            SourceRequirements(skipped=(SkippedRequirement(document.name, what, reason),))
        )


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
