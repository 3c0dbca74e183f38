"""Listening, and stopping: signals, TLS, and time for running downloads to finish."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web

from proxy.errors import ConfigurationError
from proxy.web.access_log import AccessLogger
from proxy.web.access_log import log as access_log

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
    ) -> None:
        """``grace``: seconds that running answers get when it stops."""
        self._runner = web.AppRunner(
            app,
            access_log=access_log,
            access_log_class=AccessLogger,
            keepalive_timeout=keepalive_timeout,
            shutdown_timeout=grace,
            handler_cancellation=True,
        )
        self._host = host
        self._port = port
        self._tls = tls
        self.stopping = asyncio.Event()

    @property
    def port(self) -> int:
        """The port it listens on, also where 0 was asked for."""
        return int(self._runner.addresses[0][1])

    async def start(self) -> None:
        """Raises ``ConfigurationError`` where it cannot listen."""
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, self._host, self._port, ssl_context=self._tls, backlog=BACKLOG
        )
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            where = f"{self._host}:{self._port}"
            problem = f"cannot listen on {where}: {error.strerror or error}"
            raise ConfigurationError("port", problem, "choose a free one") from error

    async def until_stopped(self) -> None:
        """Serve until SIGTERM or SIGINT, then let running answers finish.

        A second signal ends them at once.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        await self.stopping.wait()
        log.info("stopping; running downloads may finish")
        cleanup = asyncio.create_task(self._runner.cleanup())
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
