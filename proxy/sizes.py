"""Sizes as people read them."""

from __future__ import annotations


def size_text(size: float) -> str:
    """``size`` in bytes: ``12.3 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
