"""Webhooks as the settings describe them: which receiver gets the changes of which index."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.composition.index_tree import resolve_tree
from proxy.composition.upstream_connections import outgoing_proxies
from proxy.config import LocalTable, Settings, cache_folder
from proxy.errors import reason
from proxy.runtime import count_text, end_tasks, timestamp_text

if TYPE_CHECKING:
    from proxy.config import WebhookTable
    from proxy.publish import Publisher
    from proxy.upstream import WebhookClient
    from proxy.webhooks import Delivery, StateFile

log = logging.getLogger(__name__)


@asynccontextmanager
async def open_webhooks(
    settings: Settings, publishers: Iterable[Publisher], clock: Callable[[], float] = time.time
) -> AsyncIterator[list[Delivery]]:
    """While entered, changes are delivered. Raises ``ConfigurationError``."""
    from proxy.webhooks import Delivery, Webhook  # most servers have none

    by_name = {publisher.name: publisher for publisher in publishers}
    async with AsyncExitStack() as stack:
        deliveries = []
        for name, table in settings.webhooks.items():
            client = _client(table, settings, clock)
            stack.push_async_callback(client.close)
            secret = table.secret.get_secret_value().encode()
            webhook = Webhook(name, secret, frozenset(table.actions))
            for index in table.indexes or by_name:
                packages = by_name[index].packages
                folder = packages.incoming.parent
                delivery = Delivery(webhook, index, packages.journal, folder, client, clock)
                deliveries.append(delivery)
        for each in deliveries:
            await each.begin()
            stack.push_async_callback(end_tasks, asyncio.create_task(_running(each)))
        yield deliveries


def _client(table: WebhookTable, settings: Settings, clock: Callable[[], float]) -> WebhookClient:
    from proxy.upstream import WebhookClient  # most servers have none

    return WebhookClient(
        str(table.url),
        timeout=table.timeout,
        ca_bundle=settings.ca_bundle,
        proxies=outgoing_proxies(settings),
        clock=clock,
    )


async def _running(delivery: Delivery) -> None:
    try:
        await delivery.run()
    except Exception:
        log.exception("%s: nothing is delivered any more, due to an unexpected error", delivery)


def webhook_attempts(settings: Settings) -> Iterator[tuple[str, str | None]]:
    """How each webhook did last, and its problem: nothing is sent for that."""
    if not settings.webhooks:
        return
    from proxy.publish import PackageJournal
    from proxy.webhooks import StateFile

    for index, node in resolve_tree(settings).named.items():
        if not isinstance(node.table, LocalTable) or not node.table.uploads:
            continue
        roots = node.table.roots
        folder = PackageJournal(roots[0]).folder if roots else _uploads_folder(settings, index)
        for name, table in settings.webhooks.items():
            if index in (table.indexes or [index]):
                yield f"webhook {name} of {index}", _problem(StateFile(folder, name))


def _uploads_folder(settings: Settings, index: str) -> Path:
    """The local folder of an index whose packages are in an object store."""
    return cache_folder(settings) / "uploads" / index


def _problem(file: StateFile) -> str | None:
    try:
        state = file.load()
    except OSError as error:
        return reason(error)
    if state is None or not state.failures:
        return None
    since = timestamp_text(state.failing_since)
    return f"{count_text(state.failures, 'attempt')} failed since {since}: {state.problem}"
