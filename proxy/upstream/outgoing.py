"""Which outgoing proxy, if any, leads to an address."""

from __future__ import annotations

from collections.abc import Mapping

from yarl import URL

from proxy.errors import ConfigurationError
from proxy.upstream.addresses import origin_of
from proxy.upstream.credentials import mask
from proxy.upstream.no_proxy import NoProxy


class OutgoingProxies:
    """Proxies by scheme, as ``urllib.request.getproxies`` returns them from the environment.

    The keys are ``https``, ``http``, ``all`` and ``no``; the last is the ``NO_PROXY`` list
    of hosts to be asked directly: see ``NoProxy``. A proxy is an
    ``http://[user:password@]host:port`` address; user and password are sent to it alone.
    """

    def __init__(self, proxies: Mapping[str, str]) -> None:
        """Raises ``ConfigurationError`` for a proxy that is not an http address."""
        self._proxies = {
            scheme: _checked(proxies.get(scheme) or proxies["all"])
            for scheme in ("https", "http")
            if proxies.get(scheme) or proxies.get("all")
        }
        self._direct = NoProxy(proxies.get("no", ""))
        self.hosts = frozenset(origin_of(proxy).host for proxy in self._proxies.values())

    def proxy_for(self, url: str) -> URL | None:
        if not self._proxies:
            return None
        scheme, host, port = origin_of(url)
        proxy = self._proxies.get(scheme)
        if proxy is None or self._direct.matches(host, port):
            return None
        return URL(proxy)


def _checked(proxy: str) -> str:
    address = proxy if "://" in proxy else f"http://{proxy}"
    try:
        origin_of(address)
    except ValueError:
        raise ConfigurationError(
            "proxy", f"{mask(address)} is not the address of a proxy", "use http://host:port"
        ) from None
    return address
