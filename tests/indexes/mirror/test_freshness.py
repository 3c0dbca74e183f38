from __future__ import annotations

from typing import Any

import pytest

from proxy.indexes.mirror.page_cache import Freshness, Lifetimes, freshness
from proxy.storage.mirror_records import StoredPage

NOW = 1_000_000.0
FRESH, WHILE_REVALIDATE, IF_ERROR, UNUSABLE = Freshness


def page(age: float, lifetime: float | None = None, **more: Any) -> StoredPage:
    return StoredPage(
        url="u", content_type="", checked=NOW - age, lifetime=lifetime, digest="00", **more
    )


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (None, UNUSABLE),
        (page(0), FRESH),
        (page(599), FRESH),  # upstream says nothing: the maximum
        (page(601), WHILE_REVALIDATE),
        (page(60, lifetime=61), FRESH),
        (page(61, lifetime=60), WHILE_REVALIDATE),
        (page(601, lifetime=9999), WHILE_REVALIDATE),  # the maximum bounds what upstream grants
        (page(4, lifetime=0), FRESH),  # so does the minimum
        (page(600 + 51), IF_ERROR),
        (page(600 + 999), IF_ERROR),
        (page(600 + 1001), UNUSABLE),
        (page(601, must_revalidate=True), UNUSABLE),
        (page(599, must_revalidate=True), FRESH),
        (page(-100), FRESH),  # the clock was set back a little
        (page(-700), WHILE_REVALIDATE),  # ... or by more than any page is fresh
    ],
)
def test_every_case(stored: StoredPage | None, expected: Freshness) -> None:
    lifetimes = Lifetimes(maximum=600, minimum=5, while_revalidate=50, if_error=1000)
    assert freshness(stored, NOW, lifetimes) is expected
