"""Users of a htpasswd file."""

from __future__ import annotations

import os
import time
from pathlib import Path

import bcrypt
import pytest

from proxy.access import (
    Access,
    GrantTable,
    PasswordFile,
    Passwords,
    Presented,
    hash_password,
    remove_user,
    set_password,
)
from proxy.errors import ConfigurationError, NotAuthenticated
from tests.support.access import basic


def cheap(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")


APACHE = "$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00"
REFUSED = {
    "apache": (APACHE, "Apache's MD5"),
    "sha": ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1 without salt"),
    "sha256": ("$5$rounds=5000$x$y", "sha256-crypt"),
    "sha512": ("$6$x$y", "sha512-crypt"),
    "des": ("rqXexS6ZhobKA", "not hashed with bcrypt or argon2"),
    "plain": ("secret", "not hashed with bcrypt or argon2"),
}


@pytest.fixture
def file(tmp_path: Path) -> PasswordFile:
    path = tmp_path / "users"
    lines = [f"{name}:{hashed}" for name, (hashed, _) in REFUSED.items()]
    lines += ["# a comment", "", f"alice:{cheap('a')}", f"alice:{cheap('second')}", "no colon"]
    lines += [f"bob:{hash_password('ß' * 40)}", f"token:ci:{cheap('x')}"]
    path.write_text("\n".join(lines))
    found = PasswordFile(path)
    found.load()
    return found


async def known(file: PasswordFile, user: str, password: str) -> bool:
    return await Passwords(file).verify(Presented(user, password)) is not None


async def test_bcrypt_and_argon2_are_verified(file: PasswordFile) -> None:
    assert await known(file, "alice", "a")
    assert not await known(file, "alice", "b")
    assert not await known(file, "alice", "second")  # the first line counts
    assert await known(file, "bob", "ß" * 40)
    assert not await known(file, "unknown", "a")
    assert not await known(file, "", "a")
    assert not await known(file, "alice", "")


async def test_what_is_weaker_is_refused_with_the_name_of_the_user(file: PasswordFile) -> None:
    for name, (_, reason) in REFUSED.items():
        assert reason in file.refused[name]
        assert not await known(file, name, "secret")
    assert set(file.users) == {"alice", "bob", "token"} - {"token"}
    assert "of line 11" in file.refused


async def test_bcrypt_with_73_bytes_is_refused_and_not_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"alice:{cheap('x' * 72)}\n")
    file = PasswordFile(path)
    file.load()
    assert await known(file, "alice", "x" * 72)
    assert not await known(file, "alice", "x" * 73)


async def test_unknown_users_cost_as_much_as_known_ones(file: PasswordFile) -> None:
    """One check of the same kind of hash, which is where the time goes."""
    slow = PasswordFile(file.path.with_name("slow"))
    slow.path.write_text(f"alice:{bcrypt.hashpw(b'a', bcrypt.gensalt(9)).decode()}\n")
    slow.load()
    before = time.process_time()
    await known(slow, "alice", "wrong")
    with_name = time.process_time() - before
    before = time.process_time()
    await known(slow, "unknown", "wrong")
    assert time.process_time() - before > with_name / 4


async def test_a_changed_file_acts_and_a_vanished_one_keeps_what_was_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "users"
    path.write_text(f"alice:{cheap('a')}\nbob:{cheap('b')}\n")
    file = PasswordFile(path)
    file.load()
    access = Access([Passwords(file)], GrantTable())
    alice, bob = basic("a", "alice"), basic("b", "bob")
    for value in (alice, bob):
        await access.authenticate(value)
    path.unlink()
    await access.refresh()
    await access.refresh()
    assert access.known(alice.encode(), time.time())
    assert [each.levelname for each in caplog.records] == ["ERROR"]
    path.write_text(f"alice:{cheap('new')}\nbob:{file.users['bob']}\n")
    await access.refresh()
    assert access.known(alice.encode(), time.time()) is None
    assert access.known(bob.encode(), time.time()), "its line has not changed"
    with pytest.raises(NotAuthenticated):
        await access.authenticate(alice)
    assert (await access.authenticate(basic("new", "alice"))).label == "alice"


async def test_copies_of_a_request_are_verified_once(file: PasswordFile) -> None:
    import asyncio

    access = Access([Passwords(file)], GrantTable())
    await asyncio.gather(*(access.authenticate(basic("a", "alice")) for _ in range(20)))
    assert len(access._known) == 1


def test_users_are_written_at_once_and_nothing_else_changes(tmp_path: Path) -> None:
    path = tmp_path / "users"
    set_password(path, "alice", cheap("a"), new=True)
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("# ours\n" + path.read_text() + f"old:{APACHE}\n")
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path)
    set_password(link, "bob", cheap("b"), new=True)
    set_password(link, "alice", cheap("c"), new=False)
    remove_user(link, "old")
    names = [line.split(":")[0] for line in path.read_text().splitlines()]
    assert names == ["# ours", "alice", "bob"]
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link", "users"]


@pytest.mark.parametrize("name", ["", "a:b:c\n", "@dev", "*", "token:ci"])
def test_a_user_name_has_to_be_one(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError):
        set_password(tmp_path / "users", name, "x", new=True)
    assert not list(tmp_path.iterdir())


def test_mistakes_leave_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "users"
    set_password(path, "alice", cheap("a"), new=True)
    text = path.read_text()
    with pytest.raises(ConfigurationError, match="already"):
        set_password(path, "alice", "x", new=True)
    with pytest.raises(ConfigurationError, match="no user bob"):
        set_password(path, "bob", "x", new=False)
    with pytest.raises(ConfigurationError, match="no user bob"):
        remove_user(path, "bob")
    with pytest.raises(ConfigurationError):
        remove_user(tmp_path / "absent", "alice")
    assert path.read_text() == text
