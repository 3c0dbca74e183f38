"""What is held of a mirror's files: which stored bytes once stood behind which address."""

from __future__ import annotations

import msgspec

from proxy.storage.base import Records


class CachedFileRecord(msgspec.Struct, frozen=True):
    sha256: str
    """The key of its bytes in the store."""
    size: int
    """Bytes."""
    stored: float
    """Unix time in seconds."""
    uploaded: str | None = None


class CachedFiles:
    """Remembers files by project, filename and the digest in their address.

    So a file that upstream no longer lists, or lists with other bytes now, can still be had by
    whoever names its digest, and files without a sha256 in their index are found in the store.
    """

    def __init__(self, records: Records, namespace: str) -> None:
        self._records = records
        self._prefix = f"held/{namespace}"

    async def get(self, project: str, digest: str, filename: str) -> CachedFileRecord | None:
        record = await self._records.get(f"{self._prefix}/{project}/{digest}/{filename}")
        try:
            return msgspec.json.decode(record, type=CachedFileRecord) if record else None
        except msgspec.MsgspecError:
            return None

    async def put(self, project: str, digest: str, filename: str, held: CachedFileRecord) -> None:
        key = f"{self._prefix}/{project}/{digest}/{filename}"
        await self._records.put(key, msgspec.json.encode(held))

    async def names(self, project: str) -> set[tuple[str, str]]:
        """All (digest, filename) remembered of a project."""
        prefix = f"{self._prefix}/{project}/"
        keys = await self._records.keys(prefix)
        return {_pair(key.removeprefix(prefix)) for key in keys}


def _pair(rest: str) -> tuple[str, str]:
    digest, _, filename = rest.partition("/")
    return digest, filename
