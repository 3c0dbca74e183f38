"""Changes of an index reach a receiver in order and at least once, whatever the receiver does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from proxy.model import normalize
from proxy.publish import Action, PackageChange, PackageJournal
from proxy.upstream import WebhookClient
from proxy.webhooks import Delivery, StateFile, Webhook
from tests.support.clock import Clock
from tests.support.event_receiver import SECRET, EventReceiver
from tests.support.pki import Authority
from tests.support.remotes import Names
from tests.support.waiting import until

FOO = normalize("foo")


class Breaths(list[float]):
    """Instead of ``asyncio.sleep``: notes the seconds, and lets others run for a moment."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)
        await asyncio.sleep(0.002)

    @property
    def pauses(self) -> list[float]:
        """Those after failures: looks for changes are 0.5 seconds apart."""
        return [each for each in self if each != 0.5]


@pytest.fixture
def journal(tmp_path: Path) -> PackageJournal:
    return PackageJournal(tmp_path)


@pytest.fixture
async def receiver() -> AsyncIterator[EventReceiver]:
    async with EventReceiver() as running:
        yield running


def change(journal: PackageJournal, *actions: Action) -> None:
    journal.complete(*(PackageChange(action=each, project=FOO, actor="ana") for each in actions))


async def noted(journal: PackageJournal, number: int) -> None:
    """Wait until a restart would go on after that change."""
    file = StateFile(journal.folder, "ci")
    await until(lambda: (state := file.load()) is not None and state.delivered == number)


@asynccontextmanager
async def delivering(
    journal: PackageJournal,
    url: str,
    breaths: Breaths | None = None,
    clock: Callable[[], float] | None = None,
    actions: frozenset[str] = frozenset(),
    **client: Any,
) -> AsyncIterator[Delivery]:
    webhook = Webhook("ci", SECRET.encode(), actions)
    sender = WebhookClient(url, **{"timeout": 5.0} | client)
    delivery = Delivery(
        *(webhook, "dev", journal, journal.folder, sender, clock or Clock()),
        Breaths() if breaths is None else breaths,
    )
    await delivery.begin()
    task = asyncio.create_task(delivery.run())
    try:
        yield delivery
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await sender.close()


async def test_changes_are_delivered_in_order_and_signed(
    journal: PackageJournal, receiver: EventReceiver
) -> None:
    change(journal, Action.PUBLISH)  # before there was a webhook
    async with delivering(journal, receiver.url):
        change(journal, Action.YANK, Action.UNYANK, Action.DELETE)
        await until(lambda: len(receiver.taken) == 3)
    assert receiver.numbers == [2, 3, 4]
    assert [each.identity for each in receiver.taken] == ["dev-2", "dev-3", "dev-4"]
    assert all(each.is_signed for each in receiver.taken)
    document = receiver.taken[0].document
    assert document == {
        "index": "dev",
        "number": 2,
        "at": 0.0,
        "actor": "ana",
        "action": "yank",
        "project": "foo",
    }


async def test_a_receiver_with_tls_needs_a_certificate_of_a_trusted_authority(
    journal: PackageJournal, tmp_path: Path
) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other authority")
    async with EventReceiver(authority.server("127.0.0.1")) as receiver:
        async with delivering(journal, receiver.url, ca_bundle=other.bundle):
            change(journal, Action.YANK)
            file = StateFile(journal.folder, "ci")
            await until(lambda: (state := file.load()) is not None and state.failures > 0)
            state = file.load()
            assert state and "certificate" in state.problem
        assert receiver.numbers == []
        async with delivering(journal, receiver.url, ca_bundle=authority.bundle):
            await until(lambda: receiver.numbers == [1])
    assert receiver.taken[0].is_signed


def fails_with(status: int, **headers: str) -> Callable[[EventReceiver], None]:
    def fail(receiver: EventReceiver) -> None:
        receiver.status = status
        receiver.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    return fail


def closes(receiver: EventReceiver) -> None:
    receiver.closes = True


