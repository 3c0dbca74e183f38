"""Directories and zip archives of private distributions, seen as an index."""

from proxy.indexes.local.directory import LocalDirectory
from proxy.indexes.local.kept_files import KeptFiles
from proxy.indexes.local.private_page import page_of_files
from proxy.indexes.local.scan import yank_reason
from proxy.indexes.local.zip_tree import is_zip

__all__ = ["KeptFiles", "LocalDirectory", "is_zip", "page_of_files", "yank_reason"]
