"""Bundles as files on the command line, and how far the work on one has got."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import click

from proxy.bundle.archive.refused import BundleFailed
from proxy.bundle.archive.source import ByteSource

READABLE = click.Path(exists=True, dir_okay=False, path_type=Path)
READABLE_OR_DASH = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
WRITABLE = click.Path(dir_okay=False, path_type=Path)
DASH = Path("-")
"""Standard input, or standard output."""


@contextmanager
def opened(file: Path, *, hashed: bool = False) -> Iterator[ByteSource]:
    """Raises ``BundleFailed``."""
    try:
        stream = _standard_input() if file == DASH else file.open("rb", buffering=0)
    except OSError as error:
        raise BundleFailed(f"{file} cannot be read", error) from error
    with stream:
        yield ByteSource(stream, hashed=hashed)


def _standard_input() -> FileIO:
    return FileIO(0, "rb", closefd=False)


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar for people, nothing where there is no terminal; ``total`` in bytes."""
    if not sys.stderr.isatty():
        yield lambda size: None
        return
    with click.progressbar(length=total, file=sys.stderr) as bar:
        yield bar.update
