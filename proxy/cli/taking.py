"""Shared by ``pull`` and ``import``: options, the run over all offers of a source, the report."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from proxy.cli.published import editor_here, publisher_of
from proxy.composition import Proxy, open_mirror
from proxy.config import TOKEN_VARIABLE, MirrorTable, Settings
from proxy.distributions import parse_filename
from proxy.errors import ConfigurationError, ProxyError
from proxy.indexes import Mirror
from proxy.migration import Intake, IntakeResult, LeftOut, Offer, PackageSource, StatusOffer
from proxy.model import ProjectName
from proxy.runtime import count_text, printable_text, size_text
from proxy.upstream import mask

F = TypeVar("F", bound=Callable[..., Any])
_INTAKE_OPTIONS = (
    click.option("--to", "target", metavar="INDEX", help="Default: the one at the root."),
    click.option("--dry-run", is_flag=True, help="Say what would be taken, and change nothing."),
    click.option(
        "--owner",
        "owners",
        multiple=True,
        metavar="USER",
        help="Owner of projects that are new to the index. Repeatable. Default: none, so that the"
        " next user who uploads owns them.",
    ),
    click.option(
        "--no-provenance", is_flag=True, help="Take files without their attestations (PEP 740)."
    ),
    click.option("--username", metavar="NAME", help="For an address. Default: __token__."),
    click.option(
        "--file-host",
        "file_hosts",
        multiple=True,
        metavar="HOST",
        help="Host of an internal network to which links of the index may lead. Repeatable.",
    ),
)
_INTAKE_PARAMETERS = ("target", "dry_run", "owners", "no_provenance", "username", "file_hosts")


@dataclass(frozen=True, slots=True)
class TakingOptions:
    """As on the command line."""

    target: str | None
    dry_run: bool
    owners: Sequence[str]
    no_provenance: bool
    username: str | None
    file_hosts: Sequence[str]


def taking_options(function: F) -> F:
    for option in reversed(_INTAKE_OPTIONS):
        function = option(function)
    return function


def take_options(flags: dict[str, Any]) -> TakingOptions:
    """Remove the values of ``taking_options`` from all flags, and return them."""
    return TakingOptions(**{name: flags.pop(name) for name in _INTAKE_PARAMETERS})


@asynccontextmanager
async def open_index(
    url: str, options: TakingOptions, settings: Settings, proxy: Proxy
) -> AsyncIterator[Mirror]:
    """The index at an address; its files are not kept in the cache.

    Raises ``ConfigurationError``.
    """
    if settings.offline:
        raise ConfigurationError("offline", f"{mask(url)} cannot be asked", "give --online")
    largest = publisher_of(proxy, options.target).limits.max_file
    table = _mirror_of(url, options, largest)
    # An incomplete file, after a user interrupted the command, is of no use to others.
    settings = settings.of_index(table).model_copy(update={"shutdown_grace": 0.0})
    shared = proxy.cache, proxy.events, time.time, proxy.traffic
    opened = open_mirror(mask(url), table, settings, *shared, lists_refused_hosts=True)
    async with opened as mirror:
        yield mirror


def _mirror_of(url: str, options: TakingOptions, largest: int) -> MirrorTable:
    """``largest``: bytes of a file. Raises ``ConfigurationError``."""
    token = os.environ.get(TOKEN_VARIABLE) or None
    table = {
        "kind": "mirror",
        "url": url,
        "username": options.username or (token and "__token__"),
        "password": token,
        "file_hosts": options.file_hosts,
        "mode": "stream",
        "extra_files": True,
        "on_changed_file": "accept",  # files are compared with those of the local index
        "stale_if_error": 0,
        "speculate": "off",
        "list_upstream": True,
        "max_file_size": largest,
    }
    try:
        return MirrorTable.model_validate(table)
    except ValidationError:
        problem = f"{mask(url)} is no address of an index"
        raise ConfigurationError("URL", problem, "use https://host/path/") from None


@dataclass(slots=True)
class _Tally:
    taken: int = 0
    size: int = 0
    present: int = 0
    refused: int = 0
    left_out: int = 0
    claimed: dict[str, bool] = field(default_factory=dict)
    """New names, and whether an upstream has them too."""


async def take_all(
    proxy: Proxy,
    source: PackageSource,
    options: TakingOptions,
    wants: Callable[[ProjectName], bool] = lambda project: True,
) -> None:
    """Take what the source offers of these projects, one file after the other, and report each.

    Exit status 1 if a file was not taken.
    """
    tally = _Tally()
    intake = Intake(
        publisher_of(proxy, options.target),
        editor_here(),
        source.label,
        owners=options.owners,
        with_provenance=not options.no_provenance,
        claimed=lambda project, public: tally.claimed.update({project: public}),
    )
    found = [each async for each in source.found()]
    offers = [each for each in found if isinstance(each, Offer) and _is_of(each, wants)]
    for number, offer in enumerate(offers, 1):
        await _take(intake, offer, f"[{number}/{len(offers)}]", tally, dry_run=options.dry_run)
    statuses = (each for each in found if isinstance(each, StatusOffer) and wants(each.project))
    for each in statuses if not tally.refused else ():
        await _take_status(intake, each, tally, dry_run=options.dry_run)
    _report(tally, (each for each in found if isinstance(each, LeftOut)), options)
    if tally.refused:
        sys.exit(1)


def _is_of(offer: Offer, wants: Callable[[ProjectName], bool]) -> bool:
    """Whether an offer is of such a project; one that names no project is, to be reported."""
    said = parse_filename(offer.filename)
    project = offer.project or (said and said.project)
    return project is None or wants(project)


async def _take(intake: Intake, offer: Offer, count: str, tally: _Tally, *, dry_run: bool) -> None:
    name, place = printable_text(offer.filename), printable_text(offer.place)
    size = offer.size or 0
    try:
        if dry_run:
            done = await intake.examine(offer)
        else:
            done, size = await _with_progress(intake, offer, f"{count} {name}")
    except ProxyError as error:
        tally.refused += 1
        click.echo(f"refused {place}: {printable_text(str(error))}", err=True)
        return
    if done is IntakeResult.PRESENT:
        tally.present += 1
        click.echo(f"skipped {name}: the index has the same bytes already")
        return
    if done is IntakeResult.YANKED:
        tally.present += 1
        click.echo(f"{'would yank' if dry_run else 'yanked'} {name}: it is yanked at the source")
        return
    tally.taken += 1
    tally.size += size
    unverified = "" if offer.hashes else " (the source names no digest)"
    click.echo(f"{'would take' if dry_run else 'took'} {name}{unverified}")


async def _take_status(intake: Intake, offer: StatusOffer, tally: _Tally, *, dry_run: bool) -> None:
    """An archived project takes no more files, so its status comes last."""
    said = f"{offer.project}: it is {offer.status.status} at the source"
    try:
        done = await (intake.lacks_status(offer) if dry_run else intake.take_status(offer))
    except ProxyError as error:
        tally.refused += 1
        click.echo(f"refused the status of {said}: {printable_text(str(error))}", err=True)
        return
    if done:
        click.echo(f"{'would set' if dry_run else 'set'} the status of {said}")


async def _with_progress(intake: Intake, offer: Offer, label: str) -> tuple[IntakeResult, int]:
    """Take a file, with a bar on a terminal, else a line; also its size in bytes."""
    with click.progressbar(length=offer.size or 0, label=label, file=sys.stderr) as bar:
        done = await intake.take(offer, lambda size: bar.update(size - bar.pos))
        return done, bar.pos


def _report(tally: _Tally, left_out: Iterable[LeftOut], options: TakingOptions) -> None:
    for each in left_out:
        tally.refused += not each.is_expected
        tally.left_out += each.is_expected
        how = "left out" if each.is_expected else "refused"
        click.echo(f"{how} {printable_text(each.place)}: {printable_text(each.reason)}", err=True)
    for project, public in tally.claimed.items():
        hidden = ": an upstream has it too, and its files are hidden from now on" if public else ""
        click.echo(f"{'would claim' if options.dry_run else 'claimed'} {project}{hidden}")
    taken = f"{count_text(tally.taken, 'file')} ({size_text(tally.size)})"
    click.echo(
        f"{taken} {'would be taken' if options.dry_run else 'taken'}, {tally.present} there"
        f" already, {tally.refused} refused, {tally.left_out} others left out"
    )
