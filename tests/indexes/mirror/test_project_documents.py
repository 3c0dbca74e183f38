"""Documents of the JSON API of an upstream: when they are requested, kept and given."""

from __future__ import annotations

import pytest

from proxy.model import ProjectName
from tests.support.clock import Clock
from tests.support.faults import Fault
from tests.support.mirror_site import MirrorSite

FOO = ProjectName("foo")
DOCUMENT = b'{"info": {}}'


async def test_a_document_is_kept_for_a_quarter_of_an_hour(site: MirrorSite, clock: Clock) -> None:
    site.upstream.documents = {"foo/json": DOCUMENT, "foo/1.0+x/json": b"{}"}
    async with site.open() as opened:
        documents = opened.mirror.documents
        for _ in range(2):
            assert await documents.get(FOO) == DOCUMENT
            assert await documents.get(FOO, "1.0+x") == b"{}"
            assert await documents.get(FOO, "2.0") == b""
        assert site.upstream.count("/pypi/") == 3
        clock.advance(901)
        assert await documents.get(FOO) == DOCUMENT
        assert site.upstream.count("/pypi/") == 4
        opened.mirror.forget(FOO)
        assert await documents.get(FOO) == DOCUMENT
        assert site.upstream.count("/pypi/") == 5


async def test_an_upstream_that_fails_is_not_asked_for_a_minute(
    site: MirrorSite, clock: Clock
) -> None:
    site.upstream.documents = {"foo/json": DOCUMENT}
    async with site.open() as opened:
        documents = opened.mirror.documents
        assert await documents.get(FOO) == DOCUMENT
        site.upstream.fault("/pypi/", Fault(status=500))
        clock.advance(901)
        for _ in range(3):
            assert await documents.get(FOO) == DOCUMENT  # as it was
            assert await documents.get(FOO, "1.0") == b""
        assert site.upstream.count("/pypi/") == 2
        site.upstream.heal()
        clock.advance(61)
        assert await documents.get(FOO) == DOCUMENT
        assert site.upstream.count("/pypi/") == 3


@pytest.mark.parametrize("settings", [{"offline": True}, {"url": "other"}])
async def test_no_document_is_requested_where_there_can_be_none(
    site: MirrorSite, settings: dict[str, object]
) -> None:
    site.upstream.documents = {"foo/json": DOCUMENT}
    if "url" in settings:
        settings = {"url": f"{site.upstream.origin}/root/index/"}
    async with site.open(**settings) as opened:
        assert await opened.mirror.documents.get(FOO) == b""
    assert site.upstream.count("/pypi/") == 0
