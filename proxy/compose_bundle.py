"""Settings to what bundles need of them: which indexes are mirrored, and how a cache keys them."""

from __future__ import annotations

from proxy.compose_mirror import address
from proxy.plan import leaves, resolve_tree
from proxy.settings import MirrorTable, Settings
from proxy.upstream.documents import UpstreamOrigin
from proxy.upstream.remote import fingerprint


def mirrored(settings: Settings) -> dict[str, UpstreamOrigin]:
    """Every upstream index by its name in the settings. Raises ``ConfigurationError``."""
    found = {}
    for leaf in leaves(resolve_tree(settings)):
        if isinstance(leaf.table, MirrorTable):
            url, credentials = address(leaf.table, settings)
            found[leaf.name] = UpstreamOrigin(url, fingerprint(url, credentials))
    return found
