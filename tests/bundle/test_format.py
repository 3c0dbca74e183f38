"""The format of bundles stays: old ones are readable, and the same content gives the same bytes."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

import pytest

from proxy.bundle.format import sha256, tar_header
from tests.support.bundle_fixtures import create, offline, take

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STORED = Path(__file__).parent / "data" / "schema-1.bundle"
"""Made from the cache of ``bundle_fixtures.stock`` when schema 1 was the only one."""
UPSTREAM = "http://127.0.0.1:46399/simple/"
"""The upstream of that cache."""
ZSTD_OF_STORED = (1, 5, 7)
"""Other versions of zstd may compress the same content to other bytes."""
ZEROS, EFFS = "files/" + "0" * 64, "files/" + "f" * 64


async def test_a_stored_bundle_is_imported_and_created_again_with_the_same_bytes(
    tmp_path: Path,
) -> None:
    found = await take(tmp_path / "cache", UPSTREAM, STORED)
    assert (len(found.new_pages), len(found.new_files), len(found.new_provenance)) == (3, 6, 1)
    assert "gamma-1.0-py3-none-any.whl" in await offline(tmp_path / "cache", UPSTREAM)
    await create(tmp_path / "cache", UPSTREAM, tmp_path / "again.bundle")
    if zstd.zstd_version_info == ZSTD_OF_STORED:
        assert (tmp_path / "again.bundle").read_bytes() == STORED.read_bytes()


HEADERS = {
    (
        "waystation-bundle.json",
        0,
    ): "9595cd5aef0a356d4e1f66b2056e4110c4a1255cfa8eb843b89de7e920ad806d",
    (ZEROS, 8**11 - 1): "228256a2b08b2d18cfc2e2dfb6532f3a1f68e18c600935a2af2977d0d503cfea",
    (ZEROS, 8**11): "dd9c3873bbef596b1ff5b5326d487cffc2054aee23850e0f977828fd5474fb4b",
    (EFFS, 2**40 + 1): "779fcfb456c8580f959d5cbade91bcd8974aa57a13d63dfbe76a81ed872479b8",
    (EFFS, 2**62): "d72b679e7b6437281315846fe47d53be0cb34a562ba4498d9df482da8526a160",
}
"""The sha256 of headers, by name and size of the member."""


@pytest.mark.parametrize(("name", "size"), HEADERS)
def test_the_bytes_of_a_tar_header_stay(name: str, size: int) -> None:
    assert sha256(tar_header(name, size)) == HEADERS[name, size]


@pytest.mark.parametrize(("name", "size"), HEADERS)
def test_tar_reads_the_header_of_a_member_of_any_size(name: str, size: int) -> None:
    found = tarfile.TarInfo.frombuf(tar_header(name, size), "ascii", "strict")
    assert (found.name, found.size, found.mode, found.mtime) == (name, size, 0o644, 0)
