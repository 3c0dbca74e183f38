"""``waystation ready``: does the cache have all that some builds need?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import msgspec

from proxy.bundle.choice import Choice
from proxy.bundle.lacking import lines
from proxy.bundle.progress import display
from proxy.bundle.ready import Readiness, ready
from proxy.bundle.wants import Wants
from proxy.cli.options import settings_options
from proxy.cli.reporting import facts, quiet_logs, tell_missing
from proxy.cli.source_options import given, read_sources, source_options
from proxy.sizes import size_text
from proxy.sources import load


@click.command("ready")
@source_options
@settings_options
@click.option("--verify", is_flag=True, help="Hash every file again; drop what is damaged.")
@click.option(
    "--install", is_flag=True, help="Install it for this machine too, into a scratch environment."
)
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but what is missing.")
@click.option("--json", "as_json", is_flag=True, help="Report on standard output as JSON.")
def command(
    config: Path | None, verify: bool, install: bool, quiet: bool, as_json: bool, **flags: Any
) -> None:
    """Say, without a network, whether all that the sources need is held for every target.

    Sources and targets are those of "warm". What is missing goes to standard output, with the
    targets where they matter: "waystation ready ... | waystation warm -" fetches it. Then the
    exit status is 1.
    """
    wanted = given(flags)
    settings = load(flags, config).settings
    quiet_logs(settings)
    wants, choice = read_sources(**wanted)
    work = ready(settings, wants, choice, display(quiet=quiet), verify=verify, install=install)
    verdict = asyncio.run(work)
    _tell(verdict, wants, choice, quiet=quiet, as_json=as_json)
    raise SystemExit(0 if verdict.complete else 1)


def _tell(verdict: Readiness, wants: Wants, choice: Choice, *, quiet: bool, as_json: bool) -> None:
    needs = verdict.needs
    if as_json:
        told = {"complete": verdict.complete, "installed": verdict.installed}
        click.echo(msgspec.json.encode(told | facts(needs, choice, verdict.missing)))
    for each in () if quiet else needs.notes:
        click.echo(f"note: {each}", err=True)
    tell_missing(verdict.missing, needs.skipped)
    for line in () if as_json else lines(needs, verdict.missing, wants, choice):
        click.echo(line)
    if not quiet and verdict.complete:
        click.echo(f"ready: {len(needs.files)} files, {size_text(needs.size)}, for", err=True)
        for target in choice.targets:
            click.echo(f"  {target}", err=True)
