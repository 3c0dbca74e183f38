"""A server with pages for people before an upstream: private, hidden, yanked, hostile projects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp

from tests.support.distributions import make_sdist, make_wheel
from tests.support.exports import described
from tests.support.running import Running, running
from tests.support.upstream import Upstream

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
ATTACK = "<script>window.pwned=1</script>\"'><img src=x onerror=window.pwned=1>{{ 7 * 7 }}"
TURNED = "is \u202ebad\u202c"
"""Shown in the other direction unless the controls are taken out."""
README = f"""# Acme Tool

Turns **files** into pictures. [Docs](https://example.com/docs) [local](docs/x.md)
[root](/simple/) [other](//evil.example.com/) [script](javascript:alert(1)) [part](#usage)

{ATTACK}

{"unbreakable" * 900} zero{chr(0x200B) * 500}width

![picture](https://evil.example.com/x.png)

#### Usage

- [x] done

```python
import acme
```

| a | b |
|---|---|
| 1 | 2 |

<div id="results" class="badge banner"><p id="main" class="card">imitation</p></div>
"""


@dataclass(frozen=True)
class FaceWorld:
    server: Running
    upstream: Upstream
    folder: Path
    packages: Path
    client: aiohttp.ClientSession

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and text of a page, as a browser gets it. Redirects are followed."""
        address = self.server.address + path
        async with self.client.get(address, headers=BROWSER | headers) as answer:
            return answer.status, await answer.text()


def days_ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


@asynccontextmanager
async def face_world(
    folder: Path, settings: str = "", after: str = "", own: str = ""
) -> AsyncIterator[FaceWorld]:
    """``settings``: further ones, at the top of its file; ``after``: tables at its end; ``own``:
    settings of the directory of private projects."""
    packages, made = folder / "packages", folder / "made"
    packages.mkdir(exist_ok=True)
    fill_packages(packages)
    async with Upstream() as upstream:
        fill_upstream(upstream, made)
        config = folder / "waystation.toml"
        config.write_text(settings + _settings(upstream, packages, own) + after)

        async with (
            running(folder, "--config", config) as server,
            aiohttp.ClientSession() as client,
        ):
            yield FaceWorld(server, upstream, folder, packages, client)


def _settings(upstream: Upstream, packages: Path, own: str) -> str:
    return f"""
        index = "main"
        [indexes.main]
        kind = "fallthrough"
        of = ["own", "public"]
        [indexes.own]
        kind = "local"
        path = "{packages}"
        {own}
        [indexes.public]
        kind = "mirror"
        url = "{upstream.url}"
        policies = ["week", "banned"]
        reserved = ["evil-*"]
        [policies.week]
        kind = "cooldown"
        age = "7d"
        [policies.banned]
        kind = "deny"
        projects = ["banned"]
    """


def fill_packages(packages: Path) -> None:
    described(
        *(packages, "acme-tool", "1.3", README, "text/markdown"),
        Summary=f"Turns acme files into pictures {ATTACK} {TURNED}",
        Author=ATTACK,
        License="MIT",
        Project_URL="Homepage, https://example.com/acme",
        Requires_Dist="demo>=1",
    )
    make_wheel(packages, "acme-tool", "1.2")
    make_wheel(packages, "acme-tool", "1.1")
    (packages / "acme_tool-1.1-py3-none-any.whl.yanked").write_text(f"broken {ATTACK} {TURNED}")
    make_wheel(packages, "acme-tool", "2.0b1")
    make_sdist(packages, "acme-base", "0.9")


def fill_upstream(upstream: Upstream, made: Path) -> None:
    for version, age in (("1.0", 30), ("1.1", 20), ("2.0", 0.1)):
        wheel = make_wheel(
            *(made, "demo", version),
            requires=["demo-base>=1", "colorama; sys_platform == 'win32'", "extra; extra == 'x'"],
        )
        upstream.add(wheel, uploaded=days_ago(age), requires_python=">=3.8")
    upstream.add(make_wheel(made, "demo-base", "0.9"), yanked="unsafe", uploaded=days_ago(40))
    upstream.add(make_wheel(made, "demo-base", "1.0"), uploaded=days_ago(30))
    upstream.add(make_wheel(made, "demo-extra", "1.0"), uploaded=days_ago(30))
    upstream.add(make_wheel(made, "banned", "1.0"), uploaded=days_ago(30))
