"""The documents, and the code blocks in them with the directives that say how to run each.

A directive is an HTML comment on a line of its own, which no reader of the page sees:

``run``             run the block below; it has to succeed
``run: without VARIABLE``  the same, without this variable of the environment
``serve``           start the block below as a server, and wait until it is ready
``serve: COMMAND``  start this command so, where the text has no block for it
``stop``            end the server
``background``      start the block below, and end it with the document; ``without``, too
``file: NAME``      write the block below into this file
``wait: URL``       wait until this address answers
``machine: NAME; carry: FILES``  go on with another home, into which these files are copied
``not run: REASON`` the block below needs what a test does not have
``needs: TOOL``     skip the rest of the document where this tool could not be installed
``command: NAME``   ``.ci/run`` runs the block below, on a clean clone
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
NAMES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "benchmarks/README.md")
PATHS = [*map(ROOT.joinpath, NAMES), *sorted((ROOT / "docs").glob("*.md"))]

_DIRECTIVE = re.compile(r"<!-- ([a-z ]+)(?:: (.+))? -->")
ON_BLOCK = {"run", "serve", "background", "file", "not run", "command"}
ALONE = {"serve", "stop", "wait", "machine", "needs"}
FILLED_BY_PROGRAMS = {"results", "end of results", "request path", "end of request path"}
"""Comments around tables that the benchmarks write."""


class Step(NamedTuple):
    line: int
    """Of the directive, or of a block without one."""
    directive: str
    """Empty for a block without one."""
    argument: str
    language: str
    text: str
    """Of the block; empty for a directive that stands alone."""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def steps(path: Path) -> Iterator[Step]:
    """Directives and code blocks, in the order of the document."""
    lines = path.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        found = _DIRECTIVE.fullmatch(lines[number])
        start = number + 1 if found else number
        if start < len(lines) and lines[start].startswith("```"):
            end = lines.index("```", start + 1)
            directive, argument = found.groups("") if found else ("", "")
            text = "\n".join(lines[start + 1 : end])
            yield Step(number + 1, directive, argument, lines[start][3:], text)
            number = end
        elif found and found[1] not in FILLED_BY_PROGRAMS:
            yield Step(number + 1, found[1], found[2] or "", "", "")
        number += 1


def prose(path: Path) -> str:
    """The text without its code blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
