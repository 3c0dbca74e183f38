"""The names of files beside distributions: metadata, provenance, signatures and the like."""

from __future__ import annotations

from collections.abc import Iterator

YANKED_SUFFIX = ".yanked"
"""A file of this suffix beside a distribution yanks it (PEP 592); its content is the reason."""

STATUS_FILE = ".project-status"
"""A file of this name in the folder of a project has its status (PEP 792) as JSON."""
METADATA = ".metadata"
PROVENANCE = ".provenance"
SIGNATURE = ".asc"
EXTRA_SUFFIXES = (
    *(SIGNATURE, ".sig", ".sigstore", ".sigstore.json", ".publish.attestation"),
    *(".sha256", ".sha512", ".spdx.json", ".cdx.json"),
)
"""Suffixes of further files beside a distribution: signatures, checksums, bills of material."""
MAX_EXTRA_FILE = 8 * 2**20
"""Bytes of a further file that is fetched or exported."""
SIBLING_SUFFIXES = (METADATA, PROVENANCE, *EXTRA_SUFFIXES)


def with_distributions(filename: str) -> Iterator[str]:
    """The name itself and, for the name of a sibling, the name of its distribution."""
    yield filename
    if filename.endswith(SIBLING_SUFFIXES):
        for suffix in SIBLING_SUFFIXES:
            if filename.endswith(suffix):
                yield from with_distributions(filename.removesuffix(suffix))


def distribution_of(filename: str) -> str:
    """The name of the distribution that a file is a sibling of; the name itself for others."""
    suffixes = (each for each in SIBLING_SUFFIXES if filename.endswith(each))
    return filename.removesuffix(max(suffixes, key=len, default=""))
