"""Composition: settings become a running tree of indexes, by their concrete classes."""

from typing import TYPE_CHECKING

from proxy import late_names
from proxy.composition.cache import (
    PRIVATE_NAMES,
    Cache,
    open_cache,
)
from proxy.composition.description import (
    describe,
    described_addresses,
    policy_remarks,
    publisher_remarks,
    upload_remarks,
)
from proxy.composition.index_checks import DefaultDirectory, upstream_url, without_credentials
from proxy.composition.index_tree import AS_OF, DEFAULT_PACKAGES, IndexNode, IndexTree, resolve_tree
from proxy.composition.open_audit import open_audit
from proxy.composition.open_mirror import open_mirror
from proxy.composition.open_packages import package_attempts
from proxy.composition.open_peers import peer_attempts
from proxy.composition.open_sites import FirstSite
from proxy.composition.open_storage import storage_remarks, store_problem
from proxy.composition.open_webhooks import open_webhooks, webhook_attempts
from proxy.composition.past_views import index_as_of
from proxy.composition.policies import kind_of_rule, possible_refusals
from proxy.composition.proxy import (
    Proxy,
    open_proxy,
)
from proxy.composition.upstream_connections import (
    addresses,
    api_problem,
    mirrored,
    open_upstream,
)

if TYPE_CHECKING:
    from proxy.composition.open_access import (
        access_remarks,
        open_token_store,
        password_problems,
        unknown_indexes,
    )
    from proxy.composition.open_advisories import advisories_now
else:  # what a start without such settings does not need
    __getattr__ = late_names(__name__, "open_access", "open_advisories")

__all__ = [
    "AS_OF",
    "DEFAULT_PACKAGES",
    "PRIVATE_NAMES",
    "Cache",
    "DefaultDirectory",
    "FirstSite",
    "IndexNode",
    "IndexTree",
    "Proxy",
    "access_remarks",
    "addresses",
    "advisories_now",
    "api_problem",
    "describe",
    "described_addresses",
    "index_as_of",
    "kind_of_rule",
    "mirrored",
    "open_audit",
    "open_cache",
    "open_mirror",
    "open_proxy",
    "open_token_store",
    "open_upstream",
    "open_webhooks",
    "package_attempts",
    "password_problems",
    "peer_attempts",
    "policy_remarks",
    "possible_refusals",
    "publisher_remarks",
    "resolve_tree",
    "storage_remarks",
    "store_problem",
    "unknown_indexes",
    "upload_remarks",
    "upstream_url",
    "webhook_attempts",
    "without_credentials",
]
