"""Promotion: files of one local index are published in another one, with all that is beside them.

The target gets a hard link where that is possible, else a copy. Digests, signatures, provenance,
the mark of a yank and ``upload-time`` stay as they are; the journal of the target has the instant
of the promotion, and the index from which each file comes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from proxy.distributions import version_of
from proxy.errors import UploadRefused, UploadTooLarge
from proxy.model import YANKED_SUFFIX, File, ProjectPage
from proxy.publish.journal import Action, PackageChange
from proxy.publish.package_files import path_of, sha256_of, sidecars_of
from proxy.publish.publisher import Editor, Publisher, listed_file
from proxy.publish.upkeep import Selection
from proxy.runtime import in_thread, open_spool, size_text

_SAME_TIME = 1e-5
"""Seconds by which two times may differ that are one: pages have microseconds."""


class Promotion:
    """From one index to another."""

    def __init__(self, source: Publisher, target: Publisher) -> None:
        self._source = source
        self._target = target

    async def promote(self, selection: Selection, editor: Editor) -> list[PackageChange]:
        """Publish the selected files in the target; returns the changes that this made.

        Files that the target has already are left out. The rules are those of uploads: nothing is
        published if one of the files conflicts. Raises ``UploadRefused``, other ``ProxyError`` if
        an index cannot be read, and ``OSError`` from the disk.
        """
        files = await self.selected(self._source, selection)
        page = await self._target.page(selection.project)
        await self._target.require_editable(selection.project, page, editor)
        wanted = [file for file in files if not _has(page, file)]
        await self._check(wanted, page, editor)
        made: list[PackageChange] = []
        for file in wanted:
            made += await self._publish(file, page, selection, editor)
        return made

    @staticmethod
    async def selected(source: Publisher, selection: Selection) -> list[File]:
        """Files of a local index. Raises ``UploadRefused`` if there are none."""
        page = await source.page(selection.project)
        files = [file for file in page.files if selection.has(file.filename)] if page else []
        if not files:
            raise UploadRefused(f"there is no file {selection} in {source.name}")
        return files

    async def _check(self, files: list[File], page: ProjectPage | None, editor: Editor) -> None:
        """Raises ``UploadRefused`` if not all of them can be published."""
        most = self._target.limits.max_file
        for file in files:
            if (file.size or 0) > most:
                limit = f"{self._target.name} takes at most {size_text(most)}"
                raise UploadTooLarge(f"{file.filename} has {size_text(file.size or 0)}: {limit}")
            there = listed_file(page, file.filename)
            digest = file.sha256 or ""
            await in_thread(self._target.check_conflict, file.filename, digest, there)
        total = sum(file.size or 0 for file in files)
        await self._target.check_quotas(page, None, total, editor)

    async def _publish(
        self, file: File, page: ProjectPage | None, selection: Selection, editor: Editor
    ) -> list[PackageChange]:
        there = listed_file(page, file.filename)
        folder = self._target.folder(selection.project)
        path = path_of(there) if there else folder / file.filename
        changes = [
            self._change(Action.REPLACE if there else Action.PUBLISH, file, selection, editor)
        ]
        if file.yanked is not False:
            changes.append(self._change(Action.YANK, file, selection, editor))
        published = await in_thread(self._take, file, changes, path)
        self._target.directory.poll()
        return changes if published else []

    def _take(self, file: File, changes: list[PackageChange], path: Path) -> bool:
        source = path_of(file).resolve()
        beside = sidecars_of(path_of(file))
        if file.yanked is False:
            beside.pop(YANKED_SUFFIX, None)
        with _staged(source, self._target.incoming, _instant(file)) as staged:
            if sha256_of(staged) != file.sha256:
                raise UploadRefused(f"{file.filename} in {self._source.name} was changed just now")
            return self._target.commit(changes, staged, path, beside)

    def _change(
        self, action: Action, file: File, selection: Selection, editor: Editor
    ) -> PackageChange:
        reason = file.yanked if isinstance(file.yanked, str) else ""
        return PackageChange(
            action=action,
            at=self._target.clock(),
            actor=editor.name,
            project=selection.project,
            version=version_of(file.filename, selection.project) or "",
            filename=file.filename,
            sha256=file.sha256 or "",
            size=file.size or 0,
            detail=reason if action is Action.YANK else self._source.name,
        )


def _has(page: ProjectPage | None, file: File) -> bool:
    there = listed_file(page, file.filename)
    return there is not None and there.sha256 == file.sha256


def _instant(file: File) -> float | None:
    """The upload-time of the file as Unix time in seconds."""
    return datetime.fromisoformat(file.uploaded).timestamp() if file.uploaded else None


@contextmanager
def _staged(source: Path, folder: Path, uploaded: float | None) -> Iterator[Path]:
    """A spool file with the bytes of ``source``, durable, and modified when it was uploaded.

    Blocks. It is locked, as all spool files, so that a process that starts leaves it alone.
    """
    fd, path = open_spool(folder)
    try:
        with source.open("rb") as file:
            if _can_link(source, uploaded):
                fcntl.flock(file, fcntl.LOCK_SH)
                if _link(source, path):
                    os.fsync(file.fileno())
                    yield path
                    return
            with path.open("wb") as copy:
                shutil.copyfileobj(file, copy, 2**20)
                copy.flush()
                modified = os.fstat(file.fileno()).st_mtime if uploaded is None else uploaded
                nanoseconds = round(modified * 1e6) * 1000
                os.utime(copy.fileno(), ns=(nanoseconds, nanoseconds))
                os.fsync(copy.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)


def _can_link(source: Path, uploaded: float | None) -> bool:
    """Whether a link has the right time, and a mode that this process can set."""
    found = source.stat()
    same = uploaded is None or abs(found.st_mtime - uploaded) < _SAME_TIME
    return same and found.st_uid == os.geteuid()


def _link(source: Path, path: Path) -> bool:
    """Give ``source`` a second name instead of the empty spool file; False: that cannot be done."""
    linked = path.with_name(f"link-{path.name}")
    try:
        linked.hardlink_to(source)
    except OSError:  # another file system, or one without links
        return False
    linked.replace(path)
    return True
