"""The files of a blob store on disk, seen without the store."""

from __future__ import annotations

from pathlib import Path


def stored_keys(root: Path) -> set[str]:
    return {path.name for path in root.glob("??/*") if len(path.name) == 64}


def stored_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.glob("??/*"))


def stored_path(root: Path, key: str) -> Path:
    return root / key[:2] / key
