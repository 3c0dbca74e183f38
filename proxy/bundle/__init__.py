"""Bundles: one archive of what a cache holds, made here, checked and imported elsewhere."""

from proxy.bundle.compare import Comparison
from proxy.bundle.errors import (
    BundleFailed,
    NothingCached,
)
from proxy.bundle.format import (
    BundledFile,
    BundledPage,
    Manifest,
)
from proxy.bundle.importer import (
    ImportRules,
    import_bundle,
    unknown_upstreams,
)
from proxy.bundle.reader import (
    Bundle,
    ByteSource,
    drop,
)
from proxy.bundle.selection import (
    BundleSelection,
    read_base,
    select_everything,
    select_needed,
    select_projects,
)
from proxy.bundle.signing import (
    load_signer,
    load_trusted,
    make_keys,
)
from proxy.bundle.writer import (
    Created,
    create_bundle,
)

__all__ = [
    "Bundle",
    "BundleFailed",
    "BundleSelection",
    "BundledFile",
    "BundledPage",
    "ByteSource",
    "Comparison",
    "Created",
    "ImportRules",
    "Manifest",
    "NothingCached",
    "create_bundle",
    "drop",
    "import_bundle",
    "load_signer",
    "load_trusted",
    "make_keys",
    "read_base",
    "select_everything",
    "select_needed",
    "select_projects",
    "unknown_upstreams",
]
