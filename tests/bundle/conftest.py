"""A filled cache and its bundle, made once."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.bundle_fixtures import Near, make_large, make_near


@pytest.fixture(scope="session")
def near(tmp_path_factory: pytest.TempPathFactory) -> Near:
    """A cache that was filled online, and a bundle of all its files. Not to be changed."""
    return asyncio.run(make_near(tmp_path_factory.mktemp("near")))


@pytest.fixture(scope="session")
def sizeable(tmp_path_factory: pytest.TempPathFactory) -> Near:
    """The same with three wheels of 20 MB, which take a moment to write. Not to be changed."""
    return asyncio.run(make_large(tmp_path_factory.mktemp("sizeable"), 20 * 10**6))


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Near:
    """The same with three wheels of 100 MB. Not to be changed either."""
    return asyncio.run(make_large(tmp_path_factory.mktemp("large"), 100 * 10**6))
