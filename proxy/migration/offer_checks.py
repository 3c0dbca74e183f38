"""Checks of offers: the subject, and whether the bytes are those that the source names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from proxy.distributions import (
    DistributionKind,
    UnusableArchive,
    kind_of,
    parse_filename,
    parse_metadata,
    read_sdist_metadata,
    version_for,
)
from proxy.errors import UploadRefused, reason
from proxy.migration.folder_files import NOT_PUBLISHED
from proxy.migration.offers import Offer
from proxy.model import HASHES_BY_STRENGTH, Blob, new_hash
from proxy.publish import FormFields, UploadedRelease, check_archive, check_form

_FILE_TYPES = {DistributionKind.WHEEL: "bdist_wheel", DistributionKind.SDIST: "sdist"}


def release_of(offer: Offer, path: Path | None) -> UploadedRelease:
    """The release that the name of the file, or else its metadata, say. Blocks.

    Raises ``UploadRefused``.
    """
    kind, said = kind_of(offer.filename), parse_filename(offer.filename)
    if kind not in _FILE_TYPES:
        raise UploadRefused(NOT_PUBLISHED)
    if said is None:
        raise UploadRefused("its name does not have a project and a version")
    project, version = offer.project or said.project, said.version
    if not said.certain and offer.project:
        version = version_for(offer.filename, offer.project) or ""
    elif not said.certain and path:
        try:
            found = parse_metadata(read_sdist_metadata(path, offer.filename), sdist=True)
        except UnusableArchive as error:
            raise UploadRefused(f"{offer.filename} cannot be published: {error.reason}") from None
        except OSError as error:
            raise UploadRefused(f"it cannot be read: {reason(error)}") from None
        project, version = found.project, found.version
    form: FormFields = {"name": [project], "version": [version], "filetype": [_FILE_TYPES[kind]]}
    return check_form(form, offer.filename)


def check_in_place(path: Path, release: UploadedRelease) -> None:
    """Check an archive of the source itself. Blocks. Raises ``UploadRefused``."""
    try:
        check_archive(path, release, {})
    except OSError as error:
        raise UploadRefused(f"it cannot be read: {reason(error)}") from None


def strongest_digest(offer: Offer) -> list[str]:
    """The algorithm of the digest that decides; none if the source names no digest."""
    return [name for name in HASHES_BY_STRENGTH if name in offer.hashes][:1]


def require_digest(offer: Offer, algorithm: str, digest: str) -> None:
    if digest != offer.hashes[algorithm]:
        raise UploadRefused(f"its bytes do not have the {algorithm} that the source names")


async def digest_of(blob: Blob, algorithm: str) -> str:
    """In lowercase hex. Raises as the chunks of the blob."""
    state = new_hash(algorithm)
    async for piece in blob.chunks():
        state.update(piece)
    return state.hexdigest()


def attestations_of(document: bytes) -> str:
    """The attestations of a provenance object (PEP 740), as uploads send them, in JSON."""
    try:
        found: Any = msgspec.json.decode(document)
        bundles = found["attestation_bundles"]
        every = [each for bundle in bundles for each in bundle["attestations"]]
    except (msgspec.DecodeError, RecursionError, LookupError, TypeError):
        raise UploadRefused("its provenance is no provenance object (PEP 740)") from None
    return msgspec.json.encode(every).decode()
