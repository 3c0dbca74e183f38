"""Reads what ``ready`` lists: files, pages, and requirements with what they are for.

What the list looks like is told in ``bundle.lacking``.

What is missing as a list that ``warm -`` reads: see ``sources.missing``. Pure.

```text
alpha/alpha-1.0-py3-none-any.whl#3f0c…          this file
beta/#-                                         this project's page
--python 3.12 --platform manylinux_2_28_x86_64  the lines from here on together, for these targets
gamma>=2
delta; python_version < "3.13"
```

Files need no targets. What could not be resolved is there as it was asked for, since what it
comes to is not known.
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
    Requirements,
    ResolvedFiles,
    SourceRequirements,
    joined,
)
from proxy.requirements.sources.document import Parser, SourceDocument, read_names
from proxy.requirements.sources.requirements_txt import decoded, read_requirements

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


_SDISTS = {"also": (), "none": ("--no-sdists",), "only": ("--only-sdists",)}


def missing_lines(
    needs: ResolvedFiles, missing: Iterable[Missing], wants: SourceRequirements, choice: FileFilter
) -> Iterator[str]:
    """``wants`` and ``choice`` are what was asked for, ``needs`` what was found of it."""
    every = [lack.line for lack in missing]
    exact = [line for line in every if "#" in line]
    yield from exact
    told = {*exact}
    for asked, targets in _by_target(needs).items():
        told.update(asked.lines)
        wanted = asked.choice or choice
        some = tuple(each for each in wanted.targets if each in targets)
        yield _head(replace(wanted, targets=some), asked.constraints)
        yield from ["--pre"] if asked.prereleases else []
        yield from asked.text.splitlines()
    for named in wants.named:
        if named.line in every:
            told.add(named.line)
            yield f"{_head(named.choice or choice)} --latest {named.latest}"
            yield named.line
    if others := [line for line in every if line not in told]:
        yield _head(choice)
        yield from others


def _by_target(needs: ResolvedFiles) -> dict[Requirements, list[Target]]:
    found: dict[Requirements, list[Target]] = {}
    for asked, target in needs.unresolved:
        found.setdefault(asked, []).append(target)
    return found


def _head(choice: FileFilter, constraints: str = "") -> str:
    """Every Python on every platform, as choices are made."""
    words = [word for each in choice.targets for word in ("--python", each.python)]
    words += [word for each in choice.targets for word in ("--platform", each.platform)]
    pairs = dict.fromkeys(zip(words[::2], words[1::2], strict=True))
    pairs |= dict.fromkeys(("--constrain", line) for line in constraints.splitlines())
    flags = (*_SDISTS[choice.sdists], *(["--all-files"] if choice.all_files else []))
    return shlex.join([*(word for pair in pairs for word in pair), *flags])
