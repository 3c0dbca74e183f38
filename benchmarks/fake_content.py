"""The pages and files of the fake upstream, as finished bytes. No sockets."""

from __future__ import annotations

import gzip
import hashlib
import json
import zipfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import NamedTuple

from packaging.utils import parse_wheel_filename

from benchmarks import synthetic_projects
from benchmarks.synthetic_projects import Shown

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html"
MANY_FILES = 20
"""Files of a page from which on its bytes are kept: the making would show in the times."""


class Body(NamedTuple):
    media: str
    parts: Sequence[bytes | memoryview]
    etag: str
    gzipped: bool = False

    @property
    def size(self) -> int:
        return sum(len(part) for part in self.parts)


class FakeContent:
    """Projects made by name, and real wheels from a folder."""

    def __init__(self, files_url: str, folder: Path | None = None) -> None:
        self._files_url = files_url
        self._files: dict[str, bytes] = {}
        self._projects: dict[str, list[Shown]] = {}
        for path in sorted(folder.glob("*.whl")) if folder else ():
            self._add(path)
        self._kept = lru_cache(maxsize=64)(self._page)

    def page(self, project: str, media: str, zipped: bool) -> Body | None:
        """``None`` if there is no such project."""
        files = self._projects.get(project) or _count(project) >= MANY_FILES
        return (self._kept if files else self._page)(project, media, zipped)

    def file(self, filename: str) -> Body | None:
        if filename.endswith(".metadata"):
            beside = self._files.get(filename) or synthetic_projects.metadata(
                filename.removesuffix(".metadata")
            )
            return _body("text/plain", [beside], filename) if beside is not None else None
        if (content := self._files.get(filename)) is not None:
            return _body("application/octet-stream", [content], filename)
        if (found := synthetic_projects.content(filename)) is None:
            return None
        block, size, tail = found
        return _body("application/octet-stream", [memoryview(block)[:size], tail], filename)

    def is_real(self, filename: str) -> bool:
        """Whether the file is a wheel of the folder."""
        return filename.endswith(".whl") and filename in self._files

    def _add(self, path: Path) -> None:
        content = path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            (name,) = (each for each in archive.namelist() if each.endswith("/METADATA"))
            beside = archive.read(name)
        project = parse_wheel_filename(path.name)[0]
        needs = next(_values(beside, "Requires-Python"), "")
        digests = [hashlib.sha256(each).hexdigest() for each in (content, beside)]
        shown = Shown(path.name, digests[0], len(content), digests[1], needs)
        self._projects.setdefault(project, []).append(shown)
        self._files |= {path.name: content, f"{path.name}.metadata": beside}

    def _page(self, project: str, media: str, zipped: bool) -> Body | None:
        files = self._projects.get(project) or synthetic_projects.listing(project)
        if files is None:
            return None
        entries = [synthetic_projects.entry(file, self._files_url) for file in files]
        content = _json(project, entries) if media == JSON else _html(project, entries)
        body = gzip.compress(content, 6, mtime=0) if zipped else content
        return Body(media, [body], hashlib.sha256(body).hexdigest()[:32], zipped)


def _count(project: str) -> int:
    """The number of files that the name of a made project says; 0 if it is not made."""
    number = project.removeprefix("made-").partition("x")[0]
    return int(number) if project.startswith("made-") and number.isdigit() else 0


def _values(metadata: bytes, key: str) -> Iterator[str]:
    for line in metadata.partition(b"\n\n")[0].decode().splitlines():
        if line.startswith(f"{key}: "):
            yield line.partition(": ")[2]


def _body(media: str, parts: Sequence[bytes | memoryview], name: str) -> Body:
    return Body(media, parts, hashlib.sha256(name.encode()).hexdigest()[:32])


def _json(project: str, entries: Sequence[dict[str, object]]) -> bytes:
    versions = list(dict.fromkeys(str(each["filename"]).split("-")[1] for each in entries))
    page = {"meta": {"_last-serial": 1, "api-version": "1.4"}, "name": project}
    return json.dumps({**page, "files": entries, "versions": versions}).encode()


def _html(project: str, entries: Sequence[dict[str, object]]) -> bytes:
    anchors = "\n".join(
        f'<a href="{each["url"]}#sha256={each["hashes"]["sha256"]}"'  # type: ignore[index]
        f' data-requires-python="{escape(str(each["requires-python"]))}"'
        f' data-core-metadata="sha256={each["core-metadata"]["sha256"]}"'  # type: ignore[index]
        f">{each['filename']}</a><br />"
        for each in entries
    )
    head = '<meta name="pypi:repository-version" content="1.4">'
    title = f"<title>Links for {project}</title>"
    text = f"<html><head>{head}{title}</head><body>\n{anchors}\n</body></html>\n"
    return f"<!DOCTYPE html>{text}".encode()
