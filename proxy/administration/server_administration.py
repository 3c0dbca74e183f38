"""Administration of a running server: its cache, its downloads, its settings."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from proxy import __version__
from proxy.administration.running_workers import DownloadState, RunningWorkers, WorkerState
from proxy.composition import Proxy
from proxy.errors import ConfigurationError, NoSuchFile, NoSuchProject
from proxy.maintenance import (
    cached_files,
    pinned_files,
    projects_in,
    purge,
    purge_everything,
    purge_file,
    stats,
)
from proxy.model import ProjectName
from proxy.runtime import in_thread

MAX_LISTED = 1000
"""Projects of one answer; the next ones come with ``after``."""


class ServerAdministration:
    """Works on the cache that all workers share, and announces to them what has changed."""

    def __init__(
        self,
        proxy: Proxy,
        *,
        group: int,
        settings: Callable[[], Mapping[str, Any]],
        reload: Callable[[], Awaitable[tuple[str, ...]]],
        reload_failed: Callable[[], bool],
        search_audit: Callable[[dict[str, Any]], Any],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``group`` as in ``RunningWorkers``. ``settings``: those in force, each with its origin,
        secrets masked. ``reload`` reloads all workers, and returns what needs a restart.
        ``search_audit`` blocks.
        """
        self._proxy = proxy
        self._settings = settings
        self._reload = reload
        self.reload_failed = reload_failed
        self._search_audit = search_audit
        self._clock = clock
        self.workers = RunningWorkers(proxy.cache.folder / "servers", group, self._state)

    async def status(self) -> Any:
        states, found = await self.workers.states(), await stats(self._proxy.cache)
        return {
            "version": __version__,
            "workers": [each.pid for each in states],
            "reload_failed": self.reload_failed(),
            "cache": {
                "projects": found.projects,
                "files": found.files,
                "bytes": found.size,
                "changed": found.changed,
                "pinned": len(await self._proxy.cache.pins.all()),
            },
            "downloads": sum(len(each.downloads) for each in states),
            "upstream_requests": sum(each.upstream_requests for each in states),
            "unreachable": sorted({name for each in states for name in each.open_breakers}),
        }

    async def cached(self, project: ProjectName | None, after: str) -> Any:
        """The files of a project, or of the projects whose names come after that text."""
        cache = self._proxy.cache
        names = sorted(await projects_in(cache))
        if project is not None and project not in names:
            raise NoSuchProject(project, "the cache has nothing of it")
        names = [project] if project is not None else [each for each in names if each > after]
        shown, pinned = names[:MAX_LISTED], await cache.pins.all()
        found = dict(await cached_files(cache, shown))
        projects = {
            name: [
                {
                    "filename": file.filename,
                    "sha256": file.sha256,
                    "size": file.size,
                    "pinned": file.sha256 in pinned,
                }
                for file in found.get(name, ())
            ]
            for name in shown
        }
        return {"projects": projects, "next": shown[-1] if len(names) > len(shown) else None}

    async def pins(self) -> Any:
        found = await pinned_files(self._proxy.cache)
        return {"projects": {project: files for project, files in found if files}}

    async def downloads(self) -> Any:
        states = await self.workers.states()
        return {"downloads": [each for state in states for each in state.downloads]}

    async def upstreams(self) -> Any:
        """Each mirror, with the number of workers that cannot reach its upstream."""
        states = await self.workers.states()
        down = Counter(name for each in states for name in each.open_breakers)
        upstreams = [
            {
                "index": mirror.name,
                "breaker": "open" if down[mirror.name] else "closed",
                "workers_open": down[mirror.name],
                "workers": len(states),
            }
            for mirror in self._proxy.mirrors
        ]
        return {"upstreams": upstreams}

    async def settings(self) -> Any:
        return {"settings": self._settings()}

    async def refresh(self, project: ProjectName, index: str) -> Any:
        """Ask upstream for the page now; the other workers read it before they answer again."""
        name = index or self._proxy.index.name
        if name not in self._proxy.indexes:
            raise ConfigurationError("index", f"there is no index {name}", "see [indexes]")
        self._proxy.forget_pages(project)
        try:
            page = await self._proxy.indexes[name].page(project, self._clock())
        finally:  # upstream may have removed the project
            await self._proxy.announce_renewed(project)
        checked = None if page.checked is None else round(page.checked, 3)
        return {"project": project, "index": name, "files": len(page.files), "checked": checked}

    async def purge(self, project: ProjectName | None, filename: str) -> Any:
        cache = self._proxy.cache
        if project is None:
            done = await purge_everything(cache)
            await self._proxy.forget()
        elif filename:
            done = await purge_file(cache, project, filename)
            if not done.files:
                raise NoSuchFile(project, filename, "in the cache")
            self._proxy.forget_pages(project)
        else:
            for mirror in self._proxy.mirrors:
                await mirror.page_stored(project)  # what is stored afterwards would stay
            done = await purge(cache, [project])
            if project in done.unknown:
                raise NoSuchProject(project, "the cache has nothing of it")
            await self._proxy.forget(project)
        return {"files": done.files, "bytes": done.size, "released": list(done.released)}

    async def pin(self, project: ProjectName, filename: str) -> Any:
        files = await self._chosen(project, filename)
        await self._proxy.cache.pins.pin(files.values())
        return {"pinned": sorted(files)}

    async def unpin(self, project: ProjectName, filename: str) -> Any:
        files = await self._chosen(project, filename)
        await self._proxy.cache.pins.unpin(files.values())
        return {"unpinned": sorted(files)}

    async def audit(self, query: dict[str, Any]) -> Any:
        """The answers of the audit to a query in the form of ``AuditQuery``.

        Raises ``ConfigurationError`` if that is wrong, or nothing is recorded.
        """
        return {"answers": await in_thread(self._search_audit, query)}

    async def reload(self) -> Any:
        return {"reloaded": True, "needs_restart": list(await self._reload())}

    async def _chosen(self, project: ProjectName, filename: str) -> dict[str, str]:
        """The digests of one cached file of the project, or all, by name."""
        found = dict(await cached_files(self._proxy.cache, [project])).get(project, [])
        files = {each.filename: each.sha256 for each in found}
        if filename and filename not in files:
            raise NoSuchFile(project, filename, "the cache does not have it")
        if not files:
            raise NoSuchProject(project, "the cache has no file of it")
        return {filename: files[filename]} if filename else files

    def _state(self) -> WorkerState:
        downloads = (each for mirror in self._proxy.mirrors for each in mirror.running_downloads())
        return WorkerState(
            os.getpid(),
            tuple(
                DownloadState(each.index, each.what, each.received, each.size, each.readers)
                for each in downloads
            ),
            tuple(sorted({each.index for each in self._proxy.traffic.breakers if each.is_open})),
            self._proxy.traffic.under_way,
        )
