"""The form of the legacy upload API for a file that is published elsewhere, and its answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from proxy.distributions import (
    DistributionKind,
    UnusableArchive,
    kind_of,
    read_sdist_metadata,
    read_wheel_metadata,
)
from proxy.errors import UploadRefused
from proxy.model import SIGNATURE
from proxy.publish.upload_checks import FormFields, check_archive, check_form

ATTESTATION_SUFFIX = ".publish.attestation"
_EXISTING = ("already exist", "updating asset", "cannot be updated", "already been taken")
"""Words of servers for a filename that is in use."""
_FIELDS = {
    "license_files": "license_file",
    "platforms": "platform",
    "supported_platforms": "supported_platform",
}
"""Names of form fields that are not those of ``packaging.metadata``."""


def outgoing_form(path: Path) -> tuple[tuple[str, str], ...]:
    """The texts of the form, after the checks that an index makes. Blocks.

    Raises ``UploadRefused`` and ``OSError``.
    """
    fields = tuple(_form(path))
    grouped: dict[str, list[str]] = {}
    for name, value in fields:
        grouped.setdefault(name, []).append(value)
    form: FormFields = grouped
    check_archive(path, check_form(form, path.name), form)
    return fields


def signature_of(path: Path) -> dict[str, bytes]:
    """The file of the form for the signature beside the file, if there is one."""
    with suppress(FileNotFoundError):
        return {"gpg_signature": path.with_name(path.name + SIGNATURE).read_bytes()}
    return {}


def is_conflict(status: int, text: str) -> bool:
    """Whether the answer of a server says that it has a file of that name."""
    said = text.lower()
    if status == 409:
        return True
    if status == 403:
        return "overwrite artifact" in said
    return status == 400 and any(words in said for words in _EXISTING)


def _form(path: Path) -> Iterator[tuple[str, str]]:
    wheel = kind_of(path.name) is DistributionKind.WHEEL
    yield ":action", "file_upload"
    yield "protocol_version", "1"
    yield "filetype", "bdist_wheel" if wheel else "sdist"
    yield "pyversion", path.stem.split("-")[-3] if wheel and path.stem.count("-") > 3 else "source"
    yield from _metadata(path)
    with path.open("rb") as file:
        yield "sha256_digest", hashlib.file_digest(file, "sha256").hexdigest()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32))
        yield "blake2_256_digest", digest.hexdigest()
    with suppress(FileNotFoundError):
        text = path.with_name(path.name + ATTESTATION_SUFFIX).read_text("utf-8")
        yield "attestations", f"[{text}]"


def _metadata(path: Path) -> Iterator[tuple[str, str]]:
    from packaging.metadata import parse_email

    wheel = kind_of(path.name) is DistributionKind.WHEEL
    try:
        read = read_wheel_metadata if wheel else read_sdist_metadata
        found, _ = parse_email(read(path, path.name))
    except UnusableArchive as error:
        raise UploadRefused(f"{path.name} cannot be published: {error.reason}") from None
    for key, value in found.items():
        name = _FIELDS.get(key, key)
        if key == "keywords" and isinstance(value, list):
            yield name, ",".join(value)
        elif isinstance(value, dict):
            yield from ((name, f"{label}, {url}") for label, url in value.items())
        elif isinstance(value, list):
            yield from ((name, str(each)) for each in value)
        else:
            yield name, str(value)
