"""Users and groups of a directory, with a real slapd."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.access import Access, GrantTable, LdapSettings, LdapUsers, parse_grant
from proxy.access.ldap_directory import escaped
from proxy.errors import DirectoryUnavailable, NotAuthenticated
from tests.support.access import basic
from tests.support.pki import Authority
from tests.support.slapd import (
    ADMIN,
    ADMIN_PASSWORD,
    GROUPS,
    PEOPLE,
    Slapd,
    running_slapd,
)

pytest.importorskip("bonsai", reason="the extra ldap is not installed")
TABLE = GrantTable({"@dev": [parse_grant("read:main")], "@ops": [parse_grant("admin")]})


@pytest.fixture
async def slapd(tmp_path: Path) -> AsyncIterator[Slapd]:
    async with running_slapd(tmp_path) as running:
        yield running


def access_by(url: str, **more: object) -> Access:
    given = {
        "url": url,
        "users": PEOPLE,
        "user_filter": "(uid={user})",
        "groups": GROUPS,
        "bind_dn": ADMIN,
        "bind_password": ADMIN_PASSWORD,
    }
    return Access([LdapUsers(LdapSettings(**given | more))], TABLE)  # type: ignore[arg-type]


async def test_users_are_proved_and_groups_give_rights(slapd: Slapd) -> None:
    access = access_by(slapd.url)
    alice = await access.authenticate(basic("alice's password", "alice"))
    assert (alice.label, set(map(str, alice.rights.grants))) == ("alice", {"read:main"})
    bob = await access.authenticate(basic("bob's password", "b*b (x)"))
    assert set(map(str, bob.rights.grants)) == {"read:main", "admin"}
    none = access_by(slapd.url, groups="")
    assert (await none.authenticate(basic("alice's password", "alice"))).rights.grants == set()


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("alice", "wrong"),
        ("alice", ""),
        ("carol", "alice's password"),
        ("*", "alice's password"),
        ("a*", "alice's password"),
        ("alice)(uid=*", "alice's password"),
        ("", "alice's password"),
        ("al\0ice", "x"),
    ],
)
async def test_others_are_not(slapd: Slapd, user: str, password: str) -> None:
    with pytest.raises(NotAuthenticated):
        await access_by(slapd.url).authenticate(basic(password, user))


async def test_a_directory_that_does_not_answer_is_no_failure_of_the_client(
    slapd: Slapd, caplog: pytest.LogCaptureFixture
) -> None:
    access = access_by(slapd.url)
    slapd.process.terminate()
    await slapd.process.wait()
    for _ in range(12):  # more than failures are allowed
        with pytest.raises(DirectoryUnavailable):
            await access.authenticate(basic("alice's password", "alice"))
    assert {each.levelno for each in caplog.records} == {logging.ERROR}
    assert "password" not in caplog.text


async def test_tls_is_verified(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with running_slapd(tmp_path, authority) as slapd:
        access = access_by(slapd.url, ca=authority.bundle)
        assert (await access.authenticate(basic("alice's password", "alice"))).label == "alice"
        other = Authority(tmp_path, "other")
        with pytest.raises(DirectoryUnavailable):
            await access_by(slapd.url, ca=other.bundle).authenticate(basic("x", "alice"))


def test_a_name_in_a_filter_means_itself() -> None:
    assert escaped("a*(b)\\\0ä") == r"a\2a\28b\29\5c\00\c3\a4"
