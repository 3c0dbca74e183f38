"""``waystation relock``: a lock file that was made against another index is used with this one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkstemp

import click

from proxy.errors import ConfigurationError, reason
from proxy.requirements import NewIndex, open_document, relock
from proxy.runtime import count_text

_ADVICE = {
    "poetry_lock": "Poetry takes packages without a source from the primary source of"
    " pyproject.toml: `poetry source add --priority=primary NAME {address}`, then `poetry lock`",
    "pdm_lock": "PDM takes files without an address from its index: `pdm config pypi.url"
    " {address}`, or PDM_PYPI_URL in the environment",
}
"""The advice for lock files that need not name the index of their files."""


@click.command("relock")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "address",
    required=True,
    metavar="SIMPLE-URL",
    help="The index to use instead, such as https://waystation.example.com/simple/.",
)
@click.option(
    "--from",
    "former",
    multiple=True,
    metavar="URL",
    help="Replace only this index. Several times for several; default: all.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help='Write here instead of changing the file; "-" is standard output.',
)
def command(file: Path, address: str, former: tuple[str, ...], output: Path | None) -> None:
    """Change the addresses in a lock file to those of another index; the digests stay.

    FILE is a uv.lock, poetry.lock, pdm.lock, pylock.toml, or requirements with digests. Nothing
    is requested: installers check the digests as before. What still leads elsewhere is printed.
    """
    index = NewIndex(address, former)
    document = open_document(file)
    kind, content = relock(file, document, index)
    if output == Path("-"):
        sys.stdout.buffer.write(content)
    elif output or content != document.content:
        _write(output or file, content)
    for line in _report(index, kind):
        click.echo(line, err=True)


def _report(index: NewIndex, kind: str) -> Iterator[str]:
    for former, count in sorted(index.replaced.items()):
        what = f"{former} of {count_text(count, 'package')}" if former else f"{count} more"
        if count:
            yield f"replaced: {what}"
    for url, why in index.left.items():
        yield f"left as it is: {url}: {why}"
    if not index.replaced.total():
        yield "nothing is replaced"
    if kind in _ADVICE:
        yield _ADVICE[kind].format(address=index.address)


def _write(path: Path, content: bytes) -> None:
    """Replace the file in one step: a reader sees the former content or the new one.

    Raises ``ConfigurationError``.
    """
    target = path.resolve()  # the file behind a symbolic link
    temporary = None
    try:
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
        fd, temporary = mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
        Path(temporary).replace(target)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        problem = f"{path} cannot be written: {reason(error)}"
        raise ConfigurationError("relock", problem, "name another file with --output") from None
