"""A local directory of distributions, seen as an index."""

from proxy.indexes.local.directory import LocalDirectory

__all__ = ["LocalDirectory"]
