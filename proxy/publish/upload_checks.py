"""Checks of an upload: its form against its file name, and both against the archive.

The form is that of the legacy upload API, as PyPI accepts it; no standard describes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version

from proxy.distributions import (
    DistributionKind,
    UnusableArchive,
    check_whole,
    kind_of,
    list_zip_members,
    parse_filename,
    parse_metadata,
    read_sdist_metadata,
    read_wheel_metadata,
    safe_filename,
    same_version,
    version_for,
)
from proxy.errors import UploadRefused
from proxy.model import ProjectName, normalize

FormFields = Mapping[str, Sequence[str]]
"""The texts of the form, by field; a field may be repeated."""
DIGEST_FIELDS = {
    "sha256_digest": "sha256",
    "blake2_256_digest": "blake2_256",
    "md5_digest": "md5",
}
_SINGLE = (
    *(":action", "protocol_version", "filetype", "pyversion", "name", "version"),
    *("metadata_version", "requires_python", "attestations", *DIGEST_FIELDS),
)
_KINDS_BY_FILETYPE = {"sdist": DistributionKind.SDIST, "bdist_wheel": DistributionKind.WHEEL}
_HEX = re.compile(r"[0-9a-f]+\Z")


@dataclass(frozen=True, slots=True)
class UploadedRelease:
    """The subject of a form."""

    project: ProjectName
    name: str
    """As written."""
    version: str
    """Normalized (PEP 440)."""
    filename: str


def check_form(fields: FormFields, filename: str) -> UploadedRelease:
    """The release and file that the form names. Raises ``UploadRefused``."""
    for field in _SINGLE:
        if len(fields.get(field, ())) > 1:
            raise UploadRefused(f"the form has the field {field} {len(fields[field])} times")
    if _text(fields, "protocol_version") not in ("", "1"):
        raise UploadRefused("Unknown protocol version: this server knows version 1")
    project, version = _named(fields)
    kind = _KINDS_BY_FILETYPE.get(_text(fields, "filetype"))
    if kind is None:
        raise UploadRefused("Use a known file type: filetype has to be sdist or bdist_wheel")
    if kind is DistributionKind.SDIST and _text(fields, "pyversion") not in ("", "source"):
        raise UploadRefused("Use 'source' as Python version for an sdist.")
    _check_filename(filename, kind, project, version)
    return UploadedRelease(project, _text(fields, "name"), version, filename)


def check_digests(fields: FormFields, actual: Mapping[str, str]) -> None:
    """Every digest in the form has to be that of the bytes. Raises ``UploadRefused``."""
    given = {name: _text(fields, field).lower() for field, name in DIGEST_FIELDS.items()}
    given = {name: digest for name, digest in given.items() if digest}
    if not given:
        raise UploadRefused("Include at least one message digest, such as sha256_digest")
    for name, digest in given.items():
        if not _HEX.match(digest):
            raise UploadRefused(f"{name} is no hexadecimal digest")
        if digest != actual[name]:
            raise UploadRefused(
                f"the {name} of the bytes that arrived is {actual[name]}, and the form says "
                f"{digest}; upload the file again"
            )


def check_archive(path: Path, release: UploadedRelease, fields: FormFields) -> list[str]:
    """Compare the archive with what the form says; returns warnings. Blocks.

    Raises ``UploadRefused``.
    """
    filename = release.filename
    try:
        check_whole(path, filename)
        metadata = _metadata(path, filename)
        found = parse_metadata(metadata, sdist=kind_of(filename) is DistributionKind.SDIST)
        found.check(release.project, release.version)
    except UnusableArchive as error:
        raise UploadRefused(f"{filename} cannot be published: {error.reason}") from None
    _validate(metadata, filename)
    return _warnings(metadata, _text(fields, "requires_python"), filename)


def _text(fields: FormFields, field: str) -> str:
    """The value of a field that the form may have once; empty if it has none."""
    return next(iter(fields.get(field, ())), "").strip()


def _named(fields: FormFields) -> tuple[ProjectName, str]:
    try:
        project = normalize(_text(fields, "name"))
    except ValueError:
        raise UploadRefused("the field name is no project name") from None
    try:
        return project, str(Version(_text(fields, "version")))
    except InvalidVersion:
        raise UploadRefused("the field version is no version as PEP 440 has it") from None


def _check_filename(
    filename: str, kind: DistributionKind, project: ProjectName, version: str
) -> None:
    said = parse_filename(filename)
    if said is None or not safe_filename(filename):
        raise UploadRefused("the name of the file is not one that a distribution can have")
    if kind_of(filename) is not kind:
        raise UploadRefused(f"{filename} does not have the extension of its filetype")
    named = version_for(filename, project)
    if said.certain:
        fits = said.project == project and same_version(said.version, version)
    else:
        fits = named is not None and same_version(named, version)
    if not fits:
        raise UploadRefused(f"{filename} is not the name of a file of {project} {version}")


def _metadata(path: Path, filename: str) -> bytes:
    """Raises ``UnusableArchive``."""
    if kind_of(filename) is not DistributionKind.WHEEL:
        return read_sdist_metadata(path, filename)
    metadata = read_wheel_metadata(path, filename)
    if not any(one.name.endswith(".dist-info/WHEEL") for one in list_zip_members(path)):
        raise UnusableArchive("it has no WHEEL in its .dist-info directory")
    return metadata


def _validate(metadata: bytes, filename: str) -> None:
    from packaging.metadata import ExceptionGroup, Metadata

    try:
        Metadata.from_email(metadata, validate=True)
    except ExceptionGroup as group:
        problems = "; ".join(" ".join(str(each).split()) for each in group.exceptions[:3])
        raise UploadRefused(f"the metadata of {filename} are not valid: {problems}") from None
    except (ValueError, RecursionError) as error:
        raise UploadRefused(f"the metadata of {filename} are not valid: {error}") from None


def _warnings(metadata: bytes, requires_python: str, filename: str) -> list[str]:
    from packaging.metadata import parse_email

    fields, _ = parse_email(metadata)
    found = []
    if not fields.get("description", "").strip():
        found.append(f"{filename} has no long description")
    elif not fields.get("description_content_type"):
        found.append(f"{filename} does not say of which type its long description is")
    if requires_python and requires_python != fields.get("requires_python", ""):
        found.append("Requires-Python in the form is not that of the file, which counts")
    return found
