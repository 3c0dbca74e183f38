"""The flags that set settings, the same for every command that needs the settings."""

from __future__ import annotations

from collections.abc import Callable
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


def settings_options(function: F) -> F:
    for option in reversed(_SHARED):
        function = option(function)
    return function
