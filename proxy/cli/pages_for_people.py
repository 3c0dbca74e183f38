"""Pages for people before the running indexes: what ``waystation serve`` gives them."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from proxy.cli.worker_process import worker_place
from proxy.composition import Proxy
from proxy.config import Settings, age_seconds, audit_folder
from proxy.errors import ProxyError
from proxy.face import Face, History, Recent, Surroundings, create_face
from proxy.storage import SearchFile
from proxy.web import Administration, Counters

if TYPE_CHECKING:
    from proxy.access import SharedTokens, TokenStore


def open_face(
    settings: Settings,
    proxy: Proxy,
    counters: Counters,
    administration: Administration,
    index_url: Callable[[], str],
) -> Face | None:
    """The pages for people; none without the setting. ``index_url``: that of the root."""
    if not settings.web:
        return None
    certificate = settings.tls_certificate
    around = Surroundings(
        index_url=index_url,
        fixed_url=settings.public_url is not None,
        names=lambda: [root.strip("/") for root in proxy.served if root],
        offline=settings.offline,
        indexes=lambda: list(proxy.served.values()),
        private_names=lambda: _private_names(proxy),
        poll=proxy.poll,
        cache_size=lambda: _cache_size(proxy),
        administration=lambda: administration,
        token_store=(lambda: _token_store(settings)) if settings.access else None,
        token_max_age=age_seconds(settings.access.token_max_age) if settings.access else None,
        audit_folder=audit_folder(settings) if settings.audit else None,
        cache_limit=int(settings.max_size) or None,
        certificate=certificate.read_text(encoding="utf-8") if certificate else "",
    )
    search = SearchFile(proxy.cache.folder / "search.sqlite")
    worker, server = worker_place(), server_name(settings)
    past = History(
        counters,
        proxy.cache.records,
        server,
        samples=worker is None or worker.number == 0,
        shared=worker is not None,
    )
    recent = Recent(proxy.cache.records, server, worker.number if worker else 0)
    return create_face(around, search, proxy.events, past, recent)


def server_name(settings: Settings) -> str:
    """Distinguishes servers on one cache folder, also after a restart."""
    words = f"{socket.gethostname()} {settings.host} {settings.port}"
    return hashlib.sha256(words.encode()).hexdigest()[:16]


async def _cache_size(proxy: Proxy) -> int:
    """Bytes of all files in the cache; reads the whole store."""
    return sum([entry.size async for entry in proxy.cache.store.entries()])


async def _private_names(proxy: Proxy) -> set[str]:
    """The projects of all directories that can be read now."""
    found: set[str] = set()
    for directory in proxy.directories:
        with suppress(ProxyError):
            found |= await directory.projects()
    return found


def _token_store(settings: Settings) -> TokenStore | SharedTokens:
    from proxy.composition import open_token_store  # most servers control no access

    return open_token_store(settings)
