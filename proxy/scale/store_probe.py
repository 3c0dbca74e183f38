"""Whether an object store does what it promises: asked once at the start, in the background."""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from proxy.errors import StoreUnavailable
from proxy.scale.object_store_client import describe_error

if TYPE_CHECKING:
    from proxy.scale.object_calls import ObjectCalls

log = logging.getLogger(__name__)

PROBE_AGAIN = 10.0
"""Seconds after which a store that did not answer is probed again."""
_CONTENT = b"waystation probes this store"


class StoreAbilities(NamedTuple):
    """The result of the probe."""

    conditional: bool
    """It refuses to create an object that exists: publishing depends on that."""
    lie: str
    """The fault that makes it unusable; empty without one."""


async def probe_store(store: Any) -> StoreAbilities:
    """Create an object, create it again, read a part and an unchanged one, and delete it.

    Raises the errors of ``obstore`` if the store does not answer, or refuses.
    """
    from obstore import exceptions

    path = f"v1/probe/{secrets.token_hex(8)}"
    await store.put_async(path, _CONTENT)
    try:
        conditional = False
        try:
            await store.put_async(path, b"other", mode="create")
        except exceptions.AlreadyExistsError:
            conditional = True
        except (exceptions.GenericError, exceptions.NotSupportedError) as error:
            if not _lacks_conditions(error):
                raise
        return StoreAbilities(conditional, await _lie_of(store, path, conditional))
    finally:
        with suppress(exceptions.BaseError, OSError):
            await store.delete_async(path)


def _lacks_conditions(error: Exception) -> bool:
    """Whether the store says that it has no conditional requests."""
    return "501" in str(error) or "NotImplemented" in str(error)


async def _lie_of(store: Any, path: str, conditional: bool) -> str:
    from obstore import exceptions

    found = await store.get_async(path)
    if conditional and bytes(await found.bytes_async()) != _CONTENT:
        return "an object that exists was replaced, although that was refused"
    if bytes(await store.get_range_async(path, start=1, end=3)) not in (b"ay", b"th"):
        return "a range of an object has other bytes"
    with suppress(exceptions.NotModifiedError):
        await store.get_async(path, options={"if_none_match": found.meta["e_tag"]})
        return "an object that has not changed is sent again"
    return ""


async def can_create(calls: ObjectCalls) -> bool:
    """Whether the store lets one of many create an object. Raises ``StoreUnavailable``."""
    from obstore import exceptions

    try:
        found = await probe_store(calls.store)
    except (exceptions.BaseError, OSError) as error:
        log.warning("the object store cannot be probed: %s", describe_error(error))
        raise StoreUnavailable from error
    return found.conditional and not found.lie


async def problem_of_store(store: Any) -> str | None:
    """In words; None: it does all that is needed."""
    from obstore import exceptions

    try:
        found = await probe_store(store)
    except (exceptions.BaseError, OSError) as error:
        return describe_error(error)
    if found.conditional:
        return found.lie or None
    return found.lie or "it cannot create objects on condition: do not publish to it"


async def probe_until_it_answers(calls: ObjectCalls, url: str) -> None:
    """Log what the store can do; one that lies is not used."""
    from obstore import exceptions

    while True:
        try:
            found = await probe_store(calls.store)
        except (exceptions.BaseError, OSError) as error:
            log.warning("%s cannot be used yet: %s", url, describe_error(error))
            await asyncio.sleep(PROBE_AGAIN)
            continue
        break
    if found.lie:
        log.error("%s is not used: %s", url, found.lie)
        calls.leave_alone(found.lie)
    elif not found.conditional:
        log.warning("%s cannot create objects on condition: do not publish to it", url)
    else:
        log.info("%s answers", url)
