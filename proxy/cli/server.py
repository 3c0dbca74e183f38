"""``waystation server``: what a running server is doing, and its settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from proxy.cli.admin_client import ask
from proxy.runtime import count_text, size_text

F = TypeVar("F", bound=Callable[..., Any])


@click.group("server")
def command() -> None:
    """Ask a running server. Its token comes from WAYSTATION_TOKEN or ~/.netrc."""


def _reporting(name: str, lines: Callable[[Any], Iterator[str]], about: str) -> None:
    """Add the command of that name, which prints what the server answers."""

    @command.command(name, help=about)
    @click.option(
        "--via",
        metavar="URL",
        default="http://127.0.0.1:8080",
        show_default=True,
        help="Address of the server.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print the answer as it came.")
    def run(via: str, as_json: bool) -> None:
        answer = ask(via, name)
        for line in [json.dumps(answer, indent=2)] if as_json else lines(answer):
            click.echo(line)


def _status(answer: Any) -> Iterator[str]:
    cache = answer["cache"]
    yield f"version      {answer['version']}"
    yield f"processes    {' '.join(map(str, answer['workers']))}"
    yield f"projects     {cache['projects']}"
    yield f"files        {cache['files']}, {size_text(cache['bytes'])}, {cache['pinned']} pinned"
    yield f"changed      {cache['changed']}"
    yield f"downloads    {answer['downloads']}"
    yield f"unreachable  {' '.join(answer['unreachable']) or 'none'}"
    if answer["reload_failed"]:
        yield "the last reload was refused; the former settings are in force"


def _downloads(answer: Any) -> Iterator[str]:
    if not answer["downloads"]:
        yield "no download is running"
    for each in answer["downloads"]:
        size = size_text(each["size"]) if each["size"] is not None else "unknown size"
        readers = count_text(each["readers"], "client")
        received = size_text(each["received"])
        yield f"{each['what']}: {received} of {size}, {readers} ({each['index']})"


def _upstreams(answer: Any) -> Iterator[str]:
    for each in answer["upstreams"]:
        down = f"in {each['workers_open']} of {count_text(each['workers'], 'process')}"
        state = "reachable" if each["breaker"] == "closed" else f"cannot be reached, {down}"
        yield f"{each['index']}: {state}"


def _settings(answer: Any) -> Iterator[str]:
    for name, each in answer["settings"].items():
        value = json.dumps(each["value"], ensure_ascii=False)
        yield f"{name} = {value}  ({each['origin']})"


_reporting("status", _status, "Show the processes, the cache and what is unreachable.")
_reporting("downloads", _downloads, "Show the downloads that are running.")
_reporting("upstreams", _upstreams, "Show which upstreams can be reached.")
_reporting("settings", _settings, "Show the settings in force, and where they come from.")
