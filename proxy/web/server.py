"""Listening, and stopping: signals, TLS, and time for running downloads to finish."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiohttp import web

from proxy.errors import ConfigurationError
from proxy.web.access_log import AccessLogger
from proxy.web.access_log import log as access_log
from proxy.web.finished import FinishedAnswers
from proxy.web.protocol import OnHit, factory

log = logging.getLogger(__name__)

BACKLOG = 1024
"""Connections the kernel holds while we are busy: installers open fifty at once."""


class Server:
    """One application on one address."""

    def __init__(
        self,
        app: web.Application,
        *,
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
        keepalive_timeout: float = 75.0,
        grace: float = 60.0,
        finished: FinishedAnswers | None = None,
        on_hit: OnHit | None = None,
    ) -> None:
        """``grace``: seconds that running answers get when it stops.

        ``finished``: the answers to be given before their request is parsed; ``on_hit`` is told
        of each.
        """
        self._options: dict[str, Any] = {
            "access_log": access_log,
            "access_log_class": AccessLogger,
            "keepalive_timeout": keepalive_timeout,
        }
        self._runner = web.AppRunner(
            app, shutdown_timeout=grace, handler_cancellation=True, **self._options
        )
        self._finished = finished
        self._on_hit = on_hit or (lambda *_: None)
        self._listener: asyncio.Server | None = None
        self._host = host
        self._port = port
        self._tls = tls
        self.stopping = asyncio.Event()

    @property
    def port(self) -> int:
        """The port it listens on, also where 0 was asked for."""
        assert self._listener
        return int(self._listener.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Raises ``ConfigurationError`` where it cannot listen."""
        await self._runner.setup()
        assert self._runner.server
        protocol = factory(self._runner.server, self._options, self._finished, self._on_hit)
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                protocol, self._host, self._port, ssl=self._tls, backlog=BACKLOG
            )
        except OSError as error:
            await self._runner.cleanup()
            where = f"{self._host}:{self._port}"
            problem = f"cannot listen on {where}: {error.strerror or error}"
            raise ConfigurationError("port", problem, "choose a free one") from error

    async def stop(self) -> None:
        """Listen no more; let running answers finish for as long as they may."""
        if self._listener:
            self._listener.close()
        await self._runner.cleanup()

    async def until_stopped(self) -> None:
        """Serve until SIGTERM or SIGINT, then let running answers finish.

        A second signal ends them at once.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        await self.stopping.wait()
        log.info("stopping; running downloads may finish")
        cleanup = asyncio.create_task(self.stop())
        self._hurry: Callable[[], object] = cleanup.cancel
        with suppress(asyncio.CancelledError):
            await cleanup

    def _stop(self) -> None:
        if self.stopping.is_set():
            self._hurry()
        self.stopping.set()


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """Raises ``ConfigurationError`` for files that are no certificate chain and its key."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        problem = f"the certificate and key cannot be used: {error.strerror or error}"
        raise ConfigurationError("tls_certificate", problem, "give PEM files of a pair") from error
    return context
