"""How it is written down which files were once listed, and with which bytes; see ``Ledger``."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from proxy.compression import compress, decompress

NO_LONGER_LISTED = "no longer listed upstream"
"""The reason by which a file is shown as yanked that upstream's page does not show any more."""


class FirstSeenFile(msgspec.Struct, frozen=True, array_like=True):
    """A file as it was listed first."""

    digest: str
    """As ``File.digest``."""
    uploaded: str | None = None
    size: int | None = None
    metadata: bool | Mapping[str, str] = False


DigestHistoryRecord = dict[str, FirstSeenFile]
"""By file name."""


def digest_history_key(namespace: str, project: str) -> str:
    """Of the record of a project."""
    return f"seen/{namespace}/{project}"


def decode_digest_history(record: bytes) -> DigestHistoryRecord:
    """Nothing for a record that is of another version, or damaged."""
    try:
        return msgspec.json.decode(decompress(record), type=DigestHistoryRecord)
    except (msgspec.MsgspecError, OSError, EOFError):
        return {}


def encode_digest_history(seen: DigestHistoryRecord) -> bytes:
    return compress(msgspec.json.encode(seen))
