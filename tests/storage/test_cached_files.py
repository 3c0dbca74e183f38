from __future__ import annotations

import pytest

from proxy.storage.mirror_records import CachedFileRecord, CachedFiles
from tests.support.records import CountedRecords

FILE = CachedFileRecord("ab" * 32, 100, 1_000_000.5, "2024-01-02T03:04:05Z")
OTHER = CachedFileRecord("cd" * 32, 5, 2.0)


async def test_a_file_is_found_by_project_digest_and_name() -> None:
    records = CountedRecords()
    files = CachedFiles(records, "pypi")
    await files.put("demo", "ab" * 32, "demo-1.0.zip", FILE)
    await files.put("demo", "-", "demo-1.0.zip", OTHER)
    again = CachedFiles(records, "pypi")
    assert await again.get("demo", "ab" * 32, "demo-1.0.zip") == FILE
    assert await again.get("demo", "-", "demo-1.0.zip") == OTHER
    assert await again.get("demo", "-", "demo-2.0.zip") is None
    assert await again.get("other", "-", "demo-1.0.zip") is None


async def test_indexes_are_apart() -> None:
    records = CountedRecords()
    await CachedFiles(records, "pypi").put("demo", "-", "demo-1.0.zip", FILE)
    assert await CachedFiles(records, "other").get("demo", "-", "demo-1.0.zip") is None
    assert await CachedFiles(records, "other").names("demo") == set()


async def test_the_names_are_those_of_the_project_alone() -> None:
    files = CachedFiles(CountedRecords(), "pypi")
    await files.put("demo", "md5-" + "0" * 32, "demo-1.0+cu1.zip", FILE)
    await files.put("demo", "-", "demo-1.0+cu1.zip.metadata", FILE)
    await files.put("demo-more", "-", "demo-more-1.0.zip", FILE)
    assert await files.names("demo") == {
        ("md5-" + "0" * 32, "demo-1.0+cu1.zip"),
        ("-", "demo-1.0+cu1.zip.metadata"),
    }


@pytest.mark.parametrize("record", [b"", b"{", b"{}", b'{"sha256": 5}'])
async def test_a_record_that_cannot_be_read_is_absent(record: bytes) -> None:
    records = CountedRecords()
    records.content["held/pypi/demo/-/demo-1.0.zip"] = record
    assert await CachedFiles(records, "pypi").get("demo", "-", "demo-1.0.zip") is None
