"""``deploy/gateway.example.toml`` with real installers: each of its lines does what it says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import bcrypt
import pytest

from tests.docs.documents import ROOT
from tests.support.access import basic
from tests.support.advisories import osv, write_archive
from tests.support.distributions import make_wheel
from tests.support.installers import Place
from tests.support.policies import upload_time
from tests.support.running import running, waystation
from tests.support.upstream import Upstream

New = Callable[[], Place]
DAY = 86400.0
HOUR = 3600.0
RELEASES = {
    # by project: versions with their ages in seconds
    "requests": {"1.0": 30 * DAY, "2.0": HOUR},
    "litellm": {"1.82.6": 30 * DAY, "1.82.7": 20 * DAY, "1.82.8": 20 * DAY},
    "colourama": {"1.0": 30 * DAY},
    "requests-fast-helper": {"1.0": 30 * DAY},
    "evil": {"1.0": 30 * DAY},
    "certifi": {"1.0": 30 * DAY, "2.0": HOUR},
    "leaky": {"1.0": 30 * DAY, "1.1": HOUR, "1.2": HOUR},
    "copyleft": {"1.0": 30 * DAY},
    "acme-secret": {"1.0": 30 * DAY},
    "acme-tool": {"9.0": 30 * DAY},
}
CRITICAL = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]
FIXED = [{"introduced": "0"}, {"fixed": "1.1"}]


def fill(folder: Path, upstream: Upstream) -> Path:
    """Upstream, the private package, the advisories, and the settings that name them."""
    for name, versions in RELEASES.items():
        for version, age in versions.items():
            metadata = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
            if name == "copyleft":
                metadata += "License-Expression: AGPL-3.0-only\n"
            stem = f"{name.replace('-', '_')}-{version}"
            files = {f"{stem}.dist-info/METADATA": metadata.encode()}
            wheel = make_wheel(folder / "made", name, version, files=files)
            upstream.add(wheel, uploaded=upload_time(time.time() - age))
    make_wheel(folder / "packages", "acme-tool", "1.0")
    write_archive(
        folder / "osv.zip",
        osv("MAL-2026-1", "evil"),
        osv("MAL-2026-2", "acme-tool"),  # of another project than the private one
        osv("GHSA-1", "leaky", versions=[], events=FIXED, severity=CRITICAL),
    )
    text = (ROOT / "deploy" / "gateway.example.toml").read_text(encoding="utf-8")
    text = text.replace('kind = "mirror"\n', f'kind = "mirror"\nurl = "{upstream.url}"\n')
    text = text.replace("https://mirror.example.com/osv/PyPI/all.zip", str(folder / "osv.zip"))
    assert text.count(upstream.url) == 2
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    (folder / "users.htpasswd").write_text(f"alice:{hashed}\n")
    path = folder / "gateway.toml"
    path.write_text(text)
    return path


MORE = {"WAYSTATION_STALE_WHILE_REVALIDATE": "0", "WAYSTATION_HELP": "ask #python in chat"}
ALICE = basic("secret", "alice")


async def command(config: Path, *arguments: str) -> str:
    given = ("--config", config, "--cache-dir", config.parent / "cache")
    done = await waystation(*arguments, *given, cwd=config.parent)
    return done.succeeded().out.strip()


@pytest.mark.parametrize("tool", [pytest.param("pip", marks=pytest.mark.slow), "uv"])
async def test_installers_get_what_the_rules_let_pass(
    tmp_path: Path, upstream: Upstream, place: New, tool: str
) -> None:
    config = fill(tmp_path, upstream)
    options = ("--config", config, "--page-ttl", "0")
    async with (
        running(tmp_path, *options, **MORE) as server,
        aiohttp.ClientSession(server.address, headers={"Authorization": ALICE}) as session,
    ):
        index = server.index.replace("://", "://alice:secret@")
        here = place()
        wanted = ("requests", "litellm", "certifi", "leaky", "copyleft", "acme-tool")
        (await here.install(tool, index, *wanted)).succeeded()
        assert here.installed() == {
            "requests": "1.0",  # 2.0 is young
            "litellm": "1.82.6",  # 1.82.7 and 1.82.8 are banned
            "certifi": "2.0",  # young, and exempt
            "leaky": "1.1",  # young, and the fix; 1.2 is newer than the fix
            "copyleft": "1.0",  # a rule that observes
            "acme_tool": "1.0",  # private, and neither upstream's nor malware
        }
        there = place()
        for requirement, said in (
            (
                "litellm==1.82.7",
                "Refused by rule banned: litellm 1.82.7 is denied; see wiki/banned",
            ),
            ("evil==1.0", "Refused by rule malware: evil 1.0 is malware: MAL-2026-1"),
            ("colourama==1.0", "Refused by rule banned: colourama is denied; see wiki/banned"),
            ("requests-fast-helper==1.0", "Refused by rule banned: requests-fast-helper is denied"),
            ("requests==2.0", ""),
            ("acme-secret", ""),
        ):
            done = await there.install(tool, index, requirement)
            assert there.installed() == {}
            assert said in " ".join((done.out + done.err).split())
        assert upstream.count("acme") == 0, "no private name is sent upstream"
        assert (await session.get("/fast/simple/requests/")).status == 403
        async with aiohttp.ClientSession(server.address) as stranger:
            assert (await stranger.get("/simple/requests/")).status == 401
        token = await command(config, "token", "create", "--name", "ci", "--scope", "read:fast")
        fast = f"{server.address}/fast/simple/".replace("://", f"://__token__:{token}@")
        (await there.install(tool, fast, "requests")).succeeded()
        assert there.installed() == {"requests": "2.0"}

        # A vanished file, with the text of "help" and the address of "public_url".
        page = await (await session.get("/simple/requests/")).text()
        path = page.partition('href="../..')[2].partition("#")[0].partition('"')[0]
        assert (await session.get(path)).status == 200
        upstream.remove("requests-1.0-py3-none-any.whl")
        await session.get("/simple/requests/")
        async with session.get(path) as refused:
            assert (refused.status, refused.headers["Waystation-Rule"]) == (403, "vanished")
            body = await refused.text()
        assert "More about it: https://python.example.com/+explain/requests/requests-1.0" in body
        assert body.rstrip().endswith("ask #python in chat")
        scope = ("--scope", "metrics")
        token = await command(config, "token", "create", "--name", "prometheus", *scope)
        may = {"Authorization": basic(token)}
        lines = (await (await session.get("/metrics", headers=may)).text()).splitlines()
    for labels in (
        'index="main",kind="licence",mode="observe",rule="licences"',
        'index="main",kind="deny",mode="enforce",rule="banned"',
        'index="main",kind="malware",mode="enforce",rule="malware"',
        'index="main",kind="vanished",mode="enforce",rule="vanished"',
    ):
        (line,) = (each for each in lines if each.startswith(f"waystation_refused_total{{{labels}"))
        assert float(line.split()[-1]) >= 1
    asked = ("audit", "--project", "requests", "--json", "--kind", "file")
    rows = json.loads(await command(config, *asked))
    who = {(row["principal"], row["version"], row["result"]) for row in rows}
    assert {("alice", "1.0", "received"), ("token:ci", "2.0", "received")} <= who
    assert ("alice", "1.0", "refused") in who  # what had vanished
    assert {row["client"] for row in rows} == {"127.0.0.1"}
