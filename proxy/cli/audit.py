"""``waystation audit``: who received, or was refused, which files."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from proxy.audit import AuditQuery, ClientNames, Found, Result, find
from proxy.cli.admin_client import act
from proxy.cli.options import instant
from proxy.config import TOKEN_VARIABLE, Settings, audit_folder, load_settings
from proxy.errors import ConfigurationError
from proxy.events import RequestKind
from proxy.runtime import count_text, timestamp_text

KINDS = {
    "file": {RequestKind.FILE},
    "metadata": {RequestKind.METADATA},
    "page": {RequestKind.PAGE},
    "change": {RequestKind.CHANGE},
    "all": frozenset[RequestKind](),
}
BY: dict[str, Callable[[Found], str]] = {
    "client": lambda found: found.client or "-",
    "principal": lambda found: found.principal or "-",
    "tool": lambda found: str(found.tool),
    "version": lambda found: f"{found.project} {found.version or '-'}",
    "rule": lambda found: found.rule or "-",
}


class Group(msgspec.Struct):
    """Answers that have one value of what they are grouped by."""

    first: float = float("inf")
    last: float = 0.0
    number: int = 0
    bytes: int = 0
    results: Counter[str] = msgspec.field(default_factory=Counter)

    def add(self, found: Found) -> None:
        self.first, self.last = min(self.first, found.first), max(self.last, found.last)
        self.number += found.number
        self.bytes += found.bytes
        self.results[found.result] += found.number


@click.command("audit")
@click.option("--project", metavar="NAME", help="About this project.")
@click.option("--version", "versions", metavar="SPEC", help="Its versions, such as ==2.32.0.")
@click.option("--sha256", "--digest", "digest", default="", help="About the file with this digest.")
@click.option("--index", default="", metavar="NAME", help="Requested from this index.")
@click.option("--client", default="", metavar="ADDRESS", help="By this client.")
@click.option("--principal", default="", metavar="NAME", help="By this principal.")
@click.option("--rule", default="", metavar="NAME", help="Refused or observed by this rule.")
@click.option("--refused", is_flag=True, help="Only what was refused.")
@click.option(
    "--result",
    "results",
    multiple=True,
    type=click.Choice([each.value for each in Result]),
    help="Only with this result. Repeatable.",
)
@click.option(
    "--kind",
    type=click.Choice(list(KINDS)),
    default="file",
    help="What was requested. Who requests pages is known only if the settings say so. Default:"
    " file.",
)
@click.option("--since", callback=instant, metavar="TIME", help="From then on: 30d ago, or a date.")
@click.option("--until", callback=instant, metavar="TIME", help="Before then.")
@click.option("--by", type=click.Choice(list(BY)), help="Add up by this.")
@click.option("--json", "as_json", is_flag=True, help="Print a list in JSON.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings file.")
@click.option(
    "--cache-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Directory of cached pages and files.",
)
@click.option(
    "--via",
    metavar="URL",
    multiple=True,
    help="Ask the server at this address. Repeatable: the answers of all replicas, put together."
    f" Its token: {TOKEN_VARIABLE} or ~/.netrc.",
)
def command(
    by: str | None,
    as_json: bool,
    config: Path | None,
    cache_dir: Path | None,
    via: tuple[str, ...],
    **asked: Any,
) -> None:
    """Say who received, or was refused, which files: waystation audit --project requests

    "received" means that this server sent all bytes. It says nothing about an installation from
    a cache of the client, which the server does not see. Exit status 1 if nothing is found.
    """
    question = _question(**asked)
    if via:
        found = [each for server in via for each in _find_there(server, question)]
    else:
        settings = load_settings({"cache_dir": cache_dir}, config).settings
        found = list(find_here(settings, question))
    found.sort(key=_order)
    for line in _grouped(found, BY[by], by, as_json) if by else _listed(found, as_json):
        click.echo(line)
    if not found:
        click.echo("the audit has no such answer", err=True)
    raise SystemExit(0 if found else 1)


def _order(found: Found) -> tuple[object, ...]:
    return found.last, found.project, found.filename, found.client, found.result


def _question(
    *,
    versions: str | None,
    refused: bool,
    results: tuple[str, ...],
    kind: str,
    project: str | None,
    **same: Any,
) -> AuditQuery:
    if versions and not project:
        raise ConfigurationError("--version", "it needs a project", "give --project too")
    chosen = {Result.REFUSED} if refused else map(Result, results)
    return AuditQuery(
        project=project or "",
        versions=versions or "",
        results=frozenset(chosen),
        kinds=frozenset(KINDS["all" if refused and kind == "file" else kind]),
        **same,
    )


def find_here(settings: Settings, asked: AuditQuery) -> Iterator[Found]:
    """Answers in the audit of these settings, which may remember hashes of client and principal.

    Raises ``ConfigurationError`` if the query is wrong, or nothing is recorded.
    """
    folder = audit_folder(settings)
    assert settings.audit
    names, now = ClientNames(settings.audit.clients, folder), time.time()
    client, principal = names.of(asked.client, now), names.of(asked.principal, now)
    wanted = msgspec.structs.replace(asked.wanted(), client=client, principal=principal)
    return find(folder, wanted)


def _find_there(via: str, asked: AuditQuery) -> list[Found]:
    """Raises as ``ask``."""
    given = {name: value for name, value in msgspec.to_builtins(asked).items() if value}
    return msgspec.convert(act(via, "audit", **given)["answers"], list[Found])


def _listed(found: Iterable[Found], as_json: bool) -> Iterator[str]:
    if as_json:
        yield _json([_with_times(msgspec.to_builtins(each)) for each in found])
        return
    for each in found:
        what = each.filename or f"the page of {each.project}"
        rule = f" by rule {each.rule}: {each.reason}" if each.rule else ""
        yield (
            f"{timestamp_text(each.last)}  {each.result:10} {each.number:6}  {each.client or '-'}"
            f"  {each.principal or '-'}  {each.tool}  {what}{rule}"
        )


def _grouped(
    found: Iterable[Found], key: Callable[[Found], str], by: str | None, as_json: bool
) -> Iterator[str]:
    groups: dict[str, Group] = {}
    for each in found:
        groups.setdefault(key(each), Group()).add(each)
    ordered = sorted(groups.items(), key=lambda pair: (-pair[1].last, pair[0]))
    if as_json:
        rows = [{str(by): name} | msgspec.to_builtins(group) for name, group in ordered]
        yield _json(list(map(_with_times, rows)))
        return
    for name, group in ordered:
        results = ", ".join(f"{result} {count}" for result, count in sorted(group.results.items()))
        yield f"{timestamp_text(group.last)}  {name}  {results}"
    yield f"{count_text(len(ordered), str(by))}"


def _with_times(values: dict[str, Any]) -> dict[str, Any]:
    return values | {name: timestamp_text(values[name]) for name in ("first", "last")}


def _json(values: object) -> str:
    return msgspec.json.format(msgspec.json.encode(values), indent=2).decode()
