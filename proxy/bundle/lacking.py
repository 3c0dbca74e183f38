"""What is missing as a list that ``warm -`` reads: see ``sources.missing``. Pure.

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

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import replace

from proxy.bundle.choice import FileFilter
from proxy.bundle.needs import Missing, ResolvedFiles
from proxy.bundle.targets import Target
from proxy.bundle.wants import Requirements, SourceRequirements

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
