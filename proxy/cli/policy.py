"""``waystation policy test``: which pins of lock files the rules of a settings file refuse.

What clients received lately, as the audit remembers it, can be judged in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
import msgspec
from packaging.requirements import InvalidRequirement, Requirement

from proxy.audit import Result, Wanted, find
from proxy.cli.options import instant, settings_options
from proxy.cli.source_options import (
    log_errors_only,
    read_sources,
    source_options,
    take_source_options,
)
from proxy.composition import open_proxy
from proxy.config import Settings, audit_folder, load_settings
from proxy.distributions import same_version, version_of
from proxy.errors import ProxyError
from proxy.events import RequestKind
from proxy.indexes import Explanation, Index
from proxy.model import File, ProjectName, normalize
from proxy.policies import Verdict
from proxy.requirements import FileFilter, SourceRequirements

MAX_PARALLEL_PAGES = 16
"""Pages that are requested at once."""

Judgement = Literal["passes", "exempt", "observed", "refused", "absent", "unjudged"]


@dataclass(frozen=True, slots=True)
class Pin:
    """One version that a lock file names, with the digests of its files, if it has any."""

    project: ProjectName
    version: str
    digests: frozenset[str] = frozenset()
    """Each ``<algorithm>:<hex>``."""
    index: str = ""
    """The name of the index that judges; empty: the one at the root."""

    def matches(self, file: File) -> bool:
        version = version_of(file.filename, self.project)
        if version is None or not same_version(version, self.version):
            return False
        mine = {f"{name}:{digest}" for name, digest in file.hashes.items()}
        return not self.digests or not self.digests.isdisjoint(mine)


@dataclass(frozen=True, slots=True)
class PinResult:
    pin: Pin
    judgement: Judgement
    rule: str = ""
    reason: str = ""

    def __str__(self) -> str:
        rule = f" by rule {self.rule}" if self.rule else ""
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.judgement:9} {self.pin.project} {self.pin.version}{rule}{reason}"


@click.group("policy")
def command() -> None:
    """Try rules before they are in force."""


@command.command("test")
@source_options
@settings_options
@click.option(
    "--settings",
    "proposed",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Judge by this settings file, which need not be in force; default: that of --config.",
)
@click.option(
    "--recorded",
    callback=instant,
    metavar="TIME",
    help="Also all versions that clients received since then, by the audit: 30d ago, or a date.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results in JSON.")
def policy_test(
    config: Path | None,
    proposed: Path | None,
    recorded: float | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Say for each pin of lock files whether the rules let it pass.

    Sources are those of "warm": uv.lock, pylock.toml, poetry.lock, pdm.lock, or requirements
    with exact versions; or the audit, by --recorded. Pages that are not in the cache are
    requested from upstream. Exit status 1 if an enforced rule refuses a pin, or a pin cannot be
    judged.
    """
    given, wanted, pins = take_source_options(flags), SourceRequirements(), list[Pin]()
    if recorded is not None:
        pins += recorded_pins(load_settings(flags, config).settings, recorded)
    if recorded is None or given["sources"] or given["logs"]:
        wanted, file_filter = read_sources(**given)
        pins += pins_of(wanted, file_filter)
    settings = load_settings(flags, proposed or config).settings
    log_errors_only(settings)
    results = asyncio.run(judge_pins(settings, pins))
    if as_json:
        click.echo(msgspec.json.encode([_values(each) for each in results]))
    else:
        for each in results:
            click.echo(str(each))
        for skip in wanted.skipped:
            click.echo(f"not judged: {skip}", err=True)
    bad = {"refused", "absent", "unjudged"}
    raise SystemExit(1 if any(each.judgement in bad for each in results) else 0)


def _values(result: PinResult) -> Mapping[str, str]:
    pin = result.pin
    return {
        "project": pin.project,
        "version": pin.version,
        "judgement": result.judgement,
        "rule": result.rule,
        "reason": result.reason,
    }


