"""``waystation bundle``: an archive of what a cache holds, made here and imported elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from proxy.bundle import Bundle, BundleFailed, make_keys
from proxy.cli.bundle_create import create_command
from proxy.cli.bundle_import import import_command, verify_command
from proxy.cli.bundle_report import (
    READABLE_OR_DASH,
    WRITABLE,
    about,
    facts,
    json_option,
    listing,
    opened,
    print_json,
)


@click.group("bundle")
def command() -> None:
    """Carry a cache to where there is no network.

    A bundle is one tar archive of pages and files out of the cache, with a manifest and the
    digest of every byte. Private distributions are not in the cache, and so not in a bundle:
    copy their directory beside it. For every FILE, "-" is standard input or output.
    """


command.add_command(create_command)
command.add_command(verify_command)
command.add_command(import_command)


@command.command("show")
@click.argument("file", type=READABLE_OR_DASH)
@click.option("--manifest", is_flag=True, help="Print the manifest, as JSON, and nothing else.")
@json_option
def show_command(file: Path, manifest: bool, as_json: bool) -> None:
    """List what FILE holds: totals, then one line a file with bytes, sha256, name, upload time.

    Only the list at the beginning of FILE is read: "verify" checks the files themselves.

    What --manifest prints can be given to `create --since` in place of the bundle.
    """
    with opened(file) as source:
        bundle = Bundle(source)
    if manifest:
        click.echo(bundle.content, nl=False)
    elif as_json:
        print_json(about(bundle))
    else:
        click.echo("\n".join([*facts(bundle), *listing(bundle.manifest)]))


@command.command("key")
@click.argument("file", type=WRITABLE)
def key_command(file: Path) -> None:
    """Make a key pair: the private key FILE, for `create --sign`, and FILE.pub, for `--trust`."""
    try:
        public = make_keys(file)
    except OSError as error:
        raise BundleFailed(f"{error.filename or file} cannot be written", error) from error
    click.echo(f"{file} is for you alone; give {public} to those who import")
