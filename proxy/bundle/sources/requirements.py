"""Reads requirements files: a lock if every line is pinned with digests, else a resolver's work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement

from proxy.bundle.choice import FileFilter
from proxy.bundle.sources.document import SourceDocument, open_document
from proxy.bundle.sources.local import local_project, names_path, path_of
from proxy.bundle.sources.locked import digests, version
from proxy.bundle.sources.requirement_lines import Line, decoded, logical_lines
from proxy.bundle.wants import (
    PinnedVersion,
    Requirements,
    SkippedRequirement,
    SourceRequirements,
    joined,
)
from proxy.model import normalize

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
