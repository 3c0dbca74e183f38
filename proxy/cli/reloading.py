"""Reloading: a running server takes over another state of its settings, or keeps its own."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.cli.running_server import ServerRecord
from proxy.composition import Proxy, resolve_tree
from proxy.config import Settings, UpstreamSettings, config_file, load_settings
from proxy.errors import ConfigurationError, reason
from proxy.events import PageChanged
from proxy.web import GATE, MOUNTS, Application, Generation, tls_context

log = logging.getLogger(__name__)

RELOADED = frozenset(
    {
        *("packages", "legacy_files", "watch", "reserved", "upstream", "upstream_username"),
        *("upstream_password", "upstream_missing_statuses", "file_hosts", "indexes", "index"),
        *("policies", "exempt", "cooldown", "advisories", "provenance_root", "access"),
        *("webhooks", "keep", "change_lists", "offline", "offline_list_all", "trusted_keys"),
        *UpstreamSettings.model_fields,
    }
)
"""The settings that take effect without a restart."""


@dataclass(frozen=True, slots=True)
class SettingsSource:
    """The sources of a server's settings, to be read again."""

    flags: Mapping[str, Any]
    config: Path | None
    origins: dict[str, str] = field(default_factory=dict)
    """The source of each current setting, in words; without the defaults."""

    def text(self) -> str | None:
        """The settings file as it is now; None without one. Raises ``ConfigurationError``."""
        path = config_file(self.config)
        if path is None:
            return None
        try:
            return path.expanduser().read_text("utf-8")
        except (OSError, ValueError, RuntimeError) as error:
            problem = f"{path} cannot be read: {reason(error)}"
            raise ConfigurationError("config", problem, "name a file that exists") from None

    def load(self, text: str | None = None) -> Settings:
        """The settings, checked; ``text``: that of the file, if it was read already.

        Raises ``ConfigurationError``.
        """
        loaded = load_settings(self.flags, self.config, resolve_tree, text)
        self._note(loaded.origins)
        return loaded.settings

    def _note(self, origins: Mapping[str, str]) -> None:
        self.origins.clear()
        self.origins.update(origins)

    @contextmanager
    def kept_on_error(self) -> Iterator[None]:
        """Encloses a reload: if it fails, the former origins are noted again."""
        former = dict(self.origins)
        try:
            yield
        except BaseException:
            self._note(former)
            raise


