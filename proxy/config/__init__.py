"""Settings: their types, and how they are loaded from file, environment and command line.

``load_settings`` merges the sources and reports all errors at once, in plain words. Other packages
take a ``Settings`` value only where things are composed.
"""

from proxy.config.index_tables import FallthroughTable, IndexTable, LocalTable, MirrorTable
from proxy.config.keep_table import KeepTable
from proxy.config.loading import load_settings
from proxy.config.settings import Settings

__all__ = [
    "FallthroughTable",
    "IndexTable",
    "KeepTable",
    "LocalTable",
    "MirrorTable",
    "Settings",
    "load_settings",
]
