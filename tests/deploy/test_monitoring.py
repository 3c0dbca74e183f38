"""The dashboard and the alert rules fit the metrics that a running server has."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.advisories import osv, write_archive
from tests.support.running import Running, command, environment, running
from tests.support.sockets import free_port

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
METRIC = re.compile(r"\b(?:waystation|process)_[a-z_]+\b")
VARIABLES = {"$instance": ".*", "$index": ".*", "$__rate_interval": "1m"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("promtool") and shutil.which("prometheus")),
        reason="needs prometheus (Debian: prometheus)",
    ),
]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((MONITORING / "grafana.json").read_text())
    return found


def expressions() -> Iterator[str]:
    """Of all panels, with their variables filled in."""
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            text: str = target["expr"]
            for name, value in VARIABLES.items():
                text = text.replace(name, value)
            yield text


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[Running]:
    """A server that has everything that metrics are about."""
    write_archive(folder / "osv.zip", osv("GHSA-1", "bbb"))
    config = folder / "waystation.toml"
    (folder / "packages").mkdir()
    webhook = '[webhooks.ci]\nurl = "http://127.0.0.1:9/"\nsecret = "sixteen or longer"\n'
    config.write_text(
        'packages = "packages"\nuploads = true\n'
        f'[audit]\n[limits]\n[advisories]\nsource = "osv.zip"\n{webhook}'
    )
    upstream = ("--upstream", "http://127.0.0.1:9/simple/")
    async with running(folder, "--config", config, *upstream) as server:
        yield server


async def text_of(address: str) -> str:
    async with aiohttp.ClientSession() as client, client.get(address) as answer:
        return await answer.text()


@pytest.mark.parametrize(
    ("what", "name"), [("rules", "alerts.yaml"), ("config", "prometheus.yaml")]
)
async def test_the_files_are_valid(tmp_path: Path, what: str, name: str) -> None:
    env = environment(tmp_path / "home")
    (await command("promtool", "check", what, name, env=env, cwd=MONITORING)).succeeded()


async def test_every_metric_that_they_name_exists(tmp_path: Path) -> None:
    async with watched(tmp_path) as server:
        await text_of(f"{server.address}/simple/demo/")
        shown = await text_of(f"{server.address}/metrics")
    names = {line.split()[2] for line in shown.splitlines() if line.startswith("# TYPE")}
    names |= {f"{name}_bucket" for name in names if name.endswith("_seconds")}
    text = (MONITORING / "alerts.yaml").read_text() + "\n".join(expressions())
    wanted = set(METRIC.findall(text)) - {"waystation_requests_total"}
    assert "waystation_breaker_open" in wanted
    assert wanted - names == set()
    (tmp_path / "metrics").write_text(shown)
    env = environment(tmp_path / "home")
    script = "promtool check metrics < metrics"
    (await command("sh", "-c", script, env=env, cwd=tmp_path)).succeeded()


async def test_a_prometheus_that_scrapes_the_server_answers_every_panel(tmp_path: Path) -> None:
    port = free_port()
    async with watched(tmp_path) as server:
        text = (MONITORING / "prometheus.yaml").read_text()
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}").replace("15s", "1s")
        (tmp_path / "prometheus.yaml").write_text(text)
        shutil.copy(MONITORING / "alerts.yaml", tmp_path)
        process = await asyncio.create_subprocess_exec(
            *("prometheus", "--config.file=prometheus.yaml", "--storage.tsdb.path=data"),
            f"--web.listen-address=127.0.0.1:{port}",
            cwd=tmp_path,
            env=environment(tmp_path / "home"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await _scraped(port)
            await text_of(f"{server.address}/simple/demo/")
            for expression in expressions():
                assert (await _ask(port, expression))["status"] == "success", expression
            rules = json.loads(await text_of(f"http://127.0.0.1:{port}/api/v1/rules"))
            (group,) = rules["data"]["groups"]
            assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}
        finally:
            process.terminate()
            await process.wait()


async def _ask(port: int, expression: str) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": expression}) as answer,
    ):
        found: dict[str, Any] = await answer.json()
        return found


async def _scraped(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                if (await _ask(port, "waystation_info"))["data"]["result"]:
                    return
            except (aiohttp.ClientError, KeyError):
                pass
            await asyncio.sleep(0.2)
