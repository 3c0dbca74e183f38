"""``waystation explain``: why a project, version or file is shown or not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import click
import msgspec

from proxy.cli.options import settings_options
from proxy.cli.source_options import log_errors_only
from proxy.composition import open_proxy
from proxy.config import Settings, load_settings
from proxy.distributions import parse_filename, parse_targets
from proxy.errors import ConfigurationError, reason
from proxy.explain import Question, Report, explain, hints
from proxy.model import normalize

TIMEOUT = 30.0
"""Seconds in which a server has to answer."""


@click.command("explain")
@click.argument("what")
@click.option("--via", metavar="URL", help="Ask the server at this address, not the cache.")
@click.option("--python", help='The Python to install for, such as "3.12".')
@click.option("--platform", help='The platform to install for, such as "linux".')
@click.option("--json", "as_json", is_flag=True, help="Print the report in JSON.")
@settings_options
def command(
    what: str,
    via: str | None,
    python: str | None,
    platform: str | None,
    as_json: bool,
    config: Path | None,
    **flags: Any,
) -> None:
    """Say why a project, version or file is shown or not: waystation explain requests==2.40.0

    WHAT is a project, a project with a version (NAME==VERSION), or a file name. The answer comes
    from the cache and the settings, without a request to an upstream; with --via, from a server.
    Exit status 1 if nothing of WHAT is shown.
    """
    target = parse_targets([python] if python else [], [platform] if platform else [])[0]
    question = _question(what)
    question = msgspec.structs.replace(question, target=target)
    if via:
        report = _ask_server(via, flags["index"], question)
    else:
        settings = load_settings(flags, config).settings
        log_errors_only(settings)
        report = asyncio.run(_ask_cache(settings, question))
    for line in _json(report) if as_json else _lines(report):
        click.echo(line)
    raise SystemExit(0 if any(file.shown for file in report.files) else 1)


def _question(what: str) -> Question:
    """Raises ``ConfigurationError``."""
    name, _, version = (part.strip() for part in what.partition("=="))
    wanted = version
    if not version and (found := parse_filename(name)):
        name, wanted = found.project, name
    try:
        return Question(normalize(name), wanted)
    except ValueError:
        remedy = "give a project, NAME==VERSION, or a file name"
        raise ConfigurationError("WHAT", f"{what!r} names no project", remedy) from None


async def _ask_cache(settings: Settings, question: Question) -> Report:
    async with open_proxy(settings.model_copy(update={"speculate": "off"})) as proxy:
        return await explain(proxy.index, question, time.time())


def _ask_server(via: str, name: str | None, question: Question) -> Report:
    """Raises ``ConfigurationError`` if the address is not that of a server that explains."""
    parts = [name, "+explain", question.project, question.wanted]
    address = via.rstrip("/") + "".join(f"/{quote(part)}" for part in parts if part)
    query = {"format": "json"}
    if target := question.target:
        query |= {"python": target.python, "platform": target.platform}
    if not address.startswith(("http://", "https://")):
        raise ConfigurationError("--via", f"{via} is no address", "give http://… or https://…")
    request = Request(f"{address}?{urlencode(query)}")  # noqa: S310 (checked above)
    try:
        with urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
            return msgspec.json.decode(answer.read(), type=Report)
    except HTTPError as error:
        problem = f"{address} answers {error.code} {error.reason}"
    except (URLError, OSError) as error:
        problem = f"{address} cannot be reached: {reason(error)}"
    except msgspec.MsgspecError:
        problem = f"{address} does not answer with an explanation"
    raise ConfigurationError("--via", problem, "give the address of a Waystation server")


def _json(report: Report) -> Iterator[str]:
    values = msgspec.to_builtins(report) | {"hints": hints(report)}
    yield msgspec.json.format(msgspec.json.encode(values), indent=2).decode()


def _lines(report: Report) -> Iterator[str]:
    yield f"{report.project} {report.asked}".rstrip() + f" in index {report.index}"
    for step in report.route:
        result = step.result or "asks the next ones"
        rule = f" by rule {step.rule}" if step.rule else ""
        detail = f": {step.detail}" if step.detail else ""
        yield f"  {step.index} ({step.kind}) {result}{rule}{detail}"
    if page := report.page:
        checked = f", checked at {page.checked}" if page.checked else ""
        changes = f", may change at {page.changes_at}" if page.changes_at else ""
        yield f"  its page is {page.state}{checked}{changes}"
    shown = sum(file.shown for file in report.files)
    yield f"  files: {shown} of {len(report.files)} shown"
    for target, chosen in report.would_install.items():
        yield f"  {target} would install: {chosen or 'nothing'}"
    for hint in hints(report):
        yield f"* {hint}"
