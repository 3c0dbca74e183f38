"""A large bundle needs no more memory than a small one, and its files are on the disk once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from proxy.bundle.importer import ImportRules, import_bundle
from proxy.bundle.reader import Bundle, ByteSource
from proxy.composition.cache import open_cache
from tests.support.bundle_fixtures import Near, peak, seen, settings

MORE = 40 * 2**20
"""Bytes; a tenth of the bundle."""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["create", "verify", "import"])
def test_memory_does_not_grow_with_the_bundle(
    near: Near, large: Near, tmp_path: Path, what: str
) -> None:
    found = []
    for number, each in enumerate((near, large)):
        cache = each.cache if what == "create" else tmp_path / f"far{number}"
        file = tmp_path / f"made{number}" if what == "create" else each.bundle
        everything: list[str | Path] = ["--all"] if what == "create" else []
        options: list[str | Path] = ["--cache-dir", cache, "--upstream", each.upstream]
        found.append(peak(what, file, *everything, *options))
    small, big = found
    assert big < small + MORE
    assert large.created.size > 300 * 10**6
    shutil.rmtree(tmp_path)


@pytest.mark.slow
async def test_an_import_moves_checked_files_instead_of_copying_them(
    large: Near, tmp_path: Path
) -> None:
    """The disk never has more than the files of the bundle."""
    most = 0

    def look(size: int) -> None:
        nonlocal most
        most = max(most, sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()))

    with large.bundle.open("rb", buffering=0) as stream:
        async with open_cache(settings(tmp_path, large.upstream)) as cache:
            await import_bundle(cache, Bundle(ByteSource(stream)), ImportRules(), look)
    look(0)
    assert most < large.created.size + 2**20
    assert len(await seen(tmp_path)) == len(await seen(large.cache))
