"""Promotion: files of one local index are published in another one, with all files beside them.

A directory gets a hard link where that is possible, else a copy. Digests, signatures, provenance,
the mark of a yank and ``upload-time`` stay as they are; the journal of the target has the instant
of the promotion, and the index from which each file comes.
"""

from __future__ import annotations

from proxy.errors import UploadRefused
from proxy.model import File, ProjectPage
from proxy.publish.package_changes import Action, PackageChange, yank_detail
from proxy.publish.publisher import Editor, Publisher, has_file, listed_file
from proxy.publish.upkeep import Selection
from proxy.runtime import in_thread


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
        page = await self._checked(files, selection, editor)
        made: list[PackageChange] = []
        for file in files:
            if not has_file(page, file):
                made += await self._publish(file, selection, editor)
        return made

    @staticmethod
    async def selected(source: Publisher, selection: Selection) -> list[File]:
        """Files of a local index. Raises ``UploadRefused`` if there are none."""
        page = await source.page(selection.project)
        files = [file for file in page.files if selection.has(file.filename)] if page else []
        if not files:
            raise UploadRefused(f"there is no file {selection} in {source.name}")
        return files

    async def _checked(
        self, files: list[File], selection: Selection, editor: Editor
    ) -> ProjectPage | None:
        """The page of the target. Raises ``UploadRefused`` if not all files can be published."""
        target = self._target
        page = await target.page(selection.project)
        await target.require_editable(selection.project, page, editor)
        wanted = [file for file in files if not has_file(page, file)]
        for file in wanted:
            target.check_size(file.size or 0, file.filename)
            there = listed_file(page, file.filename)
            await in_thread(target.check_conflict, file.filename, file.sha256 or "", there)
        total = sum(file.size or 0 for file in wanted)
        await target.check_quotas(page, None, total, editor)
        return page

    async def _publish(
        self, file: File, selection: Selection, editor: Editor
    ) -> list[PackageChange]:
        async def prepare() -> list[PackageChange]:
            page = await self._checked([file], selection, editor)
            if has_file(page, file):
                return []
            there = listed_file(page, file.filename)
            details = {Action.REPLACE if there else Action.PUBLISH: self._source.name}
            if file.yanked is not False:
                details[Action.YANK] = yank_detail(file.yanked)
            change, project = self._target.change_of_file, selection.project
            return [change(each, project, file, editor, detail) for each, detail in details.items()]

        packages = self._target.packages
        async with self._source.packages.staged(file, packages.incoming) as content:
            return await packages.make(prepare, content)
