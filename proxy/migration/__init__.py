"""Migration: distributions of folders and other indexes are taken into a local index."""

from proxy.migration.index_source import IndexSource
from proxy.migration.intake import Intake, IntakeResult
from proxy.migration.layouts import LAYOUTS, open_folder
from proxy.migration.offers import LeftOut, Offer, PackageSource, StatusOffer

__all__ = [
    "LAYOUTS",
    "IndexSource",
    "Intake",
    "IntakeResult",
    "LeftOut",
    "Offer",
    "PackageSource",
    "StatusOffer",
    "open_folder",
]
