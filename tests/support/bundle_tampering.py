"""Hostile archives that look like bundles."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from proxy.bundle.format import sha256, zstd_compress, zstd_decompress

Json = dict[str, Any]
Members = dict[str, bytes]
HEAD, MANIFEST = "waystation-bundle.json", "manifest.json.zst"


def members(bundle: Path) -> Members:
    """What is in a bundle, by name and in order."""
    found: Members = {}
    with tarfile.open(bundle) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file
            found[member.name] = file.read()
    return found


def archive(parts: Members) -> bytes:
    """As a tar archive such as a bundle is."""
    written = io.BytesIO()
    for name, data in parts.items():
        info = tarfile.TarInfo(name)
        info.size = len(data)
        written.write(info.tobuf(tarfile.USTAR_FORMAT))
        written.write(data + bytes(-len(data) % 512))
    return written.getvalue() + bytes(1024)


def manifest_of(parts: Members) -> Json:
    head = msgspec.json.decode(parts[HEAD])
    found: Json = msgspec.json.decode(zstd_decompress(parts[MANIFEST], head["manifest"]["size"]))
    return found


def sealed(parts: Members, manifest: bytes, summary: Json | None = None) -> Members:
    """With another manifest; the head describes it, or is ``summary`` where given."""
    packed = zstd_compress(manifest)
    right = {
        "sha256": sha256(manifest),
        "size": len(manifest),
        "packed": {"sha256": sha256(packed), "size": len(packed)},
    }
    head = {
        "format": "waystation-bundle",
        "schema": 1,
        "manifest": summary or right,
        "signer": None,
    }
    return parts | {HEAD: msgspec.json.encode(head), MANIFEST: packed}


def altered(bundle: Path, change: Callable[[Json], object]) -> bytes:
    """The archive with its manifest changed, everything in it consistent otherwise."""
    parts = members(bundle)
    manifest = manifest_of(parts)
    change(manifest)
    return archive(sealed(parts, msgspec.json.encode(manifest)))
