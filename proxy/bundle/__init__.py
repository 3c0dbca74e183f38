"""Bundles: archives that carry pages and files of one cache into another one without a network.

``create_bundle`` writes one, ``Bundle`` reads and checks one, and ``import_bundle`` imports all of
it or nothing. Bundles may be signed, and a delta contains only what its base does not list.
"""

from proxy.bundle.bundle_selection import (
    BundleSelection,
    read_base,
    select_everything,
    select_needed,
    select_projects,
)
from proxy.bundle.compare import Comparison
from proxy.bundle.errors import (
    BundleIOError,
    NothingCached,
)
from proxy.bundle.format import (
    BundledFile,
    BundledPage,
    BundledVerdict,
    Manifest,
)
from proxy.bundle.importer import (
    ImportRules,
    import_bundle,
    unknown_upstreams,
)
from proxy.bundle.judging import judge_selection
from proxy.bundle.reader import (
    Bundle,
    ByteSource,
    discard,
)
from proxy.bundle.signing import (
    create_key_pair,
    load_signer,
    load_trusted_keys,
)
from proxy.bundle.writer import (
    CreatedBundle,
    create_bundle,
)

__all__ = [
    "Bundle",
    "BundleIOError",
    "BundleSelection",
    "BundledFile",
    "BundledPage",
    "BundledVerdict",
    "ByteSource",
    "Comparison",
    "CreatedBundle",
    "ImportRules",
    "Manifest",
    "NothingCached",
    "create_bundle",
    "create_key_pair",
    "discard",
    "import_bundle",
    "judge_selection",
    "load_signer",
    "load_trusted_keys",
    "read_base",
    "select_everything",
    "select_needed",
    "select_projects",
    "unknown_upstreams",
]