def pins_of(wanted: SourceRequirements, file_filter: FileFilter) -> list[Pin]:
    """The exact versions that sources name, sorted, each once."""
    found: dict[tuple[ProjectName, str], set[str]] = {}
    for file in wanted.files:
        if file_filter.accepts(file.filename, file.targets):
            digests = found.setdefault((file.project, file.version), set())
            digests.update(f"{name}:{digest}" for name, digest in file.hashes.items())
    for version in wanted.versions:
        found.setdefault((version.project, version.version), set()).update(version.digests)
    for pair in _exact_lines(line for each in wanted.requirements for line in each.lines):
        found.setdefault(pair, set())
    return [Pin(*pair, frozenset(found[pair])) for pair in sorted(found)]


def recorded_pins(settings: Settings, since: float) -> list[Pin]:
    """The versions that clients received since that Unix time, sorted, each once for each index.

    Raises ``ConfigurationError`` if there is no audit.
    """
    wanted = Wanted(
        kinds=frozenset({RequestKind.FILE}), results=frozenset({Result.RECEIVED}), since=since
    )
    found: dict[tuple[ProjectName, str, str], set[str]] = {}
    for each in find(audit_folder(settings), wanted):
        digests = found.setdefault((ProjectName(each.project), each.version, each.index), set())
        algorithm, dash, digest = each.digest.rpartition("-")
        if digest:
            digests.add(f"{algorithm if dash else 'sha256'}:{digest}")
    return [
        Pin(project, version, frozenset(found[project, version, index]), index)
        for project, version, index in sorted(found)
        if version
    ]


def _exact_lines(lines: Iterable[str]) -> Iterator[tuple[ProjectName, str]]:
    for line in lines:
        try:
            requirement = Requirement(line.partition(" --")[0].partition(" #")[0].strip())
        except InvalidRequirement:
            continue
        specifiers = list(requirement.specifier)
        if len(specifiers) == 1 and specifiers[0].operator in ("==", "==="):
            yield normalize(requirement.name), specifiers[0].version


async def judge_pins(settings: Settings, pins: Iterable[Pin]) -> list[PinResult]:
    """Judge each pin by the policies of the served index."""
    async with open_proxy(settings.model_copy(update={"speculate": "off"})) as proxy:
        slots = asyncio.Semaphore(MAX_PARALLEL_PAGES)

        async def judge(pin: Pin) -> PinResult:
            async with slots:
                return await _judge(proxy.indexes.get(pin.index) or proxy.index, pin)

        return list(await asyncio.gather(*map(judge, pins)))


async def _judge(index: Index, pin: Pin) -> PinResult:
    refused = ""
    try:
        await index.page(pin.project)  # so that the page is in the cache
    except ProxyError as error:
        refused = str(error)
    found = await index.explain(pin.project)
    if found.listed is None:
        last = found.steps[-1]
        judgement: Judgement = "refused" if last.result == "refused" else "unjudged"
        return PinResult(pin, judgement, last.rule, last.detail or refused)
    files = [file for file in found.listed.files if pin.matches(file)]
    if not files:
        return PinResult(
            pin, "absent", reason=f"the page of {found.listed.source} has no such file"
        )
    for file in files:  # rules learn of a file what its page does not say when it is requested
        with suppress(ProxyError):
            await index.file(pin.project, file.filename, file.address_digest)
    return _judge_files(pin, [file.filename for file in files], await index.explain(pin.project))


def _judge_files(pin: Pin, files: Iterable[str], found: Explanation) -> PinResult:
    """The worst verdict on any of the files: installers may choose each."""
    groups: tuple[tuple[Judgement, Mapping[str, tuple[Verdict, ...]]], ...] = (
        ("refused", found.refusals),
        ("observed", found.observed),
        ("exempt", found.exempted),
    )
    for judgement, verdicts in groups:
        for verdict in (each for name in files for each in verdicts.get(name, ())):
            if verdict.spares_locked and pin.digests:
                continue
            reason = verdict.exemption or verdict.reason
            return PinResult(pin, judgement, verdict.rule, reason)
    return PinResult(pin, "passes")