class Reloader:
    """Replaces the indexes, rules, keep tables and certificates of a running server."""

    def __init__(
        self,
        source: SettingsSource,
        settings: Settings,
        proxy: Proxy,
        app: Application,
        tls: ssl.SSLContext | None,
        keeping: Callable[[Settings], AbstractAsyncContextManager[None]],
    ) -> None:
        """``settings``: those in force. ``keeping`` runs their keep tables while entered."""
        self._source = source
        self._started = self._settings = settings
        self._proxy = proxy
        self._mounts = app[MOUNTS]
        self._gate = app.get(GATE)
        self._tls = tls
        self._keeping = keeping
        self._kept = AsyncExitStack()
        self._lock = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()
        self.failed = False
        """Whether the last reload was refused."""

    @property
    def settings(self) -> Settings:
        """As they were read last; some of them take effect with a restart."""
        return self._settings

    async def start(self) -> None:
        await self._kept.enter_async_context(self._keeping(self._settings))

    async def reload(self, text: str | None = None) -> tuple[str, ...]:
        """Take over the settings as they are now; return what needs a restart, in words.

        ``text`` as in ``SettingsSource.load``. Raises ``ConfigurationError``; then nothing has
        changed. Requests that are being answered end as they began.
        """
        async with self._lock:
            try:
                with self._source.kept_on_error():
                    settings = await asyncio.to_thread(self._source.load, text)
                    _require_same_control(self._settings, settings)
                    if settings.tls_certificate and settings.tls_key:
                        tls_context(str(settings.tls_certificate), str(settings.tls_key))
                    former = await self._proxy.load(settings)
            except ConfigurationError as error:
                self.failed = True
                log.error("the settings are not reloaded, and the former ones stay: %s", error)
                raise
            self._retire(
                self._mounts.replace(self._proxy.served, self._proxy.upload_targets), former
            )
            if self._gate and self._proxy.access:
                self._gate.access = self._proxy.access
            self._proxy.events(PageChanged(None))
            self._renew_certificate(settings)
            await self._kept.aclose()
            self._kept = AsyncExitStack()
            await self._kept.enter_async_context(self._keeping(settings))
            notes = tuple(needing_restart(self._started, settings))
            self._settings, self.failed = settings, False
            log.info("the settings are reloaded%s", "".join(f"; {note}" for note in notes))
            return notes

    async def refuse(self, text: str | None) -> None:
        """Go on with the settings of ``text``, or return to them: later ones were refused."""
        try:
            with self._source.kept_on_error():
                settings = await asyncio.to_thread(self._source.load, text)
            if settings != self._settings:
                await self.reload(text)
        except ConfigurationError as error:
            log.error("the former settings cannot be read again: %s", error)
        except Exception:
            log.exception("the former settings are not in force again")
        self.failed = True

    async def aclose(self) -> None:
        """Stop the keep tables, and close what former settings have left."""
        await self._kept.aclose()
        await asyncio.gather(*self._retiring, return_exceptions=True)

    def _renew_certificate(self, settings: Settings) -> None:
        """New connections get the certificate that is in the files now."""
        if self._tls and settings.tls_certificate and settings.tls_key:
            self._tls.load_cert_chain(settings.tls_certificate, settings.tls_key)

    def _retire(self, generation: Generation, former: AsyncExitStack) -> None:
        task = asyncio.create_task(self._close_former(generation, former))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _close_former(self, generation: Generation, former: AsyncExitStack) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.shutdown_grace):
                await generation.drained()
        await self._proxy.retire(former)


def needing_restart(former: Settings, settings: Settings) -> Iterator[str]:
    """New settings that have no effect yet, in words."""
    if _certificates(former) != _certificates(settings):
        yield "access.certificates takes effect with a restart"
    for name in Settings.model_fields:
        if name not in RELOADED and getattr(former, name) != getattr(settings, name):
            yield f"{name} takes effect with a restart"


def _certificates(settings: Settings) -> object:
    return settings.access and settings.access.certificates


def _require_same_control(former: Settings, settings: Settings) -> None:
    """Raises ``ConfigurationError``: a server would go on without, or with outdated credentials."""
    if (former.access is None) is not (settings.access is None):
        problem = f"[access] cannot be turned {'on' if settings.access else 'off'} by a reload"
        raise ConfigurationError("access", problem, "restart the server")


@asynccontextmanager
async def reload_on_signal(
    reload: Callable[[], Awaitable[tuple[str, ...]]],
    stop: Callable[[], None],
    cache_folder: Path,
    source: SettingsSource,
) -> AsyncIterator[None]:
    """While entered, SIGHUP calls ``reload``, and ``waystation reload`` finds the server.

    ``reload`` is as ``Reloader.reload``. The system sends SIGHUP too when the terminal closes in
    which the server was started: then ``stop`` is called.
    """
    record = ServerRecord(cache_folder, config_file(source.config))
    in_terminal, running = os.isatty(2), set[asyncio.Task[None]]()
    one_at_a_time = asyncio.Lock()

    async def run() -> None:
        async with one_at_a_time:
            began = time.monotonic()
            try:
                record.reloaded(began, notes=await reload())
            except ConfigurationError as error:
                record.reloaded(began, str(error))
            except Exception as error:
                log.exception("the reload failed")
                record.reloaded(began, f"an unexpected error, which the log has: {reason(error)}")

    def hung_up() -> None:
        if in_terminal and not os.isatty(2):
            stop()
            return
        running.add(task := asyncio.create_task(run()))
        task.add_done_callback(running.discard)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, hung_up)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        await asyncio.gather(*running, return_exceptions=True)
        record.close()
