"""Tokens: their form, their store, and what processes see of each other's changes."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

import pytest

from proxy.access import Presented, Tokens, TokenStore, new_token
from proxy.access.tokens import has_token_form
from proxy.errors import ConfigurationError
from tests.support.access import add_token, token_access
from tests.support.clock import Clock


def test_a_token_has_a_form_that_scanners_recognise() -> None:
    token = new_token()
    assert token.startswith("wst_")
    assert len(token) == 54
    assert has_token_form(token)
    for at in range(4, 47):
        other = "A" if token[at] != "A" else "B"
        assert not has_token_form(token[:at] + other + token[at + 1 :])
    assert not has_token_form(token + "A")
    assert not has_token_form("")
    assert len({new_token() for _ in range(100)}) == 100


def test_a_store_never_holds_a_token(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    store = TokenStore(path)
    secret = add_token(store, "ci", "read:main", now=time.time())
    store.close()
    assert path.stat().st_mode & 0o077 == 0
    for each in tmp_path.iterdir():
        assert secret[4:20].encode() not in each.read_bytes()


def test_a_name_is_used_once_among_valid_tokens(tmp_path: Path) -> None:
    store = TokenStore(tmp_path / "tokens")
    add_token(store, "ci", "admin", now=100.0, expires=200.0)
    with pytest.raises(ConfigurationError, match="valid token 'ci'"):
        add_token(store, "ci", "admin", now=150.0)
    add_token(store, "ci", "admin", now=200.0)
    assert [each.name for each in store.all()] == ["ci", "ci"]
    store.close()


async def test_a_token_that_was_created_now_is_known_now(tmp_path: Path) -> None:
    async with token_access(tmp_path) as rig:
        secret = rig.token("ci", "read:main")
        caller = await rig.access.authenticate(f"Bearer {secret}")
        assert (caller.label, *map(str, caller.rights.grants)) == ("token:ci", "read:main")


async def test_a_revocation_that_a_new_token_made_visible_acts_at_once(tmp_path: Path) -> None:
    """Looking for an unknown token reads the changes; those are not forgotten."""
    async with token_access(tmp_path) as rig:
        old = f"Bearer {rig.token('old', 'read:main')}"
        await rig.access.authenticate(old)
        rig.revoke("old")
        await rig.access.authenticate(f"Bearer {rig.token('new', 'read:main')}")
        await rig.access.refresh()
        assert rig.access.known(old.encode(), time.time()) is None


async def test_last_use_is_noted_together(tmp_path: Path) -> None:
    clock = Clock()
    store = TokenStore(tmp_path / "tokens")
    secret = add_token(store, "ci", "read:main", now=clock())
    tokens = Tokens(TokenStore(tmp_path / "tokens"), clock)
    clock.advance(5)
    for _ in range(3):
        assert await tokens.verify(Presented("x", secret))
    assert store.all()[0].used is None
    clock.advance(60)
    await tokens.refresh()
    assert store.all()[0].used == clock() - 60
    await tokens.close()
    store.close()


async def test_a_store_that_was_deleted_knows_no_token(tmp_path: Path) -> None:
    async with token_access(tmp_path) as rig:
        value = f"Bearer {rig.token('ci', 'read:main')}"
        await rig.access.authenticate(value)
        for each in tmp_path.glob("tokens.sqlite*"):
            each.unlink()
        await rig.access.refresh()
        assert rig.access.known(value.encode(), time.time()) is None


async def test_a_scope_of_a_later_version_grants_nothing(tmp_path: Path) -> None:
    async with token_access(tmp_path) as rig:
        caller = await rig.access.authenticate(f"Bearer {rig.token('x', 'fly:main', 'metrics')}")
        assert set(map(str, caller.rights.grants)) == {"metrics"}


def test_a_file_that_is_no_store_is_an_error_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(ConfigurationError, match="tokens cannot be used"):
        TokenStore(path)


async def test_many_processes_change_one_store(tmp_path: Path) -> None:
    stores = [TokenStore(tmp_path / "tokens") for _ in range(4)]

    def work(number: int) -> None:
        for each in range(10):
            add_token(stores[number], f"{number}-{each}", "admin", now=1.0)

    await asyncio.gather(*(asyncio.to_thread(work, number) for number in range(4)))
    assert len(stores[0].all()) == 40
    assert stores[0].number() == 40
    with sqlite3.connect(tmp_path / "tokens") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    for each in stores:
        each.close()
