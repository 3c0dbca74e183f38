"""Where the pages of a tree say that files are: in the tree, or at an address elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

from proxy.errors import ConfigurationError
from proxy.model import File, ProjectName
from proxy.simple.links import Links, relative_links

_KEY = "--base-url"
_CLEAN = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/\[\]-]*\Z")
_OURS = "../../files/"


def base_address(text: str) -> str:
    """The address with a slash at its end. Raises ``ConfigurationError`` for what is none."""
    try:
        parts = urlsplit(text)
    except ValueError:
        raise _wrong(text, "not an address") from None
    if not _CLEAN.match(text):
        raise _wrong(text, "it has characters that an address of a folder does not have")
    if "@" in parts.netloc:
        raise ConfigurationError(_KEY, "it holds a user name", "pages would show it to everybody")
    absolute = parts.scheme in ("http", "https") and parts.netloc
    relative = not parts.scheme and not parts.netloc and parts.path
    if not (absolute or relative):
        raise _wrong(text, "not an address on the web")
    return text.rstrip("/") + "/"


def in_tree(base: str | None) -> Links:
    """Files that are written: beside the pages, or below ``base`` once they are moved there."""
    if base is None:
        return relative_links
    return lambda project, files: [
        base + link.removeprefix(_OURS) for link in relative_links(project, files)
    ]


def flat(base: str) -> Links:
    """Files that all lie in one folder elsewhere."""
    return lambda project, files: [flat_address(base, file.filename) for file in files]


def flat_address(base: str, filename: str) -> str:
    return base + quote(filename, safe="")


def as_listed(project: ProjectName, files: Sequence[File]) -> list[str]:
    """Files whose list names their addresses."""
    return [file.url for file in files]


def _wrong(text: str, problem: str) -> ConfigurationError:
    remedy = "give one such as https://files.example.com/pool/, or a relative one"
    return ConfigurationError(_KEY, f"{text!r}: {problem}", remedy)
