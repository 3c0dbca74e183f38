"""Composition: settings become a running tree of indexes, by their concrete classes."""

from proxy.composition.cache import (
    PRIVATE_NAMES,
    Cache,
    cache_folder,
    open_cache,
)
from proxy.composition.index_tree import (
    DEFAULT_PACKAGES,
    DefaultDirectory,
    IndexNode,
    describe,
    leaves,
    resolve_tree,
    without_credentials,
)
from proxy.composition.mirror import (
    mirrored,
    open_upstream,
)
from proxy.composition.proxy import (
    Proxy,
    open_proxy,
)

__all__ = [
    "DEFAULT_PACKAGES",
    "PRIVATE_NAMES",
    "Cache",
    "DefaultDirectory",
    "IndexNode",
    "Proxy",
    "cache_folder",
    "describe",
    "leaves",
    "mirrored",
    "open_cache",
    "open_proxy",
    "open_upstream",
    "resolve_tree",
    "without_credentials",
]
