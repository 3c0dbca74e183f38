"""The contract of tokens at rest, run over a file of one machine and over object stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeAlias

import obstore
import pytest

from proxy.access import (
    MintedTokens,
    SharedMinted,
    SharedTokens,
    Token,
    TokenStore,
)
from proxy.access.minted_tokens import MintedToken
from proxy.errors import ConfigurationError
from proxy.scale import SmallObjects, connect_object_store
from tests.support.access import add_token

OpenTokens: TypeAlias = Callable[[], TokenStore | SharedTokens]
OpenMinted: TypeAlias = Callable[[], MintedTokens | SharedMinted]


@pytest.fixture(params=["file", "folder of objects", "seaweedfs"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Empty for the file."""
    if request.param == "seaweedfs":
        return str(request.getfixturevalue("bucket"))
    return "" if request.param == "file" else f"file:{tmp_path}/objects"


@pytest.fixture
def opened(url: str, tmp_path: Path) -> Iterator[OpenTokens]:
    """Each call is as of another process."""
    with ExitStack() as stack:

        def opening() -> TokenStore | SharedTokens:
            store = SharedTokens(SmallObjects(url)) if url else TokenStore(tmp_path / "tokens")
            return stack.enter_context(closing(store))

        yield opening


@pytest.fixture
def minting(url: str, tmp_path: Path) -> Iterator[OpenMinted]:
    with ExitStack() as stack:

        def opening() -> MintedTokens | SharedMinted:
            store = SharedMinted(SmallObjects(url)) if url else MintedTokens(tmp_path / "tokens")
            return stack.enter_context(closing(store))

        yield opening


def test_another_process_sees_a_token_as_it_was_added(opened: OpenTokens) -> None:
    one, other = opened(), opened()
    assert other.all() == []
    before = other.number()
    token = Token("00" * 4, b"\0" * 32, "ci", "ana", "read:main upload:x", 100.25, 200.5)
    one.add(token)
    assert other.number() != before
    assert other.all() == [token]


def test_the_earliest_revocation_counts(opened: OpenTokens) -> None:
    one, other = opened(), opened()
    add_token(one, "ci", "admin", now=100.0)
    (token,) = other.all()
    for at, ends in ((150.5, 150.5), (120.0, 120.0), (180.0, 120.0)):
        before = other.number()
        one.revoke([token.id], at)
        assert other.number() != before
        assert [each.ends for each in other.all()] == [ends]


def test_a_name_is_used_by_one_valid_token(opened: OpenTokens) -> None:
    store = opened()
    add_token(store, "ci", "admin", now=100.0, expires=200.0)
    with pytest.raises(ConfigurationError, match="valid token 'ci'"):
        add_token(opened(), "ci", "admin", now=150.0)
    add_token(opened(), "ci", "admin", now=200.0)
    assert [each.name for each in store.all()] == ["ci", "ci"]


def test_a_successor_ends_the_token_that_it_replaces(opened: OpenTokens) -> None:
    store = opened()
    add_token(store, "ci", "admin", now=100.0)
    (old,) = store.all()
    store.add(Token("11" * 4, b"\x11" * 32, "ci", "", "admin", 150.0), [old.id], 160.0)
    assert [each.ends for each in opened().all()] == [160.0, None]


def minted(number: int, used: bytes, expires: float = 900.0) -> MintedToken:
    return MintedToken(bytes([number]) * 32, "https://ci.example.com", used, {"a": 1}, expires)


def test_an_identity_token_mints_once_for_all_processes(minting: OpenMinted) -> None:
    one, other = minting(), minting()
    token = minted(1, b"jti")
    assert one.add(token, 1000.0, 0.0)
    assert not other.add(minted(2, b"jti"), 1000.0, 0.0)
    assert other.find(token.digest, 899.0) == token
    assert other.find(minted(2, b"").digest, 0.0) is None
    assert other.find(token.digest, 900.0) is None


def test_a_burned_token_is_not_found_and_its_identity_token_stays_used(
    minting: OpenMinted,
) -> None:
    one, other = minting(), minting()
    token = minted(1, b"jti")
    one.add(token, 1000.0, 0.0)
    other.burn(token.digest, 1.0)
    assert one.find(token.digest, 1.0) is None
    assert not one.add(minted(2, b"jti"), 1000.0, 1.0)


def test_what_cannot_be_used_any_more_is_removed(bucket: str) -> None:
    with closing(SharedMinted(SmallObjects(bucket))) as store:
        store.add(minted(1, b"first"), 1000.0, 0.0)
        store.add(minted(2, b"second", expires=9000.0), 9000.0, 5000.0)
        names = [*SmallObjects(bucket).list("v1/jti/"), *SmallObjects(bucket).list("v1/minted/")]
        assert len(names) == 2
        assert not store.add(minted(3, b"second"), 9000.0, 5000.0)


def test_an_object_under_the_key_of_another_token_is_none(tmp_path: Path) -> None:
    url = f"file:{tmp_path}"
    with closing(SharedTokens(SmallObjects(url))) as store:
        add_token(store, "ci", "admin", now=1.0)
        (token,) = store.all()
        client = connect_object_store(url)
        content = (tmp_path / f"v1/token/{token.id}.json").read_bytes()
        obstore.put(client, "v1/token/00000000.json", content)
        obstore.put(client, "v1/token/11111111.json", b"{")
        obstore.put(client, f"v1/token/{token.id}.ends/soon", b"")
        assert [(each.id, each.revoked) for each in store.all()] == [(token.id, 0.0)]
