"""The addresses that a lock file has, and those of the same files on another index."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from proxy.distributions import belongs_to, safe_filename
from proxy.errors import ConfigurationError
from proxy.model import File, ProjectName
from proxy.simple import absolute_links, last_segment

_SHA256 = re.compile(r"sha256[:=]([0-9a-f]{64})\Z", re.IGNORECASE)
_PATH_OF_PACKAGE = re.compile(r"/(packages/(?:[^/]+/){3,}[^/]+)\Z")
"""The path of a file as PyPI has it, which this server answers too."""


def is_web(address: object) -> bool:
    return isinstance(address, str) and address.startswith(("http://", "https://"))


class NewIndex:
    """The index to which a lock file is moved, and what of the file has been moved."""

    def __init__(self, address: str, former: Iterable[str] = ()) -> None:
        """``address`` of the Simple API, which ends with ``/simple/``. ``former``: the indexes
        that are replaced; without any, all are. Raises ``ConfigurationError``.
        """
        self.address = _checked(address)
        self._former = {_bare(each) for each in former}
        root = self.address.rstrip("/").removesuffix("simple")
        self._links, self._root = absolute_links(root), root
        self.replaced: Counter[str] = Counter()
        """Packages and files by the address of their former index; "" if that is not known."""
        self.left: dict[str, str] = {}
        """Addresses that stay, with the reason."""

    def replaces(self, index: object) -> bool:
        """Whether this index, by its address, is one of those that are replaced."""
        return (
            isinstance(index, str)
            and is_web(index)
            and (not self._former or _bare(index) in self._former)
        )

    def moved_index(self, index: str) -> str:
        """The new address in place of that of a replaced index."""
        return self.address if index.endswith("/") else self.address.rstrip("/")

    def moved_file(self, project: ProjectName, url: str, hashes: Iterable[str]) -> str:
        """The address of the file on the new index; the same one if that is not known.

        ``hashes``: each ``<algorithm>:<hex>``.
        """
        filename = last_segment(url) or ""
        if not safe_filename(filename) or not belongs_to(filename, project):
            self.left[url] = f"its name is not that of a file of {project}"
            return url
        found = (_SHA256.match(each) for each in hashes)
        if digest := next((each[1].lower() for each in found if each), None):
            return self._links(project, [File(filename, "", {"sha256": digest})])[0]
        if known := _PATH_OF_PACKAGE.search(urlsplit(url).path):
            return f"{self._root}{known[1]}"
        self.left[url] = "the lock file has no sha256 of it"
        return url


def moved_hashes(hashes: Mapping[str, str]) -> list[str]:
    return [f"{name}:{digest}" for name, digest in hashes.items()]


def _bare(index: str) -> str:
    """The address without what differs between spellings of it, and without credentials."""
    parts = urlsplit(index.lower())
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def _checked(address: str) -> str:
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or not address.isprintable():
        raise ConfigurationError("--to", f"{address} is no address", "give http://… or https://…")
    if "@" in parts.netloc:
        raise ConfigurationError(
            "--to",
            "an address with a password would be written into the lock file",
            "leave user and password out, and give them to the installer",
        )
    if parts.query or parts.fragment or not re.search(r"/simple/?\Z", parts.path):
        remedy = "give the address of the index, which ends with /simple/"
        raise ConfigurationError("--to", f"{address} is no index", remedy)
    return address if address.endswith("/") else f"{address}/"
