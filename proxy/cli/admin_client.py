"""Requests of commands to the administration of a running server (``--via``)."""

from __future__ import annotations

import netrc
import os
from base64 import b64encode
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import click
import msgspec

from proxy.config import TOKEN_VARIABLE
from proxy.errors import ConfigurationError, ProxyError, reason

ANSWER_LIMIT = 300.0
"""Seconds in which a server has to answer: a reload of many workers takes a while."""
F = TypeVar("F", bound=Callable[..., Any])

via_option = click.option(
    "--via",
    metavar="URL",
    help=f"Ask the server at this address. Its token: {TOKEN_VARIABLE} or ~/.netrc.",
)


class RefusedByServer(ProxyError):
    """The server has answered that it did not do it, and why."""

    def __str__(self) -> str:
        return str(self.args[0])


class NoRedirects(HTTPRedirectHandler):
    """A redirect is an error: the token must not go elsewhere."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


def ask(via: str, name: str, **query: str) -> Any:
    """The answer of the server to GET ``/-/admin/<name>``.

    Raises ``ConfigurationError`` if there is no such server, ``RefusedByServer``.
    """
    given = {key: value for key, value in query.items() if value}
    return _send(via, f"admin/{name}?{urlencode(given)}" if given else f"admin/{name}", None)


def act(via: str, name: str, **body: object) -> Any:
    """The answer of the server to POST ``/-/admin/<name>``. Raises as ``ask``."""
    given = {key: value for key, value in body.items() if value}
    return _send(via, f"admin/{name}", msgspec.json.encode(given))


def change_packages(
    via: str, index: str | None, project: str, action: str, body: Mapping[str, object]
) -> Any:
    """The answer of the server to POST ``/-/packages/<project>/<action>`` of an index.

    Raises as ``ask``.
    """
    given = {key: value for key, value in body.items() if value}
    root = f"{_root(via)}/{index}" if index else via
    return _send(root, f"packages/{project}/{action}", msgspec.json.encode(given))


def _send(via: str, path: str, body: bytes | None) -> Any:
    address = f"{_root(via)}/-/{path}"
    headers = {"Accept": "application/json", **_authorization(address)}
    if body is not None:
        headers["Content-Type"] = "application/json"
    request = Request(address, body, headers)  # noqa: S310 (checked by _root)
    try:
        with build_opener(NoRedirects).open(request, timeout=ANSWER_LIMIT) as answer:
            return msgspec.json.decode(answer.read())
    except HTTPError as error:
        raise _refusal(address, error) from None
    except (URLError, OSError, HTTPException) as error:
        words = getattr(error, "reason", error)
        problem = f"{_root(via)} cannot be reached: {reason(words) if words else reason(error)}"
    except msgspec.MsgspecError:
        problem = f"{_root(via)} does not answer like a Waystation server"
    raise ConfigurationError("--via", problem, "give the address of a Waystation server")


def _root(via: str) -> str:
    """The address of the server. Raises ``ConfigurationError``."""
    try:
        parts = urlsplit(via)
        usable = parts.scheme in ("http", "https") and parts.hostname and via.isprintable()
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError("--via", f"{via} is no address", "give http://… or https://…")
    if "@" in parts.netloc:
        problem = "credentials in the command line are seen by all users of the machine"
        raise ConfigurationError("--via", problem, f"use {TOKEN_VARIABLE} or ~/.netrc")
    return via.partition("?")[0].rstrip("/").removesuffix("/simple")


def _authorization(address: str) -> Mapping[str, str]:
    """From the variable, else from the netrc file, else none."""
    user, secret = "__token__", os.environ.get(TOKEN_VARIABLE, "")
    if not secret:
        path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
        try:
            found = netrc.netrc(path).authenticators(urlsplit(address).hostname or "")
        except (OSError, netrc.NetrcParseError):
            found = None
        if not found:
            return {}
        user, _, secret = found
    return {"Authorization": "Basic " + b64encode(f"{user}:{secret}".encode()).decode()}


def _refusal(address: str, error: HTTPError) -> ProxyError:
    """The detail of the answer; its first line if it is not a problem document (RFC 9457)."""
    data = error.read()
    try:
        detail = str(msgspec.json.decode(data)["detail"])
    except (msgspec.MsgspecError, KeyError, TypeError):
        detail = data.decode("utf-8", "replace").strip().partition("\n")[0]
    if error.code == 401:
        remedy = f"set {TOKEN_VARIABLE} to a token with the right to do that, or use ~/.netrc"
        return ConfigurationError("--via", "the server wants a token", remedy)
    if error.code == 422:  # of settings, such as those that are to be reloaded
        key, _, problem = detail.partition(": ")
        return ConfigurationError(key, problem)
    return RefusedByServer(f"{address} answers {error.code}: {detail or error.reason}")
