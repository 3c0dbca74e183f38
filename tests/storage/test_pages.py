from __future__ import annotations

from typing import Any

import pytest

from proxy.storage.mirror_records import StoredPage, StoredPages, pack_page, unpack_page
from tests.support.content import sha256
from tests.support.records import MemoryRecords

KEY = "index/demo"
DOCUMENT = b"<html>" + b"a page " * 1000


def head(document: bytes = DOCUMENT, **more: Any) -> StoredPage:
    known: dict[str, Any] = {
        "url": "https://example.com/simple/demo/",
        "content_type": "text/html",
        "checked": 1_000_000.5,
        "lifetime": None,
        "digest": sha256(document),
    }
    return StoredPage(**known | more)


FULL = head(
    lifetime=600.0,
    must_revalidate=True,
    etag='W/"a"',
    last_modified="Tue, 02 Jan 2024 03:04:05 GMT",
    serial=7,
    gone_since=5.0,
    older_since=6.0,
)


@pytest.mark.parametrize("page", [head(), FULL])
async def test_what_was_put_is_there(page: StoredPage) -> None:
    records = MemoryRecords()
    await StoredPages(records).put(KEY, page, pack_page(DOCUMENT))
    again = StoredPages(records)
    assert await again.head(KEY) == page
    packed = await again.document(KEY, page.digest)
    assert packed is not None and len(packed) < len(DOCUMENT) / 10
    assert unpack_page(packed) == DOCUMENT
    assert await again.keys("index/") == [KEY]
    assert await again.keys("other/") == []


async def test_a_new_head_leaves_the_document_alone() -> None:
    records = MemoryRecords()
    pages = StoredPages(records)
    await pages.put(KEY, head(), pack_page(DOCUMENT))
    document = records.content[f"document/{KEY}"]
    await pages.touch(KEY, FULL)
    assert await pages.head(KEY) == FULL
    assert records.content[f"document/{KEY}"] is document


async def test_the_document_of_another_version_is_no_pair_to_a_head() -> None:
    pages = StoredPages(MemoryRecords())
    await pages.put(KEY, head(), pack_page(DOCUMENT))
    await pages.touch(KEY, head(b"another"))
    assert await pages.document(KEY, sha256(b"another")) is None


async def test_what_is_forgotten_is_gone() -> None:
    records = MemoryRecords()
    pages = StoredPages(records)
    await pages.put(KEY, head(), pack_page(DOCUMENT))
    await pages.forget(KEY)
    assert await pages.head(KEY) is None
    assert await pages.document(KEY, head().digest) is None
    assert records.content == {}


@pytest.mark.parametrize(
    "record",
    [b"{", b"\xff", b"{}", b"[]", b'{"schema": 1, "page": {}}', b'{"schema": 1, "page": null}'],
)
async def test_a_head_that_cannot_be_read_is_absent(record: bytes) -> None:
    records = MemoryRecords()
    records.content[f"page/{KEY}"] = record
    assert await StoredPages(records).head(KEY) is None


async def test_a_head_of_another_schema_is_absent() -> None:
    records = MemoryRecords()
    await StoredPages(records).touch(KEY, head())
    key = f"page/{KEY}"
    records.content[key] = records.content[key].replace(b'"schema":1', b'"schema":2')
    assert await StoredPages(records).head(KEY) is None


def test_heads_are_of_the_same_page_only_if_all_that_it_is_read_from_is_the_same() -> None:
    assert head().document == FULL.document
    for other in (head(b"another"), head(url="https://example.com/"), head(content_type="")):
        assert other.document != head().document


def test_a_page_is_doubtful_while_upstream_says_otherwise() -> None:
    assert not head().doubtful
    assert head(gone_since=0.0).doubtful
    assert head(older_since=1.0).doubtful
