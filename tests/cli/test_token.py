"""``waystation token`` and ``waystation user``, and what ``check`` says of access."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.running import Done, waystation

SETTINGS = 'offline = true\n[access]\nhtpasswd = "users"\ntoken_max_age = "100d"\n'
TOKEN = re.compile(r"wst_[A-Za-z0-9_-]{43}_[0-9A-Za-z]{6}\n\Z")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "waystation.toml").write_text(SETTINGS)
    return tmp_path


async def call(folder: Path, *arguments: str, given: str = "") -> Done:
    first, second, *rest = arguments
    settings = ("--config", "waystation.toml", "--cache-dir", "cache")
    if first == "check":
        return await waystation(first, second, *settings, *rest, cwd=folder)
    return await waystation(first, second, *settings, *rest, cwd=folder, given=given)


async def listed(folder: Path, *arguments: str) -> list[dict[str, object]]:
    done = (await call(folder, "token", "list", "--json", *arguments)).succeeded()
    found: list[dict[str, object]] = json.loads(done.out)
    return found


async def test_a_token_from_its_creation_to_its_end(folder: Path) -> None:
    created = await call(
        folder, "token", "create", "--name", "ci", "--scope", "read:main", "--owner", "alice"
    )
    secret = created.succeeded().out
    assert TOKEN.match(secret)
    assert secret.strip() not in created.err
    (token,) = await listed(folder)
    assert (token["name"], token["owner"], token["scopes"]) == ("ci", "alice", ["read:main"])
    assert "digest" not in token
    again = await call(folder, "token", "create", "--name", "ci", "--scope", "read:main")
    assert (again.status, str(token["id"]) in again.err) == (2, True)
    rotated = await call(folder, "token", "rotate", "--name", "ci", "--grace", "1h")
    assert TOKEN.match(rotated.succeeded().out)
    assert len(await listed(folder)) == 2
    (await call(folder, "token", "rotate", "--name", "ci")).succeeded()
    assert [each["name"] for each in await listed(folder)] == ["ci"]
    text = (await call(folder, "token", "list", "--all")).succeeded().out
    assert text.count("ended") == 2
    assert secret.strip() not in text
    (newest,) = await listed(folder)
    (await call(folder, "token", "revoke", str(newest["id"]))).succeeded()
    assert await listed(folder) == []
    gone = await call(folder, "token", "revoke", "--name", "ci")
    assert (gone.status, gone.err) == (1, "the token ci has ended already\n")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--scope", "read"), "'read' names no index"),
        (("--scope", "fly:main"), "begins with none of"),
        (("--scope", "admin", "--expires", "101d"), "longer than access.token_max_age, 100d"),
        (("--scope", "admin", "--expires", "soon"), "'soon' is not a time"),
        (("--scope", "admin", "--expires", "0"), "no time from now on"),
        (("--scope", "admin", "--expires", "1d", "--no-expiry"), "either --expires or"),
    ],
)
async def test_mistakes_are_named(folder: Path, arguments: tuple[str, ...], problem: str) -> None:
    done = await call(folder, "token", "create", "--name", "x", *arguments)
    assert (done.status, done.out) == (2, "")
    assert problem in done.err


async def test_a_scope_on_an_index_that_does_not_exist_is_pointed_out(folder: Path) -> None:
    scopes = ("--scope", "read:mian:acme-*", "--scope", "upload:*", "--scope", "read:main")
    created = (await call(folder, "token", "create", "--name", "ci", *scopes)).succeeded()
    assert TOKEN.match(created.out)
    assert "the right read:mian:acme-* names no index of the settings" in created.err
    assert created.err.count("names no index") == 1


async def test_a_token_may_live_for_ever_if_one_says_so(folder: Path) -> None:
    (
        await call(folder, "token", "create", "--name", "x", "--scope", "admin", "--no-expiry")
    ).succeeded()
    (token,) = await listed(folder)
    assert token["expires"] is None


async def test_users_and_what_check_says_of_them(folder: Path) -> None:
    (await call(folder, "user", "add", "alice", "--stdin", given="secret\n")).succeeded()
    (await call(folder, "user", "passwd", "alice", "--stdin", given="other\n")).succeeded()
    good = await call(folder, "check", "--no-network")
    assert "htpasswd" in good.succeeded().out
    users = folder / "users"
    assert users.read_text().startswith("alice:$argon2id$")
    users.write_text(users.read_text() + "bob:$apr1$a$b\n")
    bad = await call(folder, "check", "--no-network")
    assert bad.status == 1
    assert "user bob: the password is hashed with Apache's MD5" in bad.out
    (await call(folder, "user", "remove", "bob")).succeeded()
    assert (await call(folder, "check", "--no-network")).status == 0
    twice = await call(folder, "user", "add", "alice", "--stdin", given="x\n")
    assert (twice.status, "has a user alice already" in twice.err) == (2, True)
    empty = await call(folder, "user", "add", "carol", "--stdin", given="\n")
    assert empty.status == 2


FRONT = '[access.proxy]\nfrom = ["10.0.0.1"]\n'
OIDC = '[access.oidc.x]\naudience = "a"\nallow = []\n'
LDAP = '[access.ldap]\nusers = "ou=x"\n'


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[access]\nnonsense = 1", "access.nonsense"),
        ('[access]\nanonymous = ["write:main"]', "access.anonymous.0"),
        ('[access.rights]\n"@" = ["admin"]', "access.rights"),
        ('[access.groups]\ndev = ["@other"]', "access.groups"),
        ('[access]\nhtpasswd = "missing"', "access.htpasswd"),
        ('[access.proxy]\nfrom = ["everywhere"]', "access.proxy.from.0"),
        (
            '[access.proxy]\nfrom = ["10.0.0.1"]\nuser_header = "Authorization"',
            "access.proxy.user_header",
        ),
        ('[access.certificates]\nca = "missing.pem"', "access.certificates.ca"),
        (
            '[access.oidc.x]\nissuer = "http://x"\naudience = "a"\nallow = []',
            "access.oidc.x.issuer",
        ),
        (f'{LDAP}url = "ldap://ldap.example.com"', "access.ldap.url"),
        (
            '[access.ldap]\nurl = "ldaps://x"\nusers = "o"\nuser_filter = "(uid=x)"',
            "access.ldap.user_filter",
        ),
    ],
)
async def test_wrong_settings_are_named(tmp_path: Path, text: str, key: str) -> None:
    (tmp_path / "waystation.toml").write_text(f"offline = true\n{text}\n")
    arguments = ("--config", "waystation.toml", "--cache-dir", "cache", "--port", "0")
    done = await waystation("serve", *arguments, cwd=tmp_path)
    assert done.status == 2
    assert f"waystation: {key}: " in done.err


ISSUER = """
[access.oidc.{name}]
issuer = "https://{issuer}.example.com"
audience = "{audience}"
[[access.oidc.{name}.allow]]
claims = {{ repository_id = 7 }}
rights = ["{right}"]
"""


@pytest.mark.parametrize(
    ("second", "key"),
    [
        ({"audience": "other.example.com"}, "access.oidc.second.audience: 'other.example.com'"),
        ({"audience": "PyPI"}, "access.oidc.second.audience: 'PyPI' is the audience of another"),
        ({"issuer": "one"}, "access.oidc.second.issuer: another table"),
        ({"audience": "other.example.com", "right": "read:main"}, ""),
        ({}, ""),
    ],
)
async def test_issuers_with_publishers_have_one_audience(
    tmp_path: Path, second: dict[str, str], key: str
) -> None:
    usual = {"audience": "ours.example.com", "right": "upload:main"}
    one = ISSUER.format(**usual, name="first", issuer="one")
    two = ISSUER.format(**usual | {"issuer": "two"} | second, name="second")
    (tmp_path / "waystation.toml").write_text("offline = true\n" + one + two)
    done = await call(tmp_path, "check", "--no-network")
    assert done.status == (2 if key else 0)
    assert key in done.err


async def test_check_shows_rights_on_indexes_that_do_not_exist(tmp_path: Path) -> None:
    (tmp_path / "waystation.toml").write_text(
        'offline = true\n[access]\nanonymous = ["read:mian"]\n[access.rights]\nalice = ["admin"]\n'
    )
    done = await call(tmp_path, "check", "--no-network")
    assert "the right read:mian names no index of the settings" in done.out
    toml = await call(tmp_path, "check", "--toml")
    assert '"alice" = ["admin"]' in toml.succeeded().out
    (tmp_path / "waystation.toml").write_text(toml.out)
    assert (await call(tmp_path, "check", "--no-network")).status == 0
