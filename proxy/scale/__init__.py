"""Storage on engines that many machines share: an object store, Redis or Valkey."""

from proxy.scale.janitor import Hold, Janitor, lease_of_all, lock_of_machine
from proxy.scale.object_calls import ObjectCalls, StoredObject
from proxy.scale.object_store import LocalCopies, ObjectStore
from proxy.scale.object_store_client import (
    connect_object_store,
    describe_error,
    open_object_store,
)
from proxy.scale.page_copies import CopiedRecords
from proxy.scale.redis_client import redis_problem
from proxy.scale.redis_leases import RedisLeases
from proxy.scale.redis_link import RedisAway, RedisLink
from proxy.scale.redis_purge_log import RedisPurgeLog
from proxy.scale.redis_records import RedisRecords
from proxy.scale.remote_blob import ObjectBlobs
from proxy.scale.shared_claims import SharedClaims
from proxy.scale.small_objects import SmallObjects
from proxy.scale.store_probe import (
    StoreAbilities,
    can_create,
    probe_store,
    probe_until_it_answers,
    problem_of_store,
)

__all__ = [
    "CopiedRecords",
    "Hold",
    "Janitor",
    "LocalCopies",
    "ObjectBlobs",
    "ObjectCalls",
    "ObjectStore",
    "RedisAway",
    "RedisLeases",
    "RedisLink",
    "RedisPurgeLog",
    "RedisRecords",
    "SharedClaims",
    "SmallObjects",
    "StoreAbilities",
    "StoredObject",
    "can_create",
    "connect_object_store",
    "describe_error",
    "lease_of_all",
    "lock_of_machine",
    "open_object_store",
    "probe_store",
    "probe_until_it_answers",
    "problem_of_store",
    "redis_problem",
]
