from __future__ import annotations

from typing import Any

import pytest

from proxy.storage.keys import Key, RecordKind
from proxy.storage.mirror_records import StoredPage, StoredPages, pack_page, unpack_page
from tests.support.clock import Clock
from tests.support.content import sha256
from tests.support.records import CountedRecords

PLACE = "index", "demo"
HEAD, PAGE_DOCUMENT = Key(RecordKind.PAGE, *PLACE), Key(RecordKind.DOCUMENT, *PLACE)
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
    records = CountedRecords()
    await StoredPages(records).put(*PLACE, page, pack_page(DOCUMENT))
    again = StoredPages(records)
    assert await again.head(*PLACE) == page
    packed = await again.document(*PLACE, page.digest)
    assert packed is not None and len(packed) < len(DOCUMENT) / 10
    assert unpack_page(packed) == DOCUMENT
    assert await again.projects("index") == {"demo"}
    assert await again.projects("other") == set()


async def test_a_new_head_leaves_the_document_alone() -> None:
    records = CountedRecords()
    pages = StoredPages(records)
    await pages.put(*PLACE, head(), pack_page(DOCUMENT))
    document = records.content[PAGE_DOCUMENT]
    assert await pages.touch(*PLACE, FULL)
    assert await pages.head(*PLACE) == FULL
    assert records.content[PAGE_DOCUMENT] is document


async def test_the_document_of_another_version_is_no_pair_to_a_head() -> None:
    pages = StoredPages(CountedRecords())
    await pages.put(*PLACE, head(), pack_page(DOCUMENT))
    assert await pages.document(*PLACE, sha256(b"another")) is None


async def test_a_head_that_is_not_of_the_stored_document_is_not_stored() -> None:
    """Another process has replaced the page: both records stay a pair."""
    pages = StoredPages(CountedRecords())
    assert not await pages.touch(*PLACE, head())
    await pages.put(*PLACE, head(), pack_page(DOCUMENT))
    assert not await pages.touch(*PLACE, head(b"another", checked=1_000_001.0))
    assert await pages.head(*PLACE) == head()


async def test_a_page_checked_earlier_replaces_none_that_was_checked_later() -> None:
    pages = StoredPages(CountedRecords())
    newer, older = head(b"newer", checked=1_000_002.0), head(b"older", checked=1_000_001.0)
    assert await pages.put(*PLACE, newer, pack_page(b"newer"))
    assert not await pages.put(*PLACE, older, pack_page(b"older"))
    assert not await pages.touch(*PLACE, head(b"newer", checked=1_000_001.0))
    assert not await pages.forget(*PLACE, checked=1_000_001.0)
    assert await pages.head(*PLACE) == newer
    packed = await pages.document(*PLACE, newer.digest)
    assert packed and unpack_page(packed) == b"newer"


async def test_a_page_checked_at_the_same_time_is_replaced() -> None:
    pages = StoredPages(CountedRecords())
    for content in (b"one", b"two"):
        assert await pages.put(*PLACE, head(content), pack_page(content))
    assert await pages.head(*PLACE) == head(b"two")


async def test_a_page_from_a_clock_that_was_ahead_is_replaced() -> None:
    """Else it would stay until that time, whatever upstream has since."""
    clock = Clock()
    pages = StoredPages(CountedRecords(), clock)
    await pages.put(*PLACE, head(b"ahead", checked=clock() + 3600), pack_page(b"ahead"))
    assert await pages.put(*PLACE, head(b"now", checked=clock()), pack_page(b"now"))
    assert await pages.head(*PLACE) == head(b"now", checked=clock())


async def test_what_is_forgotten_is_gone() -> None:
    records = CountedRecords()
    pages = StoredPages(records)
    await pages.put(*PLACE, head(), pack_page(DOCUMENT))
    await pages.forget(*PLACE)
    assert await pages.head(*PLACE) is None
    assert await pages.document(*PLACE, head().digest) is None
    assert records.content == {}


@pytest.mark.parametrize(
    "record",
    [b"{", b"\xff", b"{}", b"[]", b'{"schema": 1, "page": {}}', b'{"schema": 1, "page": null}'],
)
async def test_a_head_that_cannot_be_read_is_absent(record: bytes) -> None:
    records = CountedRecords()
    records.content[HEAD] = record
    assert await StoredPages(records).head(*PLACE) is None


async def test_a_head_of_another_schema_is_absent() -> None:
    records = CountedRecords()
    await StoredPages(records).put(*PLACE, head(), pack_page(DOCUMENT))
    key = HEAD
    records.content[key] = records.content[key].replace(b'"schema":1', b'"schema":2')
    assert await StoredPages(records).head(*PLACE) is None


def test_heads_are_of_the_same_page_only_if_all_that_it_is_read_from_is_the_same() -> None:
    assert head().document == FULL.document
    for other in (head(b"another"), head(url="https://example.com/"), head(content_type="")):
        assert other.document != head().document


def test_a_page_is_doubtful_while_upstream_says_otherwise() -> None:
    assert not head().doubtful
    assert head(gone_since=0.0).doubtful
    assert head(older_since=1.0).doubtful
