"""Webhooks of a running server: uploads, changes by other processes, workers, reload, check."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.distributions import make_wheel
from tests.support.event_receiver import SECRET, EventReceiver
from tests.support.metrics_text import metrics
from tests.support.running import Running, running, waystation
from tests.support.waiting import until
from tests.web.test_uploads import body

SETTINGS = """
packages = "packages"
uploads = true
offline = false
cache_dir = "cache"
upstream = "http://127.0.0.1:9/simple/"
reserved = ["*"]
"""
WEBHOOK = """
[webhooks.{name}]
url = "{url}"
secret = "{secret}"
"""


class WebhookShop:
    """A folder with the settings of a server that accepts uploads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "settings.toml"
        (folder / "packages").mkdir()
        self.hook()

    def hook(self, *hooks: tuple[str, str], top: str = "") -> None:
        """Write the settings, with webhooks by name and address."""
        tables = (WEBHOOK.format(name=name, url=url, secret=SECRET) for name, url in hooks)
        self.config.write_text("".join([top, SETTINGS, *tables]))

    async def upload(self, server: Running, version: str) -> int:
        wheel = make_wheel(self.folder / "dist", "acme-tool", version)
        address = f"{server.address}/legacy/"
        async with aiohttp.ClientSession() as client, client.post(address, data=body(wheel)) as got:
            return got.status

    async def run(self, *arguments: str) -> str:
        done = await waystation(*arguments, "--config", self.config, cwd=self.folder)
        return done.succeeded().out


@pytest.fixture
def shop(tmp_path: Path) -> WebhookShop:
    return WebhookShop(tmp_path)


@pytest.fixture
async def receiver() -> AsyncIterator[EventReceiver]:
    async with EventReceiver() as running:
        yield running


async def test_changes_of_all_processes_are_delivered_once(
    shop: WebhookShop, receiver: EventReceiver
) -> None:
    shop.hook(("ci", receiver.url), top="workers = 2\n")
    async with running(shop.folder, "--config", shop.config) as server:
        assert await shop.upload(server, "1.0") == 200
        await until(lambda: receiver.numbers == [1])
        await shop.run("yank", "acme-tool==1.0", "--reason", "wrong greeting")
        await until(lambda: receiver.numbers == [1, 2])
        async with aiohttp.request("GET", f"{server.address}/-/changes") as answer:
            feed = [json.loads(line) for line in (await answer.text()).splitlines()]
        output = [*server.out.lines, *server.err.lines]
    assert [each.document for each in receiver.taken] == [{"index": "private"} | e for e in feed]
    assert receiver.taken[1].document["detail"] == "wrong greeting"
    assert all(each.is_signed for each in receiver.taken)
    assert [line for line in output if SECRET in line] == []


async def test_a_dead_receiver_costs_a_line_and_a_metric_and_no_upload(shop: WebhookShop) -> None:
    shop.hook(("dead", "http://127.0.0.1:9/"))
    async with running(shop.folder, "--config", shop.config) as server:
        for version in ("1.0", "2.0", "3.0"):
            assert await shop.upload(server, version) == 200
        labels = frozenset({("webhook", "dead"), ("index", "private")})

        async def is_failing() -> bool:
            return (await metrics(server.address))["waystation_webhook_failing_seconds"][labels] > 0

        await until(is_failing)
        line = await server.logged(lambda each: "webhook dead of private" in each["message"])
        assert "change 1 is not delivered" in line["message"]
        async with aiohttp.request("GET", f"{server.address}/readyz?verbose") as answer:
            assert (answer.status, "failing for" in await answer.text()) == (200, True)
        done = await waystation(
            *("check", "--no-network", "--config", shop.config), cwd=shop.folder
        )
    assert done.status == 1
    assert "failed since" in done.out.partition("webhook dead of private: ")[2]
    assert SECRET not in done.out


async def test_a_reload_adds_and_removes_webhooks(
    shop: WebhookShop, receiver: EventReceiver
) -> None:
    async with EventReceiver() as other, running(shop.folder, "--config", shop.config) as server:
        assert await shop.upload(server, "1.0") == 200
        shop.hook(("one", receiver.url), ("two", other.url))
        await shop.run("reload")
        assert await shop.upload(server, "2.0") == 200
        await until(lambda: receiver.numbers == other.numbers == [2])
        shop.hook(("two", other.url))
        await shop.run("reload")
        assert await shop.upload(server, "3.0") == 200
        await until(lambda: other.numbers == [2, 3])
    assert receiver.numbers == [2]


TWO_INDEXES = """
index = "dev"
cache_dir = "cache"
[indexes.dev]
kind = "local"
path = "packages"
uploads = true
[indexes.prod]
kind = "local"
path = "prod"
uploads = true
"""


async def test_a_webhook_gets_the_changes_of_its_indexes(
    shop: WebhookShop, receiver: EventReceiver
) -> None:
    (shop.folder / "prod").mkdir()
    async with EventReceiver() as released:
        hooks = WEBHOOK.format(name="all", url=receiver.url, secret=SECRET)
        hooks += WEBHOOK.format(name="released", url=released.url, secret=SECRET)
        shop.config.write_text(f'{TWO_INDEXES}{hooks}indexes = ["prod"]\n')
        async with running(shop.folder, "--config", shop.config) as server:
            assert await shop.upload(server, "1.0") == 200
            await shop.run("promote", "acme-tool==1.0", "--from", "dev", "--to", "prod")
            await until(lambda: len(receiver.taken) == 2 and len(released.taken) == 1)
    assert {each.identity for each in receiver.taken} == {"dev-1", "prod-1"}
    assert [each.identity for each in released.taken] == ["prod-1"]
    assert released.taken[0].document["detail"] == "dev"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('url = "http://127.0.0.1/"', "webhooks.ci.secret"),
        ('url = "http://127.0.0.1/"\nsecret = "short"', "has fewer than 16 characters"),
        ('url = "ftp://127.0.0.1/"\nsecret = "SECRET"', "webhooks.ci.url"),
        ('url = "http://a:b@127.0.0.1/"\nsecret = "SECRET"', "it has credentials"),
        (
            'url = "http://127.0.0.1/"\nsecret = "SECRET"\nindexes = ["other"]',
            "'other' is no index",
        ),
        ('url = "http://127.0.0.1/"\nsecret = "SECRET"\nactions = ["sell"]', "no action 'sell'"),
        ('url = "http://127.0.0.1/"\nsecret = "SECRET"\nurls = []', "webhooks.ci.urls"),
    ],
)
async def test_a_wrong_webhook_is_reported_with_its_key(
    shop: WebhookShop, table: str, message: str
) -> None:
    text = table.replace("SECRET", SECRET)
    shop.config.write_text(f"{SETTINGS}\n[webhooks.ci]\n{text}\n")
    done = await waystation(*("check", "--no-network", "--config", shop.config), cwd=shop.folder)
    assert (done.status, message in done.err) == (2, True), done.err
    assert "short" not in done.err
    assert SECRET not in done.err


async def test_webhooks_need_an_index_that_takes_uploads(shop: WebhookShop) -> None:
    shop.hook(("ci", "http://127.0.0.1/"))
    shop.config.write_text(shop.config.read_text().replace("uploads = true", "uploads = false"))
    done = await waystation("check", "--no-network", "--config", shop.config, cwd=shop.folder)
    assert (done.status, "nothing is ever sent" in done.err) == (2, True), done.err
