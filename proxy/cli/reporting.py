"""What commands that take sources say of what they found."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import click

from proxy.bundle.choice import FileFilter
from proxy.bundle.needs import Missing, ResolvedFiles
from proxy.bundle.wants import SkippedRequirement
from proxy.logs import set_up
from proxy.settings import Settings


def tell_missing(missing: Iterable[Missing], skipped: Iterable[SkippedRequirement]) -> None:
    """What cannot be had and why, on standard error, one line each.

    A reason of several lines comes once, below all that have it.
    """
    for each in skipped:
        click.echo(f"cannot be fetched from an index: {each}", err=True)
    by_reason: dict[str, list[str]] = {}
    for lack in missing:
        by_reason.setdefault(lack.reason, []).append(lack.line)
    for reason, lines in by_reason.items():
        is_long = "\n" in reason
        for line in lines:
            click.echo(f"missing: {line}" + ("" if is_long else f": {reason}"), err=True)
        if is_long:
            click.echo("  " + reason.replace("\n", "\n  "), err=True)


def list_missing(lines: Iterable[str]) -> None:
    """For ``warm -``, on standard output, unless people read that."""
    if not sys.stdout.isatty():
        for line in lines:
            click.echo(line)


def facts(needs: ResolvedFiles, choice: FileFilter, missing: Iterable[Missing]) -> dict[str, Any]:
    """For reports in JSON. Sizes are in bytes."""
    return {
        "targets": [str(each) for each in choice.targets],
        "projects": len(needs.pages),
        "files": len(needs.files),
        "bytes": needs.size,
        "missing": [{"line": each.line, "reason": each.reason} for each in missing],
        "skipped": [
            {"source": each.source, "what": each.what, "reason": each.reason}
            for each in needs.skipped
        ],
        "notes": needs.notes,
    }


def quiet_logs(settings: Settings) -> None:
    """Only what is wrong with this program: what cannot be had is reported anyway."""
    set_up(settings.log_format, "error", access=False)
