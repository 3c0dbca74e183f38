"""The flags that set settings, the same for every command that needs the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_SHARED = (
    click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Read settings from this TOML file.",
    ),
    click.option("--upstream", metavar="URL", help="The upstream index. Default: PyPI."),
    click.option(
        "--packages",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="The private distributions. Default: ./packages, if it exists.",
    ),
    click.option(
        "--cache-dir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Where pages and files are kept. Default: the user's cache directory.",
    ),
    click.option(
        "--offline/--online",
        default=None,
        help="Answer from the cache alone and open no connection.",
    ),
)


_SERVING = (
    click.option("--host", metavar="ADDRESS", help="Listen here. Default: 127.0.0.1."),
    click.option("--port", type=int, metavar="N", help="Listen on this port. Default: 8080."),
    click.option(
        "--public-url", metavar="URL", help="The address that clients use, if it is another one."
    ),
    click.option("--tls-certificate", metavar="FILE", help="Serve HTTPS with this chain (PEM)."),
    click.option("--tls-key", metavar="FILE", help="The key of the certificate (PEM)."),
    click.option("--workers", metavar="N", help='Processes, or "auto". Default: 1.'),
    click.option(
        "--reserved",
        metavar="NAMES",
        multiple=True,
        callback=lambda context, option, value: " ".join(value) if value else None,
        help="Names, or patterns such as acme-*, that are never asked upstream. Repeatable.",
    ),
    click.option(
        "--max-size", metavar="SIZE", help="How much the cache keeps, such as 50GB. Default: 20GB."
    ),
    click.option(
        "--page-ttl", metavar="TIME", help="Upper bound of a page's freshness. Default: 10m."
    ),
    click.option("--log-format", type=click.Choice(["plain", "json"]), help="Default: plain."),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="Default: info.",
    ),
)


def settings_options(function: F) -> F:
    """What every command takes that needs the settings."""
    return _with(_SHARED, function)


def serving_options(function: F) -> F:
    """What ``serve`` takes beside that, and ``check``, to say what ``serve`` would make of it."""
    return _with(_SERVING, function)


def _with(options: Sequence[Callable[[F], F]], function: F) -> F:
    for option in reversed(options):
        function = option(function)
    return function
