"""Local indexes whose packages are in an object store, as the settings describe them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.composition.cache import Cache
from proxy.config import IndexTable, LocalTable
from proxy.errors import ConfigurationError, how_to_add
from proxy.events import Observer

if TYPE_CHECKING:
    from proxy.publish import ObjectIndex, ObjectPackages


@asynccontextmanager
async def open_object_index(
    name: str, table: LocalTable, cache: Cache, events: Observer
) -> AsyncIterator[ObjectIndex]:
    """The index, which follows the changes of other machines while it is entered.

    A store that does not answer is no error. Raises ``ConfigurationError``.
    """
    from proxy.publish import ObjectIndex, ObjectLog
    from proxy.scale import ObjectBlobs, ObjectCalls, open_object_store

    assert table.packages
    async with (
        open_object_store(table.packages, f"indexes.{name}.packages") as store,
        ObjectCalls(store, meanwhile="known packages are listed, and none are changed") as calls,
    ):
        log = ObjectLog(name, calls)
        blobs = ObjectBlobs(calls, cache.spool, cache.store)
        index = ObjectIndex(
            name,
            table.packages,
            log,
            blobs.open,
            events,
            claims=cache.claims,
            extra_files=table.extra_files,
        )
        await log.open(index.announce)
        try:
            yield index
        finally:
            await log.close()
            await blobs.close()
            await cache.claims.save()


async def package_attempts(
    tables: Iterable[tuple[str, IndexTable]],
) -> AsyncIterator[tuple[str, str | None]]:
    """What the stores of packages can do: each with its problem, None for none."""
    from proxy.scale import open_object_store, problem_of_store

    for name, table in tables:
        if isinstance(table, LocalTable) and table.packages:
            async with open_object_store(table.packages, f"indexes.{name}.packages") as store:
                yield f"packages {table.packages}", await problem_of_store(store)


def object_packages(index: ObjectIndex, folder: Path) -> ObjectPackages:
    """``folder``: the cache; uploads that arrive are in a folder there."""
    from proxy.publish import ObjectPackages

    return ObjectPackages(index, folder / "uploads" / index.name / "incoming")


def store_problems(name: str, table: LocalTable) -> Iterator[ConfigurationError]:
    if table.roots:
        problem = "it has directories and an object store"
        yield ConfigurationError(f"indexes.{name}.packages", problem, "leave one of them out")
    if (table.packages or "").startswith("file:"):
        problem = f"{table.packages} is a folder, and no object store"
        yield ConfigurationError(f"indexes.{name}.packages", problem, "name it as path")
    elif find_spec("obstore") is None:
        problem = "object stores are used with a library that is missing"
        yield ConfigurationError(f"indexes.{name}.packages", problem, how_to_add("scale"))


def shared_places(tables: Mapping[str, IndexTable]) -> Iterator[ConfigurationError]:
    """Two indexes with one place: a rule for one of them would not be one for its packages."""
    taken: dict[str, str] = {}
    for name, table in tables.items():
        if isinstance(table, LocalTable) and table.packages:
            place = table.packages.rstrip("/")
            if other := taken.get(place):
                problem = f"{place} has the packages of the index {other} already"
                yield ConfigurationError(f"indexes.{name}.packages", problem, "add a prefix")
            taken[place] = name
