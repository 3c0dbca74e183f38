"""Attestations (PEP 740) that come with a later upload of a file: added to those that it has."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from proxy.errors import NoSuchFile
from proxy.indexes import Index
from proxy.model import PROVENANCE, ProjectName

_UNREADABLE = (msgspec.MsgspecError, LookupError, TypeError, ValueError)


async def lacking_provenance(
    index: Index, project: ProjectName, filename: str, uploaded: bytes
) -> bytes | None:
    """The provenance of a listed file, with what an upload of it brings; None: it has all of that.

    Raises ``ProxyError`` if the index cannot be read.
    """
    try:
        artifact = await index.file(project, filename + PROVENANCE)
    except NoSuchFile:
        return uploaded
    known = b"".join([piece async for piece in artifact.blob.chunks()])
    return None if known == uploaded else joined_provenance(known, uploaded)


def joined_provenance(known: bytes, uploaded: bytes) -> bytes | None:
    """Both provenance objects as one; None: the second adds nothing.

    The second is of verified attestations. One of them adds something if the first has none of
    its publisher and predicate type: a repeated upload makes new signatures for one statement.
    """
    try:
        bundles = _bundles(known)
        there = {kind for bundle in bundles for kind, _ in _kinds(bundle)}
    except _UNREADABLE:  # written by hand
        return uploaded
    new = []
    for bundle in _bundles(uploaded):
        lacking = [attestation for kind, attestation in _kinds(bundle) if kind not in there]
        new += [{**bundle, "attestations": lacking}] if lacking else []
    joined = {**msgspec.json.decode(known), "attestation_bundles": [*bundles, *new]}
    return msgspec.json.encode(joined) if new else None


def _bundles(provenance: bytes) -> list[dict[str, Any]]:
    """Raises one of ``_UNREADABLE``."""
    return list(msgspec.json.decode(provenance)["attestation_bundles"])


def _kinds(bundle: Mapping[str, Any]) -> Iterator[tuple[tuple[bytes, str], object]]:
    """Publisher and predicate type of each attestation of a bundle, and the attestation."""
    publisher = msgspec.json.encode(bundle["publisher"], order="sorted")
    for attestation in bundle["attestations"]:
        statement = msgspec.json.decode(b64decode(attestation["envelope"]["statement"]))
        yield (publisher, statement["predicateType"]), attestation
