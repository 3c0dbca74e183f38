"""Configuration: the settings, and where their values come from."""

from proxy.config.loading import load
from proxy.config.settings import (
    FallthroughTable,
    IndexTable,
    KeepTable,
    LocalTable,
    MirrorTable,
    Settings,
)

__all__ = [
    "FallthroughTable",
    "IndexTable",
    "KeepTable",
    "LocalTable",
    "MirrorTable",
    "Settings",
    "load",
]
