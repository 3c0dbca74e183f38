"""Reads requirements files: as pinned versions if all have hashes, else for a resolver."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement

from proxy.model import normalize
from proxy.requirements.model import (
    FileFilter,
    PinnedVersion,
    ResolverInput,
    SkippedRequirement,
    SourceRequirements,
    merge_requirements,
)
from proxy.requirements.sources.document import SourceDocument, open_document
from proxy.requirements.sources.local_projects import is_local_path, local_project, to_path
from proxy.requirements.sources.lock_files import parse_hashes, parse_version
from proxy.requirements.sources.requirements_syntax import (
    RequirementLine,
    decode,
    logical_lines,
)

_ADDRESS = re.compile(r"(?:(?:git|hg|svn|bzr)\+|(?!file:)[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
_FORMAT_CONTROL = re.compile(r"[A-Za-z0-9._-]+|:all:|:none:")
MAX_INCLUDES = 200
"""Files that a requirements file includes, directly or through other files."""

_NAME_ENCODING = "Name its encoding in the first line: # -*- coding: cp1252 -*-"
_NOT_INDEXED = "comes from an address, not from an index"


def read_requirements(
    document: SourceDocument, file_filter: FileFilter, environ: Mapping[str, str]
) -> SourceRequirements:
    """The file with its included files. ``environ`` has the values of ``${NAME}``.

    Raises ``UnreadableSource``.
    """
    reading = _Reading(file_filter, environ)
    reading.add_file(document, constraint=False)
    return reading.result(document.name)


@dataclass(slots=True)
class _Reading:
    """The parts of a file and its included files that were read so far."""

    file_filter: FileFilter
    environ: Mapping[str, str]
    included: set[tuple[Path, bool]] = field(default_factory=set)
    required: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    pinned: list[PinnedVersion] = field(default_factory=list)
    needs_resolver: bool = False
    """Whether a requirement is not pinned with hashes."""
    prereleases: bool = False
    others: list[SourceRequirements] = field(default_factory=list)
    """Build requirements, skipped requirements and notes."""

    def result(self, name: str) -> SourceRequirements:
        if not self.needs_resolver:
            return merge_requirements(
                (SourceRequirements(versions=tuple(self.pinned)), *self.others)
            )
        text, constraints = (
            "".join(f"{line}\n" for line in dict.fromkeys(part))
            for part in (self.required, self.constraints)
        )
        resolver_input = ResolverInput(name, text, constraints, self.prereleases)
        return merge_requirements(
            (SourceRequirements(requirements=(resolver_input,)), *self.others)
        )

    def add_file(self, document: SourceDocument, *, constraint: bool) -> None:
        text, guessed = decode(document)
        if guessed:
            self.add_note(document, None, f"not UTF-8, read as Latin-1. {_NAME_ENCODING}")
        for line in logical_lines(text, document, self.environ):
            if line.requirement:
                self.add_requirement(document, line, line.requirement, constraint=constraint)
            for editable in line.options.editable:
                self.add_requirement(document, line, editable, constraint=constraint)
            if not (line.requirement or line.options.editable):  # as in pip
                for name in line.options.requirement:
                    self.add_include(document, line, name, constraint=False)
                for name in line.options.constraint:
                    self.add_include(document, line, name, constraint=True)
            self.add_options(document, line)

    def add_requirement(
        self, document: SourceDocument, line: RequirementLine, text: str, *, constraint: bool
    ) -> None:
        if _ADDRESS.match(text):
            self.add_skipped(document, f"line {line.number}")
        elif is_local_path(text):
            self.add_local(document, line, text)
        else:
            found = document.requirement(text, line.number)
            if found.url is None:
                self.add_named(document, line, found, constraint=constraint)
            elif found.url.startswith("file:"):
                extras = f"[{','.join(found.extras)}]" if found.extras else ""
                marker = f" ; {found.marker}" if found.marker else ""
                self.add_local(document, line, found.url + extras + marker)
            else:
                self.add_skipped(document, found.name)

    def add_named(
        self,
        document: SourceDocument,
        line: RequirementLine,
        found: Requirement,
        *,
        constraint: bool,
    ) -> None:
        hashes = parse_hashes(document, line.options.hash, line.number)
        written = " ".join([str(found), *(f"--hash={each}" for each in sorted(hashes))])
        (self.constraints if constraint else self.required).append(written)
        if constraint:
            return
        exact = [each for each in found.specifier if each.operator in ("==", "===")]
        if not hashes or len(exact) != 1 or exact[0].version.endswith(".*"):
            self.needs_resolver = True
            return
        number = parse_version(document, exact[0].version, line.number)
        targets = tuple(each for each in self.file_filter.targets if each.admits(found.marker))
        if targets:
            self.pinned.append(PinnedVersion(normalize(found.name), number, hashes, targets))

    def add_local(self, document: SourceDocument, line: RequirementLine, text: str) -> None:
        found = local_project(document, text, line.number)
        if found is None:
            self.add_skipped(
                document, f"line {line.number}", "names a local file that is not a distribution"
            )
            return
        written, build = found
        self.needs_resolver = True
        self.required.append(written)
        self.others.append(build)

    def add_include(
        self, document: SourceDocument, line: RequirementLine, name: str, *, constraint: bool
    ) -> None:
        if _ADDRESS.match(name):
            self.add_skipped(document, f"line {line.number}", "includes a file from an address")
            return
        path = document.folder / (to_path(name) if name.startswith("file:") else name)
        # A file is read once, however often it is included: circular includes end.
        key = (path.absolute(), constraint)
        if key in self.included:
            return
        self.included.add(key)
        if len(self.included) > MAX_INCLUDES:
            raise document.unreadable(f"includes more than {MAX_INCLUDES} files", line.number)
        self.add_file(open_document(path), constraint=constraint)

    def add_options(self, document: SourceDocument, line: RequirementLine) -> None:
        options = line.options
        for name in ("no_binary", "only_binary"):
            for value in _FORMAT_CONTROL.findall(" ".join(getattr(options, name))):
                self.required.append(f"--{name.replace('_', '-')} {value}")
        every = _FORMAT_CONTROL.findall(" ".join(options.all_releases))
        self.prereleases |= options.pre or ":all:" in every
        if {*every, *_FORMAT_CONTROL.findall(" ".join(options.only_final))} - {":all:", ":none:"}:
            self.add_note(
                document,
                line,
                "pre-releases of some projects only are not supported; the option is ignored",
            )
        for name in line.unknown:
            self.add_note(document, line, f"unknown option {name}; it is ignored")
        if options.index:
            self.add_note(
                document,
                line,
                "an index or a location of files is ignored; everything comes from this index",
            )
        if options.other:
            self.add_note(document, line, "an option that applies only to installing is ignored")

    def add_note(self, document: SourceDocument, line: RequirementLine | None, text: str) -> None:
        where = f"{document.name}, line {line.number}" if line else document.name
        self.others.append(SourceRequirements(notes=(f"{where}: {text}",)))

    def add_skipped(self, document: SourceDocument, what: str, reason: str = _NOT_INDEXED) -> None:
        self.others.append(
            SourceRequirements(skipped=(SkippedRequirement(document.name, what, reason),))
        )
