"""The table ``[storage]``: files and records on engines that many machines share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, ByteSize, Field, model_validator

from proxy import late_pattern
from proxy.config.values import HOUR, PositiveSeconds, Table
from proxy.errors import ConfigurationError, how_to_add

_STORES = "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:/FOLDER"
_RECORDS = (
    *("redis", "rediss", "redis+sentinel", "rediss+sentinel"),
    *("redis+cluster", "rediss+cluster"),
)
_HOST = late_pattern(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", re.ASCII)
_BUCKET = late_pattern(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", re.ASCII)
_KEY_PREFIX = late_pattern(r"(/[A-Za-z0-9_-][A-Za-z0-9._=-]*)*/?", re.ASCII)


def _split(address: str) -> SplitResult:
    """Raises ``ValueError`` if the text is no address."""
    if not address.isprintable() or " " in address:
        raise ValueError("has spaces or control characters")
    try:
        return urlsplit(address)
    except ValueError:
        raise ValueError("is not an address") from None


def _check_files(address: str) -> str:
    parts = _split(address)
    if parts.query or parts.fragment or "?" in address or "#" in address:
        raise ValueError('has a part after "?" or "#"')
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/") or ".." in parts.path.split("/"):
            raise ValueError('is not an absolute path such as "file:/srv/files"')
        return address
    if parts.scheme not in ("s3", "gs", "az"):
        raise ValueError(f"is not one of {_STORES}")
    if "@" in parts.netloc:
        raise ValueError("has credentials; give them in the variables of the store")
    if not _BUCKET.fullmatch(parts.netloc):
        raise ValueError(f"names no bucket; write {_STORES}")
    if not _KEY_PREFIX.fullmatch(parts.path):
        raise ValueError('has a prefix with other characters than letters, digits, "-", "_", "."')
    return address


def _check_records(address: str) -> str:
    """Several hosts, of sentinels or of a cluster, are separated by commas."""
    parts = _split(address)
    if parts.scheme not in _RECORDS:
        known = ", ".join(f"{each}://" for each in _RECORDS)
        raise ValueError(f"does not begin with one of {known}")
    if "@" in parts.path or parts.netloc.count("@") > 1:
        raise ValueError('has a user or password with "@" or "/"; write these as %40 and %2F')
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if not all(map(_HOST.fullmatch, hosts)) or (len(hosts) > 1 and "+" not in parts.scheme):
        raise ValueError('names no host such as "redis.example.com:6379"')
    if "password" in parts.query.lower():
        raise ValueError("has a password after the question mark; write it before the host")
    return address


StoreAddress = Annotated[str, AfterValidator(_check_files)]
"""The address of an object store, or of a folder, and perhaps a prefix there."""


class StorageTable(Table):
    """Files in an object store, records in Redis or Valkey; one machine needs neither."""

    files: StoreAddress | None = None
    records: Annotated[str, AfterValidator(_check_records)] | None = None
    local_cache: Annotated[ByteSize, Field(gt=0)] | None = None
    """Bytes of the files that are kept on the local disk as well."""
    redirect: bool = False
    evict_every: PositiveSeconds = HOUR
    """Seconds between two looks whether the store is larger than ``max_size``."""

    @model_validator(mode="after")
    def _check_together(self) -> StorageTable:
        if self.files is None and (self.local_cache is not None or self.redirect):
            raise ValueError("has local_cache or redirect, which mean nothing without files")
        return self

    @property
    def files_are_local(self) -> bool:
        """Whether the files are in a folder, which this machine has mounted."""
        return self.files is not None and self.files.startswith("file:")


def storage_problems(table: StorageTable) -> Iterator[ConfigurationError]:
    """Libraries that the settings need and this installation lacks."""
    if table.files and not table.files_are_local and find_spec("obstore") is None:
        problem = "object stores are used with a library that is missing"
        yield ConfigurationError("storage.files", problem, how_to_add("scale"))
    if table.records and find_spec("redis") is None:
        problem = "Redis is used with a library that is missing"
        yield ConfigurationError("storage.records", problem, how_to_add("scale"))
    if table.files_are_local and (table.local_cache or table.redirect):
        key = "storage.local_cache" if table.local_cache else "storage.redirect"
        problem = "the files are in a folder already, from which they are sent"
        yield ConfigurationError(key, problem, "leave it out")
