"""Advisories: known faults and malice of releases (OSV), compact, and refreshed on a schedule."""

from typing import TYPE_CHECKING

from proxy import late_names
from proxy.advisories.affected import OrderedVersions, is_inside, public

if TYPE_CHECKING:
    from proxy.advisories.advisory_store import AdvisoryStore, SourceState
    from proxy.advisories.collection import Advisories, Advisory
    from proxy.advisories.refresher import (
        AdvisoryRefresher,
        AdvisorySource,
        Fetched,
        LocalSource,
    )
    from proxy.advisories.severity import BANDS, band_of, can_compute
    from proxy.advisories.sources import MAX_ARCHIVE, UnusableAdvisories
else:  # what a start without such settings does not need
    __getattr__ = late_names(
        __name__, "advisory_store", "collection", "refresher", "severity", "sources"
    )

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
