"""Opens object stores by their addresses, with limits so that a store that hangs stops nothing.

Credentials, region and endpoint come from where ``obstore`` looks for them: variables such as
``AWS_ACCESS_KEY_ID`` and ``AWS_ENDPOINT``, and the identity of the machine or the pod.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from proxy.errors import ConfigurationError, how_to_add, mask_credentials

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

EXIT_PAUSE = 0.2
"""Seconds between the last call of a store and the end of the process: without a pause the
runtime of ``obstore`` aborts the interpreter now and then (exit status 134)."""


def _limits() -> tuple[ClientConfig, RetryConfig]:
    """By default ``obstore`` tries for three minutes, and ends each request after 30 seconds,
    which counts the time of a slow reader."""
    client: ClientConfig = {
        "connect_timeout": timedelta(seconds=2),
        "read_timeout": timedelta(seconds=3),
        "timeout": timedelta(hours=1),
        "allow_http": True,  # the endpoint is what the operator has written
    }
    retry: RetryConfig = {
        "max_retries": 1,
        "retry_timeout": timedelta(seconds=5),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=1),
            "base": 2,
        },
    }
    return client, retry


def connect_object_store(url: str, key: str = "storage.files") -> ObjectStore:
    """The store, or the part of it below a prefix: ``s3://``, ``gs://``, ``az://`` or ``file:``.

    Nothing is requested yet. Between the last request and the end of the process the caller waits
    for ``EXIT_PAUSE``. Raises ``ConfigurationError``, for the setting ``key``, if the library is
    missing, or the environment lacks what the store needs.
    """
    try:
        from obstore import exceptions
    except ImportError:
        raise ConfigurationError(key, "obstore is not installed", how_to_add("scale")) from None
    try:
        return _opener(url)()
    except (exceptions.BaseError, ValueError, OSError) as error:
        problem = f"{url} cannot be opened: {describe_error(error)}"
        raise ConfigurationError(key, problem, "see docs/scale.md for what it needs") from None


@asynccontextmanager
async def open_object_store(url: str, key: str = "storage.files") -> AsyncIterator[ObjectStore]:
    """As ``connect_object_store``, with the pause after the last request."""
    store = connect_object_store(url, key)
    try:
        yield store
    finally:
        await asyncio.sleep(EXIT_PAUSE)


def _opener(url: str) -> Callable[[], ObjectStore]:
    from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

    client, retry = _limits()
    parts = urlsplit(url)
    if parts.scheme == "file":
        return lambda: LocalStore(Path(parts.path), mkdir=True)
    store = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[parts.scheme]
    prefix = parts.path.strip("/") or None
    return lambda: store(parts.netloc, prefix=prefix, client_options=client, retry_config=retry)


def describe_error(error: Exception) -> str:
    """The first line of an error of ``obstore``: the others are for its developers."""
    return mask_credentials(str(error).split("\n", 1)[0])[:300]
