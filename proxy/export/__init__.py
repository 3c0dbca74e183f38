"""Export: a static tree of pages and files that any web server can serve."""

from proxy.export.export import (
    Exported,
    Form,
    export,
)
from proxy.export.file_list import (
    open_directory,
    read_names,
)
from proxy.export.placing import How
from proxy.export.readme import can_render
from proxy.export.selection import (
    ExportSelection,
    of_files,
)
from proxy.export.simple_pages import (
    as_listed,
    base_address,
    flat,
    in_tree,
)
from proxy.export.tree import Tree

__all__ = [
    "ExportSelection",
    "Exported",
    "Form",
    "How",
    "Tree",
    "as_listed",
    "base_address",
    "can_render",
    "export",
    "flat",
    "in_tree",
    "of_files",
    "open_directory",
    "read_names",
]
