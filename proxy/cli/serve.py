"""``waystation serve``: the server, from start-up to shutdown."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy import __version__
from proxy.administration import ServerAdministration
from proxy.cli.administering import server_administration
from proxy.cli.confusion import watching_names
from proxy.cli.observing import (
    Observing,
    checks,
    gauges,
    limits,
    sources,
    tracing,
    variables_of_workers,
)
from proxy.cli.options import serving_options, settings_options
from proxy.cli.pages_for_people import open_face
from proxy.cli.probing import probing
from proxy.cli.reloading import Reloader, SettingsSource, reload_on_signal
from proxy.cli.standing_work import standing_work, warn_of_changed_files
from proxy.cli.worker_process import follow_supervisor, received_settings, worker_place
from proxy.cli.workers import Supervisor, number_of_workers
from proxy.composition import (
    Proxy,
    describe,
    described_addresses,
    index_as_of,
    kind_of_rule,
    open_audit,
    open_proxy,
)
from proxy.config import Settings
from proxy.events import (
    FileServed,
    PageChanged,
    PageRefused,
    PageRevalidated,
)
from proxy.runtime import LineHandler, configure_logging, return_large_memory
from proxy.simple import Links, absolute_links
from proxy.web import (
    Application,
    Counters,
    FastPathEvents,
    RefusalEvents,
    ResponseCache,
    Server,
    create_app,
    tls_context,
)

if TYPE_CHECKING:
    from proxy.tracing import Tracing

log = logging.getLogger(__name__)

ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (not bound here)
"""Addresses that mean all of the machine, each with one that a client can use."""

GARBAGE_THRESHOLD = 10_000
"""New objects after which Python looks for cycles among them; its default is 700."""


@click.command("serve")
@settings_options
@serving_options
def command(config: Path | None, **flags: Any) -> None:
    """Start the server. Ctrl-C or SIGTERM stops it.

    Once it listens, it prints the commands for pip and uv. Options override the settings file
    and environment variables; "waystation settings" explains all settings, and "waystation
    check" shows their values.
    """
    source, worker = SettingsSource(flags, config), worker_place()
    settings = source.load(received_settings() if worker else None)
    handler = configure_logging(
        settings.log_format,
        settings.log_level,
        access=settings.access_log,
        colour=_shows_colour(os.environ),
    )
    if worker is None and number_of_workers(settings) > 1:
        raise SystemExit(_supervise(settings, source))
    return_large_memory()
    # A cold request makes a thousand objects, and hardly a cycle.
    gc.set_threshold(GARBAGE_THRESHOLD)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(settings, source, handler))


def _supervise(settings: Settings, source: SettingsSource) -> int:
    return asyncio.run(Supervisor(settings, source, variables_of_workers(settings)).run())


def _shows_colour(environ: Mapping[str, str]) -> bool:
    """Whether standard error is a terminal with colours (https://no-color.org)."""
    plain = environ.get("NO_COLOR") or environ.get("TERM") == "dumb"
    return sys.stderr.isatty() and not plain


async def serve(settings: Settings, source: SettingsSource, handler: LineHandler) -> None:
    observing = Observing(settings, handler)
    counters, events = observing.counters, observing.events
    async with (
        observing.access_log.running(),
        tracing(settings) as traced,
        open_proxy(
            settings,
            events=events,
            marks=observing.marks,
            traces=[traced.upstream] if traced else [],
        ) as proxy,
    ):
        refused = RefusalEvents(events, lambda rule: kind_of_rule(proxy.indexes.values(), rule))
        events.subscribe(refused.observe, FileServed, PageRefused)
        cache = ResponseCache(poll=proxy.poll, recheck=proxy.revalidate)
        events.subscribe(cache.observe, PageChanged, PageRevalidated)
        fast = FastPathEvents(events, proxy.cache.used.note)
        tls, worker = _tls(settings), worker_place()
        server: Server
        reloader: Reloader
        administration = server_administration(settings, source, proxy, lambda: reloader, worker)
        app = _app(settings, proxy, cache, counters, lambda: server, administration, traced)
        server = _server(settings, app, tls, cache, fast)
        reloader = Reloader(
            source, settings, proxy, app, tls, lambda new: standing_work(new, proxy)
        )
        async with open_audit(settings, events), fast.running(), aclosing(reloader):
            await reloader.start()
            await server.start()
            reloading = (
                follow_supervisor(worker, reloader.reload, reloader.refuse, server.stopping.set)
                if worker
                else reload_on_signal(
                    reloader.reload, server.stopping.set, proxy.cache.folder, source
                )
            )
            server.stop_on_signals()
            for line in _greeting(settings, proxy, server.port):
                click.echo(line)
            sys.stdout.flush()
            await warn_of_changed_files(proxy)
            first = worker is None or worker.number == 0  # one of the workers probes for all
            async with (
                reloading,
                administration.workers.answering() if worker else nullcontext(),
                probing(settings, proxy.tree) if first else nullcontext(),
                watching_names(settings, proxy) if first else nullcontext(),
            ):
                await server.until_stopped()


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_certificate and settings.tls_key:
        clients = settings.access.certificates if settings.access else None
        return tls_context(
            str(settings.tls_certificate),
            str(settings.tls_key),
            str(clients.ca) if clients else None,
            required=clients is not None and clients.required,
        )
    return None


def _app(
    settings: Settings,
    proxy: Proxy,
    cache: ResponseCache,
    counters: Counters,
    server: Callable[[], Server],
    administration: ServerAdministration,
    traced: Tracing | None,
) -> Application:
    return create_app(
        proxy.served,
        index_url=lambda: _index_url(settings, server().port),
        fixed_url=settings.public_url is not None,
        prefix=settings.prefix,
        provenance=_provenance(settings),
        ready=lambda: not server().stopping.is_set(),
        response_cache=cache,
        events=proxy.events,
        counters=counters,
        gauges=lambda: gauges(proxy, administration.reload_failed()),
        checks=lambda: checks(settings, proxy, administration.reload_failed()),
        sources=sources(proxy, lambda: server().connections),
        client_refresh=settings.client_refresh,
        help_text=settings.help,
        find_document=proxy.project_document,
        as_of=lambda index, moment: index_as_of(
            index, moment, proxy.parsed_pages, proxy.publishers
        ),
        pages=open_face(
            settings, proxy, counters, administration, lambda: _index_url(settings, server().port)
        ),
        access=proxy.access,
        administration=administration,
        publishers=proxy.upload_targets,
        site_of=proxy.site_of,
        limits=limits(settings, proxy.events),
        around=[traced.middleware] if traced else [],
    )


def _server(
    settings: Settings,
    app: Application,
    tls: ssl.SSLContext | None,
    cache: ResponseCache,
    fast: FastPathEvents,
) -> Server:
    worker = worker_place()
    return Server(
        app,
        host=settings.host,
        port=worker.port if worker else settings.port,
        tls=tls,
        max_connections=settings.max_connections,
        write_timeout=settings.write_timeout,
        keepalive_timeout=settings.keepalive_timeout,
        drain_delay=settings.drain_delay,
        grace=settings.shutdown_grace,
        shared_port=worker is not None,
        response_cache=cache,
        on_hit=fast.hit,
    )


def _provenance(settings: Settings) -> Links | None:
    root = str(settings.public_url or "")
    return absolute_links(f"{root.rstrip('/')}/") if root.startswith("https:") else None


def _index_url(settings: Settings, port: int) -> str:
    """The address of the index for clients: the public one, else the one on this machine."""
    if settings.public_url:
        return f"{str(settings.public_url).rstrip('/')}/simple/"
    host = ANY_ADDRESS.get(settings.host, settings.host)
    return f"{_origin(settings, host, port)}{settings.prefix}/simple/"


def _origin(settings: Settings, host: str, port: int) -> str:
    scheme = "https" if settings.tls_certificate else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _greeting(settings: Settings, proxy: Proxy, port: int) -> Iterator[str]:
    url = _index_url(settings, port)
    limit = settings.max_size.human_readable(decimal=True) if settings.max_size else "no limit"
    yield f"waystation {__version__} listens on {_origin(settings, settings.host, port)}/"
    if settings.offline:
        yield "  offline: it opens no connection, and answers from its cache"
    yield "  resolves every project in this order:"
    for line in describe(proxy.tree):
        yield f"    {line}"
    if addresses := described_addresses(proxy.tree):
        yield f"  {addresses}"
    yield f"  cache: {proxy.cache.folder} (up to {limit} of files)"
    if settings.host in ANY_ADDRESS and not settings.public_url:
        yield "  on other machines, write this machine's name in the address, or set public_url:"
    yield f"  pip:   pip install --index-url {url} NAME"
    yield f"  uv:    uv pip install --index-url {url} NAME"


def _loop_factory() -> Any:
    """uvloop where it is installed: the same work in less time."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
