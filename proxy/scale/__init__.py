"""Storage on engines that many machines share: an object store, Redis or Valkey."""

from proxy.scale.janitor import Hold, Janitor, lock_of_machine
from proxy.scale.object_calls import ObjectCalls, StoredObject
from proxy.scale.object_store import LocalCopies, ObjectStore
from proxy.scale.object_store_client import describe_error, open_object_store
from proxy.scale.store_probe import StoreAbilities, probe_store, probe_until_it_answers

__all__ = [
    "Hold",
    "Janitor",
    "LocalCopies",
    "ObjectCalls",
    "ObjectStore",
    "StoreAbilities",
    "StoredObject",
    "describe_error",
    "lock_of_machine",
    "open_object_store",
    "probe_store",
    "probe_until_it_answers",
]
