"""What the tests of the web have in common: an index to lay out, and a server in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from tests.support.fake_index import FakeIndex
from tests.support.site import Site, serving


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that serves in earnest; its transports are not those of asyncio."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def stock() -> FakeIndex:
    return FakeIndex()


@pytest.fixture(params=["parsed", "fast"])
async def site(request: pytest.FixtureRequest, stock: FakeIndex) -> AsyncIterator[Site]:
    """Once with every request parsed, once with those answered before that can be.

    Whatever holds of one has to hold of the other; in the second, each request is made twice.
    """
    fast = request.param == "fast"
    async with serving(stock, fast=fast, twice=fast) as running:
        yield running
