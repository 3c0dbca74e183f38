"""Options of several commands: those that override settings, and instants."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from proxy.config import age_seconds, parse_instant

F = TypeVar("F", bound=Callable[..., Any])

_SHARED = (
    click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Read settings from this TOML file.",
    ),
    click.option(
        "--index",
        metavar="NAME",
        help="Which of [indexes] to use. Default: the one that the setting index names.",
    ),
    click.option("--upstream", metavar="URL", help="Address of the upstream index. Default: PyPI."),
    click.option(
        "--packages",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Directory of private distributions. Default: ./packages, if it exists.",
    ),
    click.option(
        "--cache-dir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Directory of cached pages and files. Default: in the user's cache directory.",
    ),
    click.option(
        "--offline/--online",
        default=None,
        help="Whether to answer from the cache alone, without connections. Default: --online.",
    ),
)


_SERVING = (
    click.option("--host", metavar="ADDRESS", help="Listen on this address. Default: 127.0.0.1."),
    click.option("--port", type=int, metavar="N", help="Listen on this port. Default: 8080."),
    click.option(
        "--public-url",
        metavar="URL",
        help="Address that clients use, if it is another one.",
    ),
    click.option(
        "--tls-certificate", metavar="FILE", help="Serve HTTPS with this certificate (PEM)."
    ),
    click.option("--tls-key", metavar="FILE", help="Private key of the certificate (PEM)."),
    click.option(
        "--workers",
        metavar="N",
        help='Processes, or "auto": one a processor. Default: 1.',
    ),
    click.option(
        "--reserved",
        metavar="NAMES",
        multiple=True,
        callback=lambda context, option, value: " ".join(value) if value else None,
        help="Private names or patterns, such as acme-*, never requested upstream. Repeatable.",
    ),
    click.option(
        "--max-size", metavar="SIZE", help="Limit of the cached files, such as 50GB. Default: 20GB."
    ),
    click.option(
        "--page-ttl", metavar="TIME", help="Longest time until a page is revalidated. Default: 10m."
    ),
    click.option(
        "--log-format",
        type=click.Choice(["plain", "json"]),
        help="Form of log lines. Default: plain.",
    ),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="Least severe messages that are logged. Default: info.",
    ),
)


def settings_options(function: F) -> F:
    """The options of every command that reads the settings."""
    return _with(_SHARED, function)


def serving_options(function: F) -> F:
    """Further options of ``serve``, and of ``check``, which shows their effect."""
    return _with(_SERVING, function)


def _with(options: Sequence[Callable[[F], F]], function: F) -> F:
    for option in reversed(options):
        function = option(function)
    return function


def instant(context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    """A callback for options: an age before now (``30d``), or a date, as Unix time in seconds."""
    if value is None:
        return None
    try:
        return time.time() - age_seconds(value)
    except ValueError:
        pass
    try:
        found = parse_instant(value)
    except ValueError as error:
        problem = f"{value!r} {error}, nor an age such as 30d"
        raise click.BadParameter(problem, context, option) from None
    assert isinstance(found, datetime)
    return found.timestamp()
