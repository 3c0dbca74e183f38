"""Moves lock files in TOML to another index, and leaves all else of their text as it is.

The text is changed in place, so that comments, order and spacing stay. The
result is read again: it has to differ from the former data in the intended addresses alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from proxy.requirements.relocking.addresses import NewIndex, is_web, moved_hashes
from proxy.requirements.sources.document import SourceDocument

LockTable = dict[str, Any]

_WEB_ADDRESS = re.compile(r'"(https?://[^"\\\n]*)"|\'(https?://[^\'\n]*)\'')
_KEY_BEFORE = re.compile(r"([A-Za-z_-]+)\s*=\s*\Z")
_LONGEST_KEY = 40
"""Characters before an address in which its key is looked for."""


def relock_toml(document: SourceDocument, kind: str, index: NewIndex) -> bytes:
    """The lock file with the addresses of the new index. Raises ``UnreadableSource``.

    ``kind``: ``uv_lock``, ``poetry_lock``, ``pdm_lock`` or ``pylock``.
    """
    data = document.toml()
    try:
        moves = dict(_MOVES[kind](document, data, index))
    except (AttributeError, KeyError, TypeError):
        raise document.unreadable("it does not have the form of such a lock file") from None
    text = document.content.decode("utf-8")  # as ``toml`` has found
    changed = _WEB_ADDRESS.sub(lambda found: _replaced(text, found, moves), text)
    result = SourceDocument(document.name, document.folder, changed.encode())
    if result.toml() != _moved(data, moves):
        raise document.unreadable("addresses are spelled in a way that cannot be changed here")
    return result.content


Move = tuple[tuple[str, str], str]
"""The key and the address of a value, and its new address."""


def _replaced(text: str, found: re.Match[str], moves: Mapping[tuple[str, str], str]) -> str:
    key = _KEY_BEFORE.search(text, max(0, found.start() - _LONGEST_KEY), found.start())
    former = found[1] if found[1] is not None else found[2]
    moved = moves.get((key[1], former)) if key else None
    return f'"{moved}"' if moved else found[0]


def _moved(data: Any, moves: Mapping[tuple[str, str], str], key: str = "") -> Any:
    """The data with the new addresses."""
    if isinstance(data, dict):
        return {name: _moved(each, moves, name) for name, each in data.items()}
    if isinstance(data, list):
        return [_moved(each, moves) for each in data]
    return moves.get((key, data), data) if isinstance(data, str) else data


def _uv(document: SourceDocument, data: LockTable, index: NewIndex) -> Iterator[Move]:
    for package in data.get("package", []):
        registry = package["source"].get("registry")
        if not index.replaces(registry):
            continue
        index.replaced[registry] += 1
        yield ("registry", registry), index.moved_index(registry)
        # As ``[tool.uv.sources]`` of the project names it, whose address has to change too.
        yield ("index", registry), index.moved_index(registry)
        files = [*package.get("wheels", []), *filter(None, [package.get("sdist")])]
        for file in files:
            if is_web(url := file.get("url")):
                project = document.project(package["name"])
                yield ("url", url), index.moved_file(project, url, [file.get("hash", "")])


def _poetry(document: SourceDocument, data: LockTable, index: NewIndex) -> Iterator[Move]:
    for package in data.get("package", []):
        source = package.get("source", {})
        if source.get("type") == "legacy" and index.replaces(url := source["url"]):
            index.replaced[url] += 1
            yield ("url", url), index.moved_index(url)


def _pdm(document: SourceDocument, data: LockTable, index: NewIndex) -> Iterator[Move]:
    """Only with the strategy ``static_urls`` such a lock file has addresses of files."""
    for package in data.get("package", []):
        if any(package.get(key) for key in ("url", "path", "git", "hg", "svn", "bzr")):
            continue
        for file in package.get("files", []):
            if is_web(url := file.get("url")):
                index.replaced[""] += 1
                project = document.project(package["name"])
                yield ("url", url), index.moved_file(project, url, [file.get("hash", "")])


def _pylock(document: SourceDocument, data: LockTable, index: NewIndex) -> Iterator[Move]:
    for package in data.get("packages", []):
        former = package.get("index")
        if former is not None and not index.replaces(former):
            continue
        if former:
            index.replaced[former] += 1
            yield ("index", former), index.moved_index(former)
        for file in (*package.get("wheels", []), *filter(None, [package.get("sdist")])):
            if is_web(url := file.get("url")):
                index.replaced[""] += former is None
                hashes = moved_hashes(file.get("hashes", {}))
                moved = index.moved_file(document.project(package["name"]), url, hashes)
                yield ("url", url), moved


_MOVES: Mapping[str, Callable[[SourceDocument, LockTable, NewIndex], Iterator[Move]]] = {
    "uv_lock": _uv,
    "poetry_lock": _poetry,
    "pdm_lock": _pdm,
    "pylock": _pylock,
}
