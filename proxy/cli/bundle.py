"""``waystation bundle``: archives of a cache, created here and imported elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from proxy.bundle import Bundle, BundleIOError, create_key_pair
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
    verdict_lines,
)


@click.group("bundle")
def command() -> None:
    """Move a cache to a machine without a network.

    A bundle is a tar archive of pages and files of the cache, with a manifest of their digests.
    Private distributions are not in the cache and not in a bundle: copy their directory as well.
    For every FILE, "-" means standard input or output.
    """


command.add_command(create_command)
command.add_command(verify_command)
command.add_command(import_command)


@command.command("show")
@click.argument("file", type=READABLE_OR_DASH)
@click.option("--manifest", is_flag=True, help="Print only the manifest, in JSON.")
@json_option
def show_command(file: Path, manifest: bool, as_json: bool) -> None:
    """List the content of a bundle.

    Prints totals, then a line for each file: bytes, sha256, filename, upload time. Only the
    manifest at the beginning of FILE is read; "waystation bundle verify" checks the files.

    The output of --manifest can replace the bundle in "create --since".
    """
    with opened(file) as source:
        bundle = Bundle(source)
    if manifest:
        click.echo(bundle.manifest_json, nl=False)
    elif as_json:
        print_json(about(bundle))
    else:
        click.echo(
            "\n".join([*facts(bundle), *listing(bundle.manifest), *verdict_lines(bundle.manifest)])
        )


@command.command("key")
@click.argument("file", type=WRITABLE)
def key_command(file: Path) -> None:
    """Create a key pair for signing bundles.

    FILE is the private key, for "create --sign"; FILE.pub is the public key, for "--trust".
    """
    try:
        public = create_key_pair(file)
    except OSError as error:
        raise BundleIOError(f"{error.filename or file} cannot be written", error) from error
    click.echo(f"keep {file} secret; give {public} to those who import your bundles")
