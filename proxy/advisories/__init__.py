"""Advisories: known faults and malice of releases (OSV), compact, and refreshed on a schedule."""

from proxy.advisories.advisory_store import AdvisoryStore, SourceState
from proxy.advisories.affected import OrderedVersions, is_inside, public
from proxy.advisories.collection import Advisories, Advisory
from proxy.advisories.refresher import (
    AdvisoryRefresher,
    AdvisorySource,
    Fetched,
    LocalSource,
)
from proxy.advisories.severity import BANDS, band_of, can_compute
from proxy.advisories.sources import MAX_ARCHIVE, UnusableAdvisories

__all__ = [
    "BANDS",
    "MAX_ARCHIVE",
    "Advisories",
    "Advisory",
    "AdvisoryRefresher",
    "AdvisorySource",
    "AdvisoryStore",
    "Fetched",
    "LocalSource",
    "OrderedVersions",
    "SourceState",
    "UnusableAdvisories",
    "band_of",
    "can_compute",
    "is_inside",
    "public",
]
