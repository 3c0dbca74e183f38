"""A source as bytes with a name: decoded, read as TOML, held against a shape.

Reads names and specifiers from the command line: ``requests``, ``requests[socks]>=2,<3``.

Options in the lines of a source.
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
    Requirements,
    SkippedRequirement,
    SourceRequirements,
    UnreadableSource,
)

T = TypeVar("T")

MAX_DOCUMENT = 64 * 1024 * 1024
"""Bytes; the largest lock files in use have ten million."""

_marker = lru_cache(maxsize=4096)(Marker)
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")


@dataclass(frozen=True, slots=True)
class SourceDocument:
    name: str
    """For messages."""
    folder: Path
    """What relative paths in it start from."""
    content: bytes = field(repr=False)

    def unreadable(self, problem: object, line: int | None = None) -> UnreadableSource:
        """The error for what is wrong; of a text of many lines, only the first is told."""
        told = str(problem).partition("\n")[0]
        return UnreadableSource(self.name, told if told.isprintable() else repr(told), line)

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
            raise self.unreadable("not TOML that can be read: nested or long beyond use") from None

    def shaped(self, shape: type[T], data: Any) -> T:
        """The data as the msgspec struct ``shape``."""
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
            # Numbers longer than Python reads are only found out when compared.
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


def read_names(argument: str, latest: int | None = None) -> SourceRequirements:
    """The project with all it needs and, with ``latest``, its newest so many versions alone.

    Raises ``UnreadableSource``.
    """
    document = SourceDocument(argument, Path(), b"")
    found = document.requirement(argument)
    project = normalize(found.name)
    if found.url is not None:
        reason = "comes from an address, not from an index"
        return SourceRequirements(skipped=(SkippedRequirement(project, project, reason),))
    named = (LatestVersions(project, found.specifier, latest),) if latest else ()
    return SourceRequirements(requirements=(Requirements(argument, f"{found}\n"),), named=named)


class Parser(argparse.ArgumentParser):
    """Raises ``ValueError`` for what is wrong, and ends nothing."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)
