"""Directories and zip archives of private distributions, seen as an index."""

from proxy.indexes.local.directory import LocalDirectory
from proxy.indexes.local.zip_tree import is_zip

__all__ = ["LocalDirectory", "is_zip"]
