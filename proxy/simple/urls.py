"""Resolves, cleans and splits the addresses on upstream pages, and judges hosts as pip does."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import unquote, urljoin, urlsplit

_HOST_AND_PORT = r"(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
_AUTHORITY = re.compile(rf"{_HOST_AND_PORT}\Z")
_UNCLEAN = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")

_plain = re.compile(
    r"https?://[a-z0-9._-]+(?::[0-9]{1,5})?/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*\Z"
).match
"""Whether ``resolve`` returns the address unchanged."""
_SEGMENT = r"[A-Za-z0-9_~%-][A-Za-z0-9._~%!$&'()*+,=@-]*"
_relative = re.compile(rf"(/|(?:\.\./)*)((?:{_SEGMENT}/)*{_SEGMENT})\Z").match
"""A path from the root, or after some ``../``, in which nothing else has to be resolved."""
_PLAIN_URL_BYTES = (string.ascii_letters + string.digits + "._~!$&'()*+,;=:@%/?-").encode()


def are_plain(links: Sequence[str]) -> bool:
    """Whether ``resolve`` returns all links unchanged; quick for many links of few servers."""
    return all(map(_plain, roots(links))) and not "".join(links).encode().translate(
        None, _PLAIN_URL_BYTES
    )


def roots(links: Sequence[str]) -> set[str]:
    """The origins of absolute addresses, each with the slash after it.

    An address without that slash has the origin "". Quick for many addresses of few servers.
    """
    first = _root(links[0]) if links else ""
    others = [link for link in links if not link.startswith(first)] if first else links
    return {first, *map(_root, others)} if links else set()


def _root(link: str) -> str:
    return link[: link.find("/", len("https://")) + 1]


def resolve(base: str, link: str) -> tuple[str, str] | None:
    """The absolute address of a link, without user and password, and its fragment.

    Path and query keep their spelling, since signatures cover it. None for other schemes, and
    for addresses without a path, with control characters or with backslashes.
    """
    if _plain(link):
        return link, ""
    if found := joined(base, link):
        return found, ""
    return _resolved(base, link.strip())


def joined(base: str, link: str) -> str | None:
    """The result of ``resolve`` for a relative link of the usual form; None for others."""
    match = _relative(link)
    root = match and _above(base, match[1])
    return root + match[2] if match and root else None


@lru_cache(maxsize=64)
def _above(base: str, up: str) -> str | None:
    found = _resolved(base, f"{up}x")
    return found[0][:-1] if found else None


def _resolved(base: str, link: str) -> tuple[str, str] | None:
    if not link or _UNCLEAN.search(link):
        return None
    try:
        parts = urlsplit(urljoin(base, link))
    except ValueError:
        return None
    authority = parts.netloc.rpartition("@")[2].lower()
    if parts.scheme not in ("http", "https") or not _AUTHORITY.match(authority):
        return None
    if not parts.path.startswith("/"):
        return None
    query = f"?{parts.query}" if parts.query.strip() else ""
    return f"{parts.scheme}://{authority}{parts.path}{query}", parts.fragment


def last_segment(url: str) -> str | None:
    """The last segment of the path, percent-decoded once; None if the result is no UTF-8."""
    segment = url.partition("#")[0].partition("?")[0].rpartition("/")[2]
    try:
        return unquote(segment, errors="strict") if "%" in segment else segment
    except UnicodeDecodeError:
        return None


def origin(url: str) -> str:
    """Scheme, host and port: everything before the third slash."""
    return "/".join(url.split("/", 3)[:3])


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, as pip sees it: such hosts need no TLS."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
