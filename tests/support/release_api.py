"""A stand-in on 127.0.0.1 for GitHub's REST API of releases, with a storage on another port."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from aiohttp import web

TOKEN = "github_pat_for_tests"
EARLY = "2026-01-01T00:00:00Z"


class Asked(NamedTuple):
    path: str
    """With its query."""
    authorization: str
    is_conditional: bool


class ReleaseServer:
    """Lists what ``add`` attached; set the attributes at any time."""

    def __init__(self, per_page: int = 100) -> None:
        self.per_page = per_page
        self.asked: list[Asked] = []
        """Requests to the API."""
        self.stored: list[Asked] = []
        """Requests to the storage, to which the API redirects."""
        self.private: set[str] = set()
        """Repositories that are 404 without the token."""
        self.status = 0
        """Of every answer of the API; 0: as it should be."""
        self.headers: dict[str, str] = {}
        self.body: bytes | None = None
        """Of every list, instead of the list."""
        self.link_host = ""
        """In the addresses of further parts, instead of that of the API."""
        self.url = ""
        self.storage = ""
        self._releases: dict[str, list[dict[str, Any]]] = {}
        self._contents: dict[str, bytes] = {}
        self._runners: list[web.AppRunner] = []

    async def __aenter__(self) -> Self:
        self.url = await self._start(self._api)
        self.storage = await self._start(self._store)
        return self

    async def __aexit__(self, *_: object) -> None:
        for runner in self._runners:
            await runner.cleanup()

    async def _start(self, handler: Any) -> str:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    def release(self, repository: str, at: str = EARLY, **fields: Any) -> None:
        """A new release, to which ``add`` attaches files."""
        made = {"draft": False, "prerelease": False, "published_at": at, "assets": []} | fields
        self._releases.setdefault(repository, []).insert(0, made)

    def add(self, repository: str, content: Path, name: str = "", **fields: Any) -> dict[str, Any]:
        """Attach a file to the newest release of the repository; its asset."""
        if not self._releases.get(repository):
            self.release(repository)
        data, name = content.read_bytes(), name or content.name
        identity = str(len(self._contents) + 1)
        self._contents[identity] = data
        asset = {
            "id": int(identity),
            "name": name,
            "state": "uploaded",
            "size": len(data),
            "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
            "created_at": EARLY,
            "updated_at": EARLY,
            "url": f"{self.url}/repos/{repository}/releases/assets/{identity}",
            "browser_download_url": f"{self.url}/{repository}/download/{identity}/{name}",
        }
        self._releases[repository][0]["assets"].append(asset | fields)
        return asset

    def remove(self, repository: str) -> None:
        """All its releases."""
        self._releases[repository] = []

    def lists(self) -> list[Asked]:
        """The requests for parts of lists."""
        return [each for each in self.asked if "/releases?" in each.path]

    async def _api(self, request: web.Request) -> web.Response:
        self.asked.append(_asked(request))
        if self.status:
            return web.Response(status=self.status, headers=self.headers)
        parts = request.path.strip("/").split("/")
        repository = "/".join(parts[1:3] if parts[0] == "repos" else parts[:2])
        allowed = request.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repository not in self._releases or (repository in self.private and not allowed):
            return web.json_response({"message": "Not Found"}, status=404)
        if parts[-1] == "releases":
            return self._list(request, repository)
        return self._file(request, parts[-1] if "assets" in parts else parts[-2])

    def _file(self, request: web.Request, identity: str) -> web.Response:
        in_api = request.path.startswith("/repos/")
        if in_api and request.headers.get("Accept") != "application/octet-stream":
            return web.json_response({"id": identity})
        target = f"{self.storage}/{identity}?signature=abc"
        return web.Response(status=302, headers={"Location": target})

    def _list(self, request: web.Request, repository: str) -> web.Response:
        number = int(request.query.get("page", "1"))
        every = self._releases[repository]
        shown = every[(number - 1) * self.per_page : number * self.per_page]
        body = json.dumps(shown).encode() if self.body is None else self.body
        headers = {"ETag": f'W/"{hashlib.sha256(body).hexdigest()}"', "Cache-Control": "private"}
        if number * self.per_page < len(every):
            root = self.link_host or self.url
            target = f"{root}/repositories/1/releases?per_page={self.per_page}&page={number + 1}"
            headers["Link"] = f'<{target}>; rel="next", <{target}9>; rel="last"'
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type="application/json", headers=headers)

    async def _store(self, request: web.Request) -> web.Response:
        self.stored.append(_asked(request))
        found = self._contents.get(request.path.strip("/"))
        return web.Response(body=found) if found is not None else web.Response(status=404)


def _asked(request: web.Request) -> Asked:
    headers: Mapping[str, str] = request.headers
    return Asked(request.path_qs, headers.get("Authorization", ""), "If-None-Match" in headers)
