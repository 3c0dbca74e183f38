"""Pages for people before the running indexes: what ``waystation serve`` gives them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from proxy.composition import Proxy
from proxy.config import Settings
from proxy.errors import ProxyError
from proxy.face import Face, Surroundings, create_face
from proxy.storage import SearchFile


def open_face(settings: Settings, proxy: Proxy, index_url: Callable[[], str]) -> Face | None:
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
        certificate=certificate.read_text(encoding="utf-8") if certificate else "",
    )
    search = SearchFile(proxy.cache.folder / "search.sqlite")
    return create_face(around, search, proxy.events)


async def _private_names(proxy: Proxy) -> set[str]:
    """The projects of all directories that can be read now."""
    found: set[str] = set()
    for directory in proxy.directories:
        with suppress(ProxyError):
            found |= await directory.projects()
    return found
