"""What a delta leaves out: all that the bundle it builds on lists."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import msgspec

from proxy.bundle.archive.checking import LARGEST_MANIFEST, read_manifest
from proxy.bundle.archive.manifest import BundledFile, BundledPage, Manifest, sha256
from proxy.bundle.archive.reading import Bundle
from proxy.bundle.archive.refused import BadBundle, BundleFailed
from proxy.bundle.archive.source import ByteSource


class Base(msgspec.Struct, frozen=True):
    digest: str
    """The sha256 of the manifest."""
    manifest: Manifest


class KnownContent:
    """What may be left out, and importing the delta then requires."""

    def __init__(self, base: Base | None) -> None:
        self.files: frozenset[str] = frozenset()
        """By sha256."""
        self._documents: frozenset[object] = frozenset()
        if base is None:
            return
        found = base.manifest
        urls = [origin.url for origin in found.indexes]
        self.files = frozenset(each.sha256 for each in found.files)
        self._documents = frozenset(
            (urls[each.index], each.key[1:], each.sha256)
            for each in chain[BundledPage | BundledFile](found.pages, found.provenance)
        )

    def has(self, url: str, entry: BundledPage | BundledFile) -> bool:
        """Whether it lists this page or provenance, of that index, with the very same content."""
        return (url, entry.key[1:], entry.sha256) in self._documents


def read_base(path: Path) -> Base:
    """From a bundle, or from the manifest of one. Raises ``BadBundle`` and ``BundleFailed``."""
    try:
        with path.open("rb") as file:
            if file.read(1) == b"{":
                file.seek(0)
                data = file.read(LARGEST_MANIFEST + 1)
                return Base(sha256(data), read_manifest(data))
            file.seek(0)
            bundle = Bundle(ByteSource(file))
            return Base(bundle.digest, bundle.manifest)
    except BadBundle as error:
        raise BadBundle(f"{path}: {error.problem}") from error
    except OSError as error:
        raise BundleFailed(f"{path} cannot be read", error) from error
