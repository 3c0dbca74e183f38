"""Ask an index as an installer does: name, connection, certificate, proxy, credentials, answer."""

from __future__ import annotations

import netrc
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (  # type: ignore[attr-defined]
    HTTPSHandler,
    ProxyHandler,
    Request,
    build_opener,
    proxy_bypass_environment,
)

from proxy.cli.doctor_checks import SetupFinding, netrc_of
from proxy.cli.doctor_settings import Machine
from proxy.errors import reason

TIMEOUT = 10.0
"""Seconds."""
ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
_PROBE = "a-name-of-no-project-0"
"""Its page shows whether the address is an index, without a large answer."""


def try_address(address: str, machine: Machine) -> Iterator[SetupFinding]:
    """``address``: of an index, ending in ``/simple/``."""
    parts = urlsplit(address)
    proxy = _proxy_for(parts.scheme, parts.hostname or "", machine)
    if proxy:
        host = parts.hostname
        yield SetupFinding(
            "note",
            f"{address} is asked through the proxy {proxy}",
            f"if it is on your own network: export NO_PROXY={host}",
        )
    elif (problem := _resolve(parts.hostname or "", parts.port)) is not None:
        yield problem
        return
    yield from _credentials(address, machine)
    yield from _ask(address, machine, proxy)


def _resolve(host: str, port: int | None) -> SetupFinding | None:
    try:
        socket.getaddrinfo(host, port or 443, type=socket.SOCK_STREAM)
    except OSError as error:
        return SetupFinding(
            "wrong",
            f"the name {host} cannot be resolved: {reason(error)}",
            "check the spelling and the DNS of this machine",
        )
    return None


def _credentials(address: str, machine: Machine) -> Iterator[SetupFinding]:
    parts = urlsplit(address)
    if parts.username:
        yield SetupFinding(
            "note",
            f"the address {address} contains credentials, which appear in logs",
            "put them into ~/.netrc or a keyring",
        )
    path = netrc_of(machine)
    with suppress(OSError, netrc.NetrcParseError):
        if path and netrc.netrc(str(path)).authenticators(parts.hostname or ""):
            yield SetupFinding("ok", f"{path} has credentials for {parts.hostname}")
            if path.stat().st_mode & 0o077:
                yield SetupFinding("wrong", f"others can read {path}", f"chmod 600 {path}")
    if found := machine.program("keyring"):
        yield SetupFinding(
            "note", f"{found} may give pip and uv credentials, if they are set to use it"
        )


def _ask(address: str, machine: Machine, proxy: str) -> Iterator[SetupFinding]:
    context = ssl.create_default_context()
    for variable in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        with suppress(OSError):
            if path := machine.environ.get(variable):
                context.load_verify_locations(path)
    proxies = {urlsplit(address).scheme: proxy} if proxy else {}
    opener = build_opener(ProxyHandler(proxies), HTTPSHandler(context=context))
    request = Request(f"{address}{_PROBE}/", headers={"Accept": ACCEPT})  # noqa: S310 (HTTP only)
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            status, server = answer.status, answer.headers.get("Server", "")
    except HTTPError as error:
        status, server = error.code, error.headers.get("Server", "")
        error.close()
    except (URLError, OSError) as error:
        yield _failure(address, error)
        return
    yield _verdict(address, status, server)


def _failure(address: str, error: OSError) -> SetupFinding:
    cause = error.reason if isinstance(error, URLError) else error
    host = urlsplit(address).hostname
    if isinstance(cause, ssl.SSLCertVerificationError):
        return SetupFinding(
            "wrong",
            f"the certificate of {host} is not trusted: {cause.verify_message}",
            "get the certificate of its CA (the server offers it at /-/ca.pem), and set"
            " PIP_CERT, SSL_CERT_FILE and REQUESTS_CA_BUNDLE to its path",
        )
    words = reason(cause) if isinstance(cause, BaseException) else str(cause)
    return SetupFinding(
        "wrong",
        f"{address} cannot be reached: {words}",
        "is the server running, is the port right, does a firewall or a proxy stand between?",
    )


def _verdict(address: str, status: int, server: str) -> SetupFinding:
    """404 is what an index answers for the name that is asked."""
    name = f" ({server})" if server else ""
    if status in (200, 404):
        if server == "waystation":
            return SetupFinding("ok", f"{address} is a Waystation, and answers")
        return SetupFinding("note", f"{address} answers, but is no Waystation{name}")
    if status in (401, 403, 407):
        return SetupFinding(
            "wrong",
            f"{address} answers {status}{name}: credentials are missing or wrong",
            "put a user and a password or token for this host into ~/.netrc",
        )
    return SetupFinding(
        "wrong", f"{address} answers {status}{name}", "look into the log of the server"
    )


def _proxy_for(scheme: str, host: str, machine: Machine) -> str:
    """The proxy of the environment that installers would use."""
    lowered = {name.lower(): value for name, value in machine.environ.items()}
    found = {
        name.removesuffix("_proxy"): value
        for name, value in lowered.items()
        if name.endswith("_proxy") and value
    }
    if proxy_bypass_environment(host, found):
        return ""
    return found.get(scheme) or found.get("all", "")
