"""Reads what ``ready`` lists: files, pages, and requirements with what they are for.

What the list looks like is told in ``bundle.lacking``.
"""

from __future__ import annotations

import argparse
import re
import shlex
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from dataclasses import replace

from proxy.bundle.choice import FileFilter
from proxy.bundle.sources.document import SourceDocument
from proxy.bundle.sources.names import read_names
from proxy.bundle.sources.options import Parser
from proxy.bundle.sources.requirement_lines import decoded
from proxy.bundle.sources.requirements import read_requirements
from proxy.bundle.targets import parse_targets
from proxy.bundle.wants import LoggedRequest, SourceRequirements, joined
from proxy.errors import ConfigurationError
from proxy.model import ProjectName
from proxy.simple.names import safe_filename

_EXACT = re.compile(
    r"(?P<project>[a-z0-9]+(?:-[a-z0-9]+)*)/(?P<filename>[^/]*)"
    r"#(?P<digest>[0-9a-f]{64}|[a-z0-9_]+-[0-9a-f]{16,128}|-)\Z"
)
_HEAD = "--python "


def read_missing_list(
    document: SourceDocument, choice: FileFilter, environ: Mapping[str, str]
) -> SourceRequirements:
    """Files and pages whatever the targets; requirements before the first head for ``choice``.

    Raises ``UnreadableSource``.
    """
    touched = []
    rest = []
    text, _ = decoded(document)
    for line in text.splitlines():
        exact = _exact(line)
        touched += [exact] if exact else []
        rest.append("" if exact else line)  # lines keep their numbers
    parts = (_part(part, choice, environ) for part in _parts(document, rest))
    return joined((SourceRequirements(touched=tuple(touched)), *parts))


def _exact(line: str) -> LoggedRequest | None:
    found = _EXACT.match(line)
    if not found or not safe_filename(found["filename"] or "page"):
        return None
    digest = None if found["digest"] == "-" else found["digest"]
    return LoggedRequest(ProjectName(found["project"]), found["filename"] or None, digest)


def _parts(document: SourceDocument, lines: list[str]) -> Iterator[SourceDocument]:
    """Each but the first begins with a head, after as many empty lines as there are before it."""
    heads = [number for number, line in enumerate(lines) if line.startswith(_HEAD)]
    for begin, end in zip([0, *heads], [*heads, len(lines)], strict=True):
        content = "\n".join([*[""] * begin, *lines[begin:end]])
        yield replace(document, content=_encoded(content))


def _encoded(text: str) -> bytes:
    """With a byte order mark: a comment in the text may name the encoding that it once had."""
    return BOM_UTF8 + text.encode(errors="surrogatepass")


def _part(
    document: SourceDocument, choice: FileFilter, environ: Mapping[str, str]
) -> SourceRequirements:
    text = document.text()
    before = len(text) - len(text.lstrip("\n"))
    head, _, body = text[before:].partition("\n")
    if not head.startswith(_HEAD):
        return read_requirements(document, choice, environ)
    options = _options(document, head, before + 1)
    own = _choice(document, options, before + 1)
    if options.latest:
        every = joined(read_names(line, options.latest) for line in body.splitlines() if line)
    else:
        rest = replace(document, content=_encoded(f"{text[:before]}\n{body}"))
        every = read_requirements(rest, own, environ)
    constraints = "".join(f"{line}\n" for line in options.constrain)
    return replace(
        every,
        named=tuple(replace(one, choice=own) for one in every.named),
        requirements=tuple(
            replace(one, choice=own, constraints=one.constraints + constraints)
            for one in every.requirements
        ),
    )


def _options(document: SourceDocument, head: str, number: int) -> argparse.Namespace:
    parser = Parser(add_help=False, allow_abbrev=False)
    for name in ("--python", "--platform", "--constrain"):
        parser.add_argument(name, action="append", default=[])
    for name in ("--no-sdists", "--only-sdists", "--all-files"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--latest", type=int)
    try:
        return parser.parse_args(shlex.split(head))
    except ValueError as error:
        raise document.unreadable(error, number) from None


def _choice(document: SourceDocument, options: argparse.Namespace, number: int) -> FileFilter:
    try:
        targets = parse_targets(options.python, options.platform)
    except ConfigurationError as error:
        raise document.unreadable(error, number) from None
    sdists = "none" if options.no_sdists else "only" if options.only_sdists else "also"
    return FileFilter(targets, sdists, options.all_files)  # type: ignore[arg-type]
