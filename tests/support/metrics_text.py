"""What ``/metrics`` shows, as a monitoring system reads it."""

from __future__ import annotations

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

Shown = dict[str, dict[frozenset[tuple[str, str]], float]]
"""By name and labels."""


def read(text: str) -> Shown:
    shown: Shown = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            shown.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return shown


def total(shown: Shown, name: str, **labels: str) -> float:
    """The sum over the series that have these labels."""
    wanted = set(labels.items())
    series = shown.get(f"waystation_{name}_total", {})
    return sum(value for each, value in series.items() if wanted <= each)


async def metrics(address: str) -> Shown:
    """On a connection of its own. ``address``: the root of the server."""
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{address}/metrics") as answer,
    ):
        assert answer.status == 200
        return read(await answer.text())
