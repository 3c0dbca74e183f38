"""A source as bytes with a name, and how its parts are decoded and checked.

Every problem is an ``UnreadableSource`` that names the source.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeVar

import msgspec
from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from proxy.model import ProjectName, normalize
from proxy.requirements.model import (
    LatestVersions,
    ResolverInput,
    SkippedRequirement,
    SourceRequirements,
    UnreadableSource,
)

T = TypeVar("T")

MAX_DOCUMENT = 64 * 1024 * 1024
"""Bytes of a source; the largest lock files in use have ten million."""

_marker = lru_cache(maxsize=4096)(Marker)
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")


@dataclass(frozen=True, slots=True)
class SourceDocument:
    name: str
    """The name in messages."""
    folder: Path
    """The folder that relative paths in the document are relative to."""
    content: bytes = field(repr=False)

    def unreadable(self, problem: object, line: int | None = None) -> UnreadableSource:
        """The error for a problem; of a message with several lines only the first is kept."""
        text = str(problem).partition("\n")[0]
        return UnreadableSource(self.name, text if text.isprintable() else repr(text), line)

    def text(self) -> str:
        try:
            return self.content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = self.content.count(b"\n", 0, error.start) + 1
            raise self.unreadable("not text in UTF-8", line) from None

    def toml(self) -> dict[str, Any]:
        text = self.text()
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            line = _AT_LINE.search(str(error))
            raise self.unreadable(
                f"not TOML: {_AT_LINE.sub('', str(error)).strip()}", int(line[1]) if line else None
            ) from None
        except (RecursionError, ValueError):
            raise self.unreadable(
                "TOML that is nested too deeply or has too long a number"
            ) from None

    def convert(self, shape: type[T], data: Any) -> T:
        """The data as an instance of the msgspec struct ``shape``."""
        try:
            return msgspec.convert(data, shape)
        except msgspec.ValidationError as error:
            raise self.unreadable(error) from None

    def project(self, name: str, line: int | None = None) -> ProjectName:
        try:
            return normalize(name)
        except ValueError as error:
            raise self.unreadable(error, line) from None

    def requirement(self, text: str, line: int | None = None) -> Requirement:
        try:
            found = Requirement(text)
            normalize(found.name)
        except (InvalidRequirement, RecursionError, ValueError) as error:
            raise self.unreadable(f"not a requirement: {error}", line) from None
        return found

    def marker(self, text: str | None) -> Marker | None:
        try:
            return _marker(text) if text else None
        except (InvalidMarker, RecursionError) as error:
            raise self.unreadable(f"not an environment marker: {error}") from None

    def specifier(self, text: str) -> SpecifierSet:
        try:
            found = SpecifierSet(text)
            # Numbers longer than Python converts raise an error only when they are compared.
            found.contains("3")
        except ValueError as error:
            raise self.unreadable(error) from None
        return found


def open_document(path: Path) -> SourceDocument:
    try:
        with path.open("rb") as file:
            return read_document(str(path), path.parent, file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise UnreadableSource(str(path), f"cannot be read: {reason}") from None


def read_document(name: str, folder: Path, file: BinaryIO) -> SourceDocument:
    content = file.read(MAX_DOCUMENT + 1)
    if len(content) > MAX_DOCUMENT:
        raise UnreadableSource(name, f"longer than {MAX_DOCUMENT} bytes")
    return SourceDocument(name, folder, content)


def read_named_project(argument: str, latest: int | None = None) -> SourceRequirements:
    """A name with specifiers, such as ``requests[socks]>=2``: the project and its dependencies.

    With ``latest``, also the files of its newest ``latest`` versions, without dependencies.

    Raises ``UnreadableSource``.
    """
    document = SourceDocument(argument, Path(), b"")
    found = document.requirement(argument)
    project = normalize(found.name)
    if found.url is not None:
        reason = "comes from an address, not from an index"
        return SourceRequirements(skipped=(SkippedRequirement(project, project, reason),))
    named = (LatestVersions(project, found.specifier, latest),) if latest else ()
    return SourceRequirements(requirements=(ResolverInput(argument, f"{found}\n"),), latest=named)


class OptionParser(argparse.ArgumentParser):
    """Parses options of a line; raises ``ValueError`` instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)
