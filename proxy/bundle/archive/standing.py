"""The bytes that stand for a file name: those that were seen first, whatever a page lists now.

A page is carried as upstream sent it. Where upstream has changed a file, and the near side went
on with the bytes it held, the far side has to do so too: what a bundle brings counts as seen.
"""

from __future__ import annotations

from itertools import groupby

from proxy.bundle.archive.manifest import BundledFile, Manifest
from proxy.bundle.archive.survey import Comparison
from proxy.model import METADATA
from proxy.storage.base import Records
from proxy.storage.seen import (
    FirstSeenFile,
    decode_digest_history,
    digest_history_key,
    encode_digest_history,
)


async def record_first_seen(records: Records, manifest: Manifest, found: Comparison) -> None:
    """Note the files that are new; those that were conflicting and are taken replace others."""
    metadata = {
        (each.index, each.project, each.filename, each.digest): {"sha256": each.sha256}
        for each in manifest.files
        if each.filename.endswith(METADATA)
    }
    changed = {each.key for each in found.conflicting}
    new = _unambiguous(manifest, found)
    for (index, project), files in groupby(new, lambda each: each.key[:2]):
        name = digest_history_key(manifest.indexes[index].namespace, project)
        record = await records.get(name)
        seen = decode_digest_history(record) if record else {}
        for file in files:
            if file.filename not in seen or file.key in changed:
                beside = (file.index, file.project, file.filename + METADATA, file.digest)
                told = metadata.get(beside, False)
                seen[file.filename] = FirstSeenFile(file.digest, file.uploaded, file.size, told)
        await records.put(name, encode_digest_history(seen))


def _unambiguous(manifest: Manifest, found: Comparison) -> list[BundledFile]:
    """New distributions whose names stand for one file in the bundle; of two, the page tells."""
    count: dict[tuple[int, str, str], int] = {}
    for each in manifest.files:
        count[each.key[:3]] = count.get(each.key[:3], 0) + 1
    new = [*found.new_files, *found.conflicting]
    plain = [each for each in new if not each.filename.endswith(METADATA) and each.digest != "-"]
    return sorted((each for each in plain if count[each.key[:3]] == 1), key=lambda each: each.key)