@pytest.mark.parametrize(
    ("fail", "problem"),
    [
        (fails_with(500), "it answered 500"),
        (fails_with(404), "it answered 404"),
        (fails_with(302, Location="/other"), "it answered 302: redirects are not followed"),
        (fails_with(307, Location="http://169.254.169.254/"), "redirects are not followed"),
        (closes, "the connection broke"),
    ],
)
async def test_a_change_is_sent_again_with_growing_pauses_until_the_receiver_takes_it(
    journal: PackageJournal,
    receiver: EventReceiver,
    fail: Callable[[EventReceiver], None],
    problem: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail(receiver)
    breaths, clock = Breaths(), Clock()
    async with delivering(journal, receiver.url, breaths, clock) as delivery:
        change(journal, Action.PUBLISH, Action.YANK)
        await until(lambda: len(receiver.refused) >= 12)
        clock.advance(60)
        assert delivery.failing_seconds == 60
        assert {each.document["number"] for each in receiver.refused} == {1}
        receiver.status, receiver.closes = 204, False
        await until(lambda: len(receiver.taken) == 2)
        await until(lambda: delivery.failing_seconds == 0)
    assert receiver.numbers == [1, 2]
    assert receiver.elsewhere == 0
    first, second, third = breaths.pauses[:3]
    assert 0.5 <= first <= 1 <= second <= 2 <= third <= 4
    assert max(breaths.pauses) <= 600
    warnings = [each.message for each in caplog.records if each.levelname == "WARNING"]
    assert len(warnings) == 1
    assert problem in warnings[0]
    assert SECRET not in caplog.text


async def test_a_slow_receiver_is_waited_for_and_gets_one_request_at_a_time(
    journal: PackageJournal, receiver: EventReceiver, tmp_path: Path
) -> None:
    receiver.gate = asyncio.Event()
    async with delivering(journal, receiver.url, timeout=0.05):
        change(journal, Action.PUBLISH, Action.YANK)
        await until(lambda: receiver.most_at_once > 0)
        file = journal.folder / "webhooks" / "ci.json"
        await until(lambda: "no answer in time" in file.read_text())
        receiver.gate.set()
        await until(lambda: receiver.numbers[-1:] == [2])
    assert receiver.most_at_once == 1


async def test_the_pause_that_a_receiver_asks_for_is_kept_up_to_an_hour(
    journal: PackageJournal, receiver: EventReceiver
) -> None:
    breaths = Breaths()
    fails_with(503, Retry_After="77")(receiver)
    async with delivering(journal, receiver.url, breaths):
        change(journal, Action.PUBLISH)
        await until(lambda: 77 in breaths)
        fails_with(429, Retry_After="80000")(receiver)
        await until(lambda: 3600 in breaths)


async def test_a_restart_goes_on_where_it_ended(
    journal: PackageJournal, receiver: EventReceiver
) -> None:
    async with delivering(journal, receiver.url):
        change(journal, Action.PUBLISH)
        await noted(journal, 1)
    change(journal, Action.YANK)  # while nothing delivers
    receiver.status = 500
    async with delivering(journal, receiver.url):
        await until(lambda: len(receiver.refused) >= 3)
    receiver.status, breaths = 200, Breaths()
    async with delivering(PackageJournal(journal.folder.parent), receiver.url, breaths):
        await until(lambda: receiver.numbers == [1, 2])


async def test_pauses_go_on_growing_over_restarts(
    journal: PackageJournal, receiver: EventReceiver
) -> None:
    receiver.status = 500
    async with delivering(journal, receiver.url):
        change(journal, Action.PUBLISH)
        await until(lambda: len(receiver.refused) >= 8)
    breaths = Breaths()
    async with delivering(journal, receiver.url, breaths):
        await until(lambda: bool(breaths.pauses))
    assert breaths.pauses[0] >= 2**7 / 2


async def test_one_of_several_processes_delivers_and_another_takes_over(
    journal: PackageJournal, receiver: EventReceiver
) -> None:
    other = PackageJournal(journal.folder.parent)
    async with delivering(other, receiver.url):
        async with delivering(journal, receiver.url):
            change(journal, *[Action.YANK, Action.UNYANK] * 20)
            await noted(journal, 40)
        change(journal, Action.DELETE)
        await until(lambda: len(receiver.taken) == 41)
    assert receiver.numbers == list(range(1, 42))


async def test_a_receiver_gets_only_the_actions_it_wants(
    journal: PackageJournal, receiver: EventReceiver
) -> None:
    async with delivering(journal, receiver.url, actions=frozenset({"delete"})):
        change(journal, Action.YANK, Action.DELETE, Action.UNYANK)
        await until(lambda: receiver.numbers == [2])
        await noted(journal, 3)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "169.254.169.254", "::ffff:127.0.0.1", "0.0.0.0"]
)
async def test_a_name_that_leads_to_this_machine_gets_nothing(
    journal: PackageJournal, receiver: EventReceiver, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    names = Names({"hooks.example.com": address})
    url = receiver.url.replace("127.0.0.1", "hooks.example.com")
    async with delivering(journal, url, resolver=names) as delivery:
        change(journal, Action.PUBLISH)
        await until(lambda: delivery.failing_seconds >= 0 and "its name leads" in caplog.text)
    assert (receiver.taken, receiver.refused) == ([], [])


async def test_a_receiver_on_this_machine_is_named_as_such(
    journal: PackageJournal, receiver: EventReceiver
) -> None:
    names = Names({"localhost": "127.0.0.1"})
    url = receiver.url.replace("127.0.0.1", "localhost")
    async with delivering(journal, url, resolver=names):
        change(journal, Action.PUBLISH)
        await until(lambda: receiver.numbers == [1])


async def test_a_damaged_position_stops_deliveries_with_a_line_in_the_log(
    journal: PackageJournal, receiver: EventReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    async with delivering(journal, receiver.url):
        change(journal, Action.PUBLISH)
        await noted(journal, 1)
    (journal.folder / "webhooks" / "ci.json").write_text("{}")
    async with delivering(journal, receiver.url):
        change(journal, Action.YANK)
        await until(lambda: "is damaged" in caplog.text)
        (journal.folder / "webhooks" / "ci.json").write_text('{"delivered": 1}')
        await until(lambda: receiver.numbers == [1, 2])
    assert caplog.text.count("is damaged") == 1
