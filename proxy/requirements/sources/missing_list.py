"""Writes and reads the list of missing things: ``waystation ready`` prints it for ``warm -``.

```text
alpha/alpha-1.0-py3-none-any.whl#3f0c…          this file
beta/#-                                         this project's page
--python 3.12 --platform manylinux_2_28_x86_64  the following lines, together, for these targets
gamma>=2
delta; python_version < "3.13"
```

Files need no targets. Requirements that could not be resolved are listed as they were given.
"""

from __future__ import annotations

import argparse
import re
import shlex
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from proxy.distributions import Target, parse_targets, safe_filename
from proxy.errors import ConfigurationError
from proxy.model import ProjectName
from proxy.requirements.model import (
    FileFilter,
    LoggedRequest,
    Missing,
    ResolvedFiles,
    ResolverInput,
    SourceRequirements,
    merge_requirements,
)
from proxy.requirements.sources.document import OptionParser, SourceDocument, read_named_project
from proxy.requirements.sources.requirements_syntax import decode
from proxy.requirements.sources.requirements_txt import read_requirements

_EXACT = re.compile(
    r"(?P<project>[a-z0-9]+(?:-[a-z0-9]+)*)/(?P<filename>[^/]*)"
    r"#(?P<digest>[0-9a-f]{64}|[a-z0-9_]+-[0-9a-f]{16,128}|-)\Z"
)
_OPTIONS_PREFIX = "--python "
"""The beginning of a line with the options of the lines below."""


def read_missing_list(
    document: SourceDocument, file_filter: FileFilter, environ: Mapping[str, str]
) -> SourceRequirements:
    """Files and pages for no target; requirements before the first options for ``file_filter``.

    Raises ``UnreadableSource``.
    """
    requests = []
    rest = []
    text, _ = decode(document)
    for line in text.splitlines():
        exact = _exact(line)
        requests += [exact] if exact else []
        rest.append("" if exact else line)  # keeps the line numbers
    parts = (_part(part, file_filter, environ) for part in _parts(document, rest))
    return merge_requirements((SourceRequirements(requests=tuple(requests)), *parts))


def _exact(line: str) -> LoggedRequest | None:
    found = _EXACT.match(line)
    if not found or not safe_filename(found["filename"] or "page"):
        return None
    digest = None if found["digest"] == "-" else found["digest"]
    return LoggedRequest(ProjectName(found["project"]), found["filename"] or None, digest)


def _parts(document: SourceDocument, lines: list[str]) -> Iterator[SourceDocument]:
    """Each part but the first begins with options; empty lines in front keep the line numbers."""
    heads = [number for number, line in enumerate(lines) if line.startswith(_OPTIONS_PREFIX)]
    for begin, end in zip([0, *heads], [*heads, len(lines)], strict=True):
        content = "\n".join([*[""] * begin, *lines[begin:end]])
        yield replace(document, content=_encoded(content))


def _encoded(text: str) -> bytes:
    """With a byte order mark, which overrides the encoding that a comment in the text may name."""
    return BOM_UTF8 + text.encode(errors="surrogatepass")


def _part(
    document: SourceDocument, file_filter: FileFilter, environ: Mapping[str, str]
) -> SourceRequirements:
    text = document.text()
    before = len(text) - len(text.lstrip("\n"))
    head, _, body = text[before:].partition("\n")
    if not head.startswith(_OPTIONS_PREFIX):
        return read_requirements(document, file_filter, environ)
    options = _options(document, head, before + 1)
    own = _file_filter(document, options, before + 1)
    if options.latest:
        every = merge_requirements(
            read_named_project(line, options.latest) for line in body.splitlines() if line
        )
    else:
        rest = replace(document, content=_encoded(f"{text[:before]}\n{body}"))
        every = read_requirements(rest, own, environ)
    constraints = "".join(f"{line}\n" for line in options.constrain)
    return replace(
        every,
        latest=tuple(replace(one, file_filter=own) for one in every.latest),
        requirements=tuple(
            replace(one, file_filter=own, constraints=one.constraints + constraints)
            for one in every.requirements
        ),
    )


def _options(document: SourceDocument, head: str, number: int) -> argparse.Namespace:
    parser = OptionParser(add_help=False, allow_abbrev=False)
    for name in ("--python", "--platform", "--constrain"):
        parser.add_argument(name, action="append", default=[])
    for name in ("--no-sdists", "--only-sdists", "--all-files"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--latest", type=int)
    try:
        return parser.parse_args(shlex.split(head))
    except ValueError as error:
        raise document.unreadable(error, number) from None


def _file_filter(document: SourceDocument, options: argparse.Namespace, number: int) -> FileFilter:
    try:
        targets = parse_targets(options.python, options.platform)
    except ConfigurationError as error:
        raise document.unreadable(error, number) from None
    sdists = "none" if options.no_sdists else "only" if options.only_sdists else "also"
    return FileFilter(targets, sdists, options.all_files)  # type: ignore[arg-type]


_SDIST_FLAGS = {"also": (), "none": ("--no-sdists",), "only": ("--only-sdists",)}


def missing_lines(
    needs: ResolvedFiles,
    missing: Iterable[Missing],
    wanted: SourceRequirements,
    file_filter: FileFilter,
) -> Iterator[str]:
    """The list; ``needs`` is the result of ``needed_files`` for ``wanted`` and ``file_filter``."""
    every = [each.line for each in missing]
    exact = [line for line in every if "#" in line]
    yield from exact
    listed = {*exact}
    for requirements, targets in _targets_by_input(needs).items():
        listed.update(requirements.lines)
        own = requirements.file_filter or file_filter
        some = tuple(each for each in own.targets if each in targets)
        yield _options_line(replace(own, targets=some), requirements.constraints)
        yield from ["--pre"] if requirements.prereleases else []
        yield from requirements.text.splitlines()
    for latest in wanted.latest:
        if latest.line in every:
            listed.add(latest.line)
            yield f"{_options_line(latest.file_filter or file_filter)} --latest {latest.count}"
            yield latest.line
    if others := [line for line in every if line not in listed]:
        yield _options_line(file_filter)
        yield from others


def _targets_by_input(needs: ResolvedFiles) -> dict[ResolverInput, list[Target]]:
    found: dict[ResolverInput, list[Target]] = {}
    for requirements, target in needs.unresolved:
        found.setdefault(requirements, []).append(target)
    return found


def _options_line(file_filter: FileFilter, constraints: str = "") -> str:
    """The options of a part; every Python is combined with every platform."""
    words = [word for each in file_filter.targets for word in ("--python", each.python)]
    words += [word for each in file_filter.targets for word in ("--platform", each.platform)]
    pairs = dict.fromkeys(zip(words[::2], words[1::2], strict=True))
    pairs |= dict.fromkeys(("--constrain", line) for line in constraints.splitlines())
    flags = (*_SDIST_FLAGS[file_filter.sdists], *(["--all-files"] if file_filter.all_files else []))
    return shlex.join([*(word for pair in pairs for word in pair), *flags])
