"""The real set: 90 wheels with the sizes, METADATA and entries of a real install.

The numbers are in ``real_set.json``. Contents are incompressible, so that installers work as hard
as with the real distributions. The projects depend on each other as those of ``graph``, in one
version each. The wheels are made once and kept in the temporary folder.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import graph
from tests.support.distributions import core_metadata, make_wheel, spelled

NUMBERS = Path(__file__).with_name("real_set.json")
VERSION = "1.3"
"""Every specifier of ``graph`` admits it."""
LAYOUT = "1"
"""Part of the folder's name; another one makes the wheels again."""
OTHER_ENTRIES = 4
"""A module, METADATA, WHEEL and RECORD."""
FOLDER_ENTRIES = 40
PROSE = (
    "archive",
    "value",
    "of",
    "a",
    "client",
    "reads",
    "which",
    "the",
    "page",
    "settings",
    "when",
)


class Shape(NamedTuple):
    """Of one distribution: bytes of the wheel, bytes of METADATA, entries of the archive."""

    size: int
    metadata: int
    entries: int


def wheels() -> Path:
    """The folder with the wheels, made at the first use."""
    digest = hashlib.sha256(NUMBERS.read_bytes()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / "waystation-benchmarks" / f"real-{LAYOUT}-{digest}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix="making-", dir=folder.parent))
        for project, shape in zip(projects(), shapes(), strict=True):
            _write(making, project, shape)
        try:
            making.rename(folder)
        except OSError:  # another run has made them meanwhile
            shutil.rmtree(making)
    return folder


def shapes() -> list[Shape]:
    """In an order that is the same on every run; sizes do not follow the dependencies."""
    found = [Shape(*row) for row in json.loads(NUMBERS.read_text())["rows"]]
    random.Random(90).shuffle(found)
    return found


def projects() -> list[graph.Project]:
    """The projects that an install of ``graph.roots()`` needs."""
    spare = set(graph.roots(similar=True)) - set(graph.roots())
    return [each for each in graph.projects() if each.name not in spare]


def _write(folder: Path, project: graph.Project, shape: Shape) -> None:
    """Write a wheel of the wanted size, but for a few bytes."""
    payload = 0
    for _ in range(3):  # deflate needs some more bytes than the payload has
        size = _wheel(folder, project, shape, payload).stat().st_size
        payload = max(0, payload + shape.size - size)


def _wheel(folder: Path, project: graph.Project, shape: Shape, payload: int) -> Path:
    members = dict(_members(project.name, shape.entries - OTHER_ENTRIES, payload))
    info = f"{spelled(project.name)}-{VERSION}.dist-info"
    members[f"{info}/METADATA"] = _metadata(project, shape.metadata)
    return make_wheel(folder, project.name, VERSION, files=members)


def _members(name: str, count: int, payload: int) -> Iterator[tuple[str, bytes]]:
    """Files of very different sizes, ``payload`` bytes in all."""
    chance = random.Random(name)
    for number, size in enumerate(_shares(chance, count, payload)):
        folder = f"{spelled(name)}/part_{number // FOLDER_ENTRIES:02}"
        yield f"{folder}/data_{number:04}.dat", chance.randbytes(size)


def _shares(chance: random.Random, count: int, payload: int) -> Sequence[int]:
    weights = list(itertools.accumulate(chance.lognormvariate(0, 1.5) for _ in range(count)))
    ends = [0, *(int(payload * weight / weights[-1]) for weight in weights[:-1]), payload]
    return [end - start for start, end in itertools.pairwise(ends)]


def _metadata(project: graph.Project, size: int) -> bytes:
    """Ends with a description that makes it as long as it has to be."""
    head = core_metadata(project.name, VERSION, project.requires, ">=3.8") + b"\n"
    chance = random.Random(project.name)
    words = itertools.count()
    text = io.StringIO()
    while text.tell() < size:
        end = "\n" if next(words) % 12 == 11 else " "
        text.write(chance.choice(PROSE) + end)
    return head + text.getvalue().encode()[: max(0, size - len(head))]
