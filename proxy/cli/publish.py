"""Commands that upload files to an index, as its legacy upload API takes them: publish, push."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import click

from proxy.cli.published import publisher_of, selected, selecting, with_proxy
from proxy.composition import Proxy
from proxy.config import TOKEN_VARIABLE
from proxy.errors import ProxyError, UploadRefused
from proxy.model import SIBLING_SUFFIXES, SIGNATURE, File
from proxy.publish import Promotion, Publisher, is_conflict, outgoing_form, signature_of
from proxy.upstream import OutgoingUpload, UploadClient, check_upload_url, find_credentials

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_URL = "http://127.0.0.1:8080/legacy/"
"""Where a server with its default settings takes uploads."""


class NotPublished(ProxyError):
    """At least one file was not published; the message says which and why."""

    def __str__(self) -> str:
        return str(self.args[0])


_SENDING = (
    click.option("--username", metavar="NAME", help="Default with a token: __token__."),
    click.option(
        "--skip-existing", is_flag=True, help="Files that are there already are no error."
    ),
    click.option("--dry-run", is_flag=True, help="Check the files, and send nothing."),
    click.option(
        "--retries",
        type=click.IntRange(0, 10),
        default=3,
        show_default=True,
        metavar="N",
        help="Further attempts after errors of the network or the server.",
    ),
    click.option(
        "--ca-bundle",
        type=click.Path(exists=True, path_type=Path),
        metavar="FILE",
        help="Authorities (PEM) that are trusted too.",
    ),
)
_SENDING_NAMES = ("username", "skip_existing", "dry_run", "retries", "ca_bundle")


def _sending(function: F) -> F:
    """The options of commands that upload."""
    for option in reversed(_SENDING):
        function = option(function)
    return function


@click.command("publish")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--to",
    "url",
    default=DEFAULT_URL,
    show_default=True,
    metavar="URL",
    help="Address that takes uploads.",
)
@_sending
def publish(files: Sequence[Path], url: str, **options: Any) -> None:
    """Upload wheels and sdists to an index.

    All files are checked before the first one is sent. Signatures (.asc) and attestations
    (.publish.attestation) beside them go along. The password or token is that in the variable
    WAYSTATION_TOKEN, else in the address, else in ~/.netrc.
    """
    uploads = [_prepared(path) for path in files if not path.name.endswith(SIBLING_SUFFIXES)]
    if not uploads:
        raise click.UsageError("none of the files is a wheel or an sdist")
    asyncio.run(_upload(uploads, url, options))


@click.command("push")
@selecting
@click.option("--to", "url", required=True, metavar="URL", help="Address that takes uploads.")
@_sending
def push(url: str, **flags: Any) -> None:
    """Upload files of a local index to another index.

    The password or token is found as by "waystation publish". The upload API has no yanks: yanked
    files are left out.
    """
    options = {name: flags.pop(name) for name in _SENDING_NAMES}
    selection = selected(flags)

    async def run(proxy: Proxy) -> None:
        publisher = publisher_of(proxy, flags["index"])
        files = await Promotion.selected(publisher, selection)
        for file in files:
            if file.yanked is not False:
                click.echo(f"left out {file.filename}: it is yanked", err=True)
        wanted = [file for file in files if file.yanked is False]
        async with _staged(publisher, wanted) as paths:
            uploads = [await asyncio.to_thread(_prepared, path) for path in paths]
            await _upload(uploads, url, options)

    with_proxy(flags, run)


@asynccontextmanager
async def _staged(publisher: Publisher, files: Sequence[File]) -> AsyncIterator[list[Path]]:
    """The files under their names, with their signatures beside them."""
    incoming = publisher.packages.incoming
    incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        folder, paths = Path(stack.enter_context(TemporaryDirectory(dir=incoming))), []
        for file in files:
            content = await stack.enter_async_context(publisher.packages.staged(file, folder))
            paths.append(content.path.rename(folder / file.filename))
            if signature := content.beside.get(SIGNATURE):
                (folder / (file.filename + SIGNATURE)).write_bytes(signature)
        yield paths


async def _upload(uploads: Sequence[OutgoingUpload], url: str, options: Mapping[str, Any]) -> None:
    client = _client(url, options)
    if not options["dry_run"]:
        await _send(client, uploads, skip_existing=options["skip_existing"])
        return
    for upload in uploads:
        click.echo(f"would publish {upload.path.name}")


def _client(address: str, options: Mapping[str, Any]) -> UploadClient:
    check_upload_url(address)
    token, user = os.environ.get(TOKEN_VARIABLE) or None, options["username"]
    if token is not None:
        user = user or "__token__"
    netrc = Path(os.environ.get("NETRC") or os.path.expanduser("~/.netrc"))  # noqa: PTH111
    url, credentials = find_credentials(address, user=user, password=token, netrc=netrc)
    return UploadClient(
        url, credentials, retries=options["retries"], ca_bundle=options["ca_bundle"]
    )


def _prepared(path: Path) -> OutgoingUpload:
    try:
        return OutgoingUpload(path, outgoing_form(path), signature_of(path))
    except UploadRefused as error:
        raise NotPublished(f"nothing was sent: {path}: {error}") from None
    except OSError as error:
        raise NotPublished(f"nothing was sent: {path}: {error.strerror}") from None


async def _send(
    client: UploadClient, uploads: Sequence[OutgoingUpload], *, skip_existing: bool
) -> None:
    """Files go one after the other; the first that is refused ends this."""
    for number, upload in enumerate(uploads, 1):
        name = upload.path.name
        with _progress(f"[{number}/{len(uploads)}] {name}", upload.path.stat().st_size) as sent:
            answer = await client.send(upload, sent)
        if 200 <= answer.status < 300:
            click.echo(f"published {name}")
        elif skip_existing and is_conflict(answer.status, answer.text):
            click.echo(f"skipped {name}: a file of that name is there already")
        else:
            said = " ".join(dict.fromkeys(answer.text.splitlines()))[:500]
            done = f"; published before: {number - 1} of {len(uploads)} files"
            raise NotPublished(f"{name}: {client} answered {answer.status} {said}{done}")


@contextmanager
def _progress(label: str, size: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, else a line; yields what takes the number of bytes sent so far."""
    with click.progressbar(length=size, label=label, file=sys.stderr) as bar:
        yield lambda sent: bar.update(sent - bar.pos)
