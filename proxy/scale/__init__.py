"""Storage on engines that many machines share: an object store, Redis or Valkey."""

from proxy.scale.object_calls import ObjectCalls, StoredObject
from proxy.scale.object_store import ObjectStore
from proxy.scale.object_store_client import describe_error, open_object_store

__all__ = [
    "ObjectCalls",
    "ObjectStore",
    "StoredObject",
    "describe_error",
    "open_object_store",
]
