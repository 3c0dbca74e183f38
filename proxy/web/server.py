"""Listening, and stopping: signals, TLS, and time for running downloads to finish."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import web

from proxy.errors import ConfigurationError
from proxy.web.authentication import GATE
from proxy.web.fast_path import MAX_TARGET, FastProtocol, OnHit, protocol_factory
from proxy.web.gated_path import GatedProtocol
from proxy.web.middleware import EVENT_OBSERVER
from proxy.web.response_cache import ResponseCache

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
BACKLOG = 1024
"""Connections that wait in the kernel while the server is busy: installers open fifty at once."""


class Server:
    """One application on one address."""

    def __init__(
        self,
        app: web.Application,
        *,
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
        max_connections: int = 1000,
        keepalive_timeout: float = 75.0,
        write_timeout: float = 60.0,
        drain_delay: float = 0.0,
        grace: float = 60.0,
        shared_port: bool = False,
        response_cache: ResponseCache | None = None,
        on_hit: OnHit | None = None,
    ) -> None:
        """All times in seconds.

        A connection is closed when no request has arrived on it for ``keepalive_timeout``, or
        its client has taken nothing of an answer for ``write_timeout``. ``drain_delay``: how long
        requests are accepted after a signal to stop; ``grace``: how long running answers may take
        after that.

        ``response_cache``: that of the application, for a fast path; ``on_hit`` gets each
        response that the fast path sends.
        """
        self._options: dict[str, Any] = {
            "access_log": None,  # the application writes its own lines
            "auto_decompress": False,  # no client packs its bodies, and a broken one is an error
            "keepalive_timeout": keepalive_timeout,
            "max_line_size": MAX_TARGET,
        }
        self._runner = web.AppRunner(
            app,
            shutdown_timeout=grace / 2,  # which aiohttp waits twice
            handler_cancellation=True,
            **self._options,
        )
        self._events = app.get(EVENT_OBSERVER, lambda event: None)
        self._response_cache = response_cache
        self._drain_delay = drain_delay
        self._fast = _fast_protocol(app, response_cache, on_hit or (lambda *_: None))
        self._listener: asyncio.Server | None = None
        self._host = host
        self._port = port
        self._tls = tls
        self._shared_port = shared_port
        self._max_connections = max_connections
        self._write_timeout = write_timeout
        self.stopping = asyncio.Event()

    @property
    def port(self) -> int:
        """The port it listens on, also where the port was given as 0."""
        assert self._listener
        return int(self._listener.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """Connections of clients."""
        return len(self._runner.server.connections) if self._runner.server else 0

    async def start(self) -> None:
        """Raises ``ConfigurationError`` where it cannot listen."""
        await self._runner.setup()
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                self._limited(),
                self._host,
                self._port,
                ssl=self._tls,
                backlog=BACKLOG,
                reuse_port=self._shared_port or None,
            )
        except OSError as error:
            await self._runner.cleanup()
            raise self._cannot_listen(error) from error
        for each in self._listener.sockets:
            _limit_waiting(each, self._write_timeout)

    def _limited(self) -> Callable[[], asyncio.Protocol]:
        """Makes the protocol of each connection that is accepted."""
        server = self._runner.server
        assert server
        return protocol_factory(
            server,
            self._events,
            self._fast,
            self._options,
            self._max_connections,
        )

    def _cannot_listen(self, error: OSError) -> ConfigurationError:
        number = error.errno or 0  # negative where the host could not be resolved
        reason = os.strerror(number) if number > 0 else error.strerror or error
        problem = f"cannot listen on {self._host}:{self._port}: {reason}"
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            return ConfigurationError("port", problem, "choose one that is free and allowed")
        return ConfigurationError("host", problem, "give an address of this machine")

    async def stop(self) -> None:
        """Stop listening, and let running answers finish within the grace period."""
        self._stop_listening()
        await self._runner.cleanup()

    def stop_on_signals(self) -> None:
        """From now on SIGTERM and SIGINT make ``until_stopped`` stop the server.

        A second signal ends the process at once, as its default handler is in place again. No
        file is lost or left incomplete by that, as each appears by a rename.
        """
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._stop)

    async def until_stopped(self) -> None:
        """Serve until a signal, and for the drain delay; then let running answers finish."""
        await self.stopping.wait()
        await self._drain()
        self._stop_listening()  # before the log line says so
        log.info("stopping; running downloads may finish")
        await self.stop()

    async def _drain(self) -> None:
        """Answer for the drain delay; the application ends each connection with an answer."""
        if self._response_cache:
            self._response_cache.close()
        if self._drain_delay:
            log.info("stopping in %g seconds; until then requests are answered", self._drain_delay)
            await asyncio.sleep(self._drain_delay)

    def _stop_listening(self) -> None:
        if self._listener:
            self._listener.close()

    def _stop(self) -> None:
        for number in STOP_SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        self.stopping.set()


def _fast_protocol(
    app: web.Application, cache: ResponseCache | None, on_hit: OnHit
) -> Callable[..., FastProtocol] | None:
    if cache is None:
        return None
    if gate := app.get(GATE):
        return partial(GatedProtocol, gate, cache, on_hit)
    return partial(FastProtocol, cache, on_hit)


def _limit_waiting(listening: Any, seconds: float) -> None:
    """Close connections through this socket whose other end takes no bytes for so many seconds.

    The kernel does that (RFC 5482), as only it knows what was taken. On systems without that
    option only dead connections end, by TCP's own rules.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = max(1, int(seconds * 1000))
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def tls_context(
    certificate: str, key: str, client_ca: str | None = None, *, required: bool = False
) -> ssl.SSLContext:
    """``client_ca``: the authorities of client certificates, which a client may or has to show.

    Raises ``ConfigurationError`` if the files are not a certificate chain and its key, or no
    certificates.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        problem = f"the certificate and key cannot be used: {error.strerror or error}"
        raise ConfigurationError("tls_certificate", problem, "give PEM files of a pair") from error
    if client_ca is None:
        return context
    try:
        context.load_verify_locations(client_ca)
    except OSError as error:
        problem = f"{client_ca} cannot be used: {error.strerror or error}"
        raise ConfigurationError("access.certificates.ca", problem, "give PEM files") from error
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context
