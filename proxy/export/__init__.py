"""Export: a static tree of pages and files that any web server can serve without Waystation.

``export`` reads an index as a client does and writes a ``Tree``: pages for installers (Simple
API), pages for people, and files, which may also be at an address elsewhere.
"""

from proxy.export.export import (
    ExportOptions,
    ExportResult,
    export,
)
from proxy.export.file_list import (
    open_directory,
    read_file_list,
)
from proxy.export.human_pages import LOGO_SUFFIXES, Site, read_logo
from proxy.export.placing import Placement
from proxy.export.selection import (
    ExportSelection,
    select_distributions,
)
from proxy.export.simple_pages import (
    flat_links,
    listed_links,
    parse_base_url,
    tree_links,
)
from proxy.export.tree import Tree

__all__ = [
    "LOGO_SUFFIXES",
    "ExportOptions",
    "ExportResult",
    "ExportSelection",
    "Placement",
    "Site",
    "Tree",
    "export",
    "flat_links",
    "listed_links",
    "open_directory",
    "parse_base_url",
    "read_file_list",
    "read_logo",
    "select_distributions",
    "tree_links",
]
