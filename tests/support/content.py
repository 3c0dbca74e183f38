"""Bytes of files: made up, hashed, and read from blobs."""

from __future__ import annotations

import asyncio
import hashlib
import random

from proxy.model import Blob


def random_bytes(size: int, seed: int = 1) -> bytes:
    """Bytes that no compression makes smaller, always the same."""
    return random.Random(seed).randbytes(size)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def read_blob(blob: Blob, start: int = 0, stop: int | None = None) -> bytes:
    async with asyncio.timeout(60):
        return b"".join([piece async for piece in blob.chunks(start, stop)])
