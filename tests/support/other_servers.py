"""What other servers leave: folders in their layouts, and an index with pages in their forms."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path
from typing import Any

from aiohttp import web

from proxy.distributions import parse_filename

UPLOADED = "2024-01-02T03:04:05.000000Z"


def project_of(path: Path) -> str:
    said = parse_filename(path.name)
    assert said
    return said.project


def sha256_of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def devpi_entry(path: Path, index: str, **changed: Any) -> dict[str, Any]:
    """A file in ``dataindex.json``, as devpi-server 6.20 writes it."""
    said = parse_filename(path.name)
    assert said
    digest = sha256_of_file(path)
    return {
        "version": said.version,
        "entrymapping": {
            "last_modified": "Wed, 03 Jan 2024 00:00:00 GMT",
            "hash_spec": f"sha256={digest}",
            "hashes": {"sha256": digest},
            "project": said.project,
            "version": said.version,
        },
        "log": [{"what": "upload", "who": "ana", "when": [2024, 1, 2, 3, 4, 5], "dst": index}],
        "type": "releasefile",
        "projectname": said.project,
        "relpath": f"{index}/{said.project}/{said.version}/{path.name}",
    } | changed


def devpi_export(
    folder: Path, indexes: Mapping[str, Sequence[Path]], more: Sequence[Any] = ()
) -> Path:
    """The folder that ``devpi-export`` writes. ``more``: further entries of each index."""
    written: dict[str, Any] = {}
    for index, files in indexes.items():
        entries = [devpi_entry(path, index) for path in files]
        for path, entry in zip(files, entries, strict=True):
            copied(path, folder / entry["relpath"])
        config = {"bases": [], "volatile": True, "type": "stage", "acl_upload": ["ana"]}
        written[index] = {"indexconfig": config, "projects": {}, "files": [*entries, *more]}
    users = {"ana": {"username": "ana"}, "root": {"username": "root"}}
    document = {"users": users, "indexes": written, "dumpversion": "2", "devpi_server": "6.20.3"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataindex.json").write_text(json.dumps(document))
    return folder


def pypicloud_folder(folder: Path, files: Sequence[Path]) -> Path:
    """Files below the name and the version of their project, with their details beside them."""
    for path in files:
        said = parse_filename(path.name)
        assert said
        copy = copied(path, folder / said.project / said.version / path.name)
        details = {"summary": "", "hash_sha256": sha256_of_file(path)}
        copy.with_name(f"{copy.name}.meta").write_text(json.dumps(details))
    return folder


def bandersnatch_mirror(
    folder: Path, files: Sequence[Path], form: str = "index.v1_json", **described: Any
) -> Path:
    """A mirror with pages in JSON (``index.v1_json``) or HTML; ``described`` is for each file."""
    projects: dict[str, list[dict[str, Any]]] = {}
    for path in files:
        digest = hashlib.blake2b(path.read_bytes(), digest_size=32).hexdigest()
        below = f"packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{path.name}"
        copied(path, folder / "web" / below)
        entry: dict[str, Any] = {"filename": path.name, "url": f"../../{below}"}
        entry["upload-time"] = UPLOADED
        entry |= {"hashes": {"sha256": sha256_of_file(path)}, "size": path.stat().st_size}
        projects.setdefault(project_of(path), []).append(entry | described)
    for project, entries in projects.items():
        page = folder / "web" / "simple" / project / form
        page.parent.mkdir(parents=True, exist_ok=True)
        meta = {"meta": {"api-version": "1.1"}, "name": project, "files": entries, "versions": []}
        page.write_text(json.dumps(meta) if form.endswith("json") else _html(entries))
    return folder


def copied(path: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    return target


def _html(entries: Sequence[Mapping[str, Any]]) -> str:
    links = []
    for entry in entries:
        address = f"{entry['url']}#sha256={entry['hashes']['sha256']}"
        yanked = f' data-yanked="{escape(str(entry["yanked"]))}"' if entry.get("yanked") else ""
        links.append(f'<a href="{escape(address)}"{yanked}>{entry["filename"]}</a><br/>')
    return "<!DOCTYPE html><html><body>" + "\n".join(links) + "</body></html>"


class OtherIndex:
    """Pages with relative links, as Artifactory (sha256) and Nexus (md5 only) write them."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = {path.name: path for path in files}
        self.address = ""
        self.other_host = ""
        """Another one of the same server, with its port."""
        self.requests: list[tuple[str, str]] = []
        """Path and user name of each."""
        self.digests: dict[str, str] = {}
        """Digests on pages that are not those of the bytes, by file name."""
        self.file_host = ""
        """Where it is not that of the pages: the beginning of all links."""

    @property
    def artifactory(self) -> str:
        return f"{self.address}/artifactory/api/pypi/acme-local/simple/"

    @property
    def nexus(self) -> str:
        return f"{self.address}/repository/acme-pypi/simple/"

    def routes(self) -> web.Application:
        app = web.Application()
        for root, page in (
            ("/artifactory/api/pypi/acme-local", self._artifactory_page),
            ("/repository/acme-pypi", self._nexus_page),
        ):
            app.router.add_get(f"{root}/simple/", self._list)
            app.router.add_get(f"{root}/simple/{{project}}/", page)
            app.router.add_get(f"{root}/packages/{{rest:.*}}", self._file)
        return app

    async def _list(self, request: web.Request) -> web.Response:
        self._note(request)
        names = sorted({project_of(path) for path in self.files.values()})
        lines = [f'<a href="{name}/">{name}</a><br/>' for name in names]
        return web.Response(text="\n".join(lines), content_type="text/html")

    async def _artifactory_page(self, request: web.Request) -> web.Response:
        return self._page(request, "sha256", "../../packages/packages/{start}/{name}")

    async def _nexus_page(self, request: web.Request) -> web.Response:
        return self._page(request, "md5", "../../packages/{project}/1.0/{name}")

    def _page(self, request: web.Request, algorithm: str, link: str) -> web.Response:
        self._note(request)
        project, lines = request.match_info["project"], []
        for name, path in self.files.items():
            if project_of(path) == project:
                known = hashlib.new(algorithm, path.read_bytes()).hexdigest()
                digest = self.digests.get(name, known)
                address = link.format(start=digest[:2], name=name, project=project)
                if self.file_host:
                    root = request.path.partition("/simple/")[0]
                    address = f"{self.file_host}{root}/{address.removeprefix('../../')}"
                lines.append(f'<a href="{address}#{algorithm}={digest}" rel="internal">{name}</a>')
        if not lines:
            return web.Response(status=404)
        return web.Response(text="<html><body>\n" + "\n".join(lines), content_type="text/html")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        return web.FileResponse(self.files[request.path.rpartition("/")[2]])

    def _note(self, request: web.Request) -> None:
        self.requests.append((request.path, request.headers.get("Authorization", "")))


@asynccontextmanager
async def other_index(*files: Path) -> AsyncIterator[OtherIndex]:
    index = OtherIndex(files)
    runner = web.AppRunner(index.routes())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        await web.TCPSite(runner, "127.0.0.2", port).start()
        index.address = f"http://127.0.0.1:{port}"
        index.other_host = f"127.0.0.2:{port}"
        yield index
    finally:
        await runner.cleanup()
