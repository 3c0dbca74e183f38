"""Clients of Redis and Valkey by URL: one server, a server behind Sentinel, or a cluster.

```text
redis://HOST:PORT/DB      rediss:// for TLS; unix:///PATH for a socket
redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB      rediss+sentinel:// for TLS
redis+cluster://HOST:PORT                            rediss+cluster:// for TLS
```
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from proxy.errors import ConfigurationError, how_to_add, mask_credentials

if TYPE_CHECKING:
    from redis.asyncio import Redis

_CONNECT_TIMEOUT = 0.5
"""Seconds; with the defaults of the library, a server that is away delays a page by 6 seconds."""
_ANSWER_TIMEOUT = 1.0
"""Seconds until an answer has to begin."""
_HEALTH_INTERVAL = 15
"""Seconds of silence after which a connection is tried before it is used."""
_TRIAL = 5.0
"""Seconds for a trial."""
SCHEMA = "v1"
"""Begins the keys after the name of the program: replicas of two versions may run together."""
PREFIX = f"waystation:{SCHEMA}:"
MAX_CONNECTIONS = 32
"""Of one process."""
_SCHEMES = ("redis", "rediss", "unix")
_SPECIAL_SCHEMES = ("sentinel", "cluster")
SENTINEL_PORT, PORT = 26379, 6379
_SENTINEL_OPTIONS = ("protocol", "socket_connect_timeout", "socket_timeout")
"""For the requests to the Sentinels; they are asked one after the other until one answers."""
_EXAMPLE = (
    "give an address as redis://HOST:6379/0, rediss://, redis+sentinel://HOST:26379/SERVICE or "
    "redis+cluster://HOST:6379"
)


def is_redis_url(url: str) -> bool:
    """Whether the URL has one of the schemes above."""
    scheme, _, special = urlsplit(url).scheme.partition("+")
    return scheme in _SCHEMES and special in ("", *_SPECIAL_SCHEMES)


def connect(url: str) -> Redis:
    """A client that opens connections when they are needed.

    Raises ``ConfigurationError`` for a URL of another form, or without the library.
    """
    try:
        import redis.asyncio  # noqa: F401 (takes 0.3 seconds)
    except ImportError:
        problem = "Redis is used with a library that is missing"
        raise ConfigurationError("storage.records", problem, how_to_add("scale")) from None
    parts = urlsplit(url)
    special = parts.scheme.partition("+")[2]
    try:
        if not is_redis_url(url):
            raise ValueError(f"the scheme {parts.scheme!r} is not known")
        make = {"": _single, "sentinel": _behind_sentinel, "cluster": _cluster}[special]
        client: Redis = make(parts)
    except ValueError as error:
        raise ConfigurationError("storage.records", str(error), _EXAMPLE) from None
    return client


async def redis_problem(url: str) -> str | None:
    """Why the Redis at the address cannot be used by replicas now; None if it can.

    Raises ``ConfigurationError`` as ``connect`` does.
    """
    from redis.exceptions import RedisClusterException, RedisError

    client: Any = connect(url)
    try:
        async with asyncio.timeout(_TRIAL):
            await client.initialize()
            await client.set(f"{PREFIX}{{trial}}:trial", b"", px=1000)
    except (RedisError, RedisClusterException, OSError) as error:
        return mask_credentials(str(error)) or f"no answer within {_TRIAL:g} seconds"
    finally:
        await disconnect(client)
    return None


async def disconnect(client: Any) -> None:
    """Close all its connections, those to Sentinels too."""
    await client.aclose()
    pool = getattr(client, "connection_pool", None)
    for sentinel in getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()):
        await sentinel.aclose()


def _options() -> dict[str, Any]:
    from redis.asyncio.retry import Retry
    from redis.backoff import ExponentialBackoff

    return {
        "protocol": 3,
        "socket_connect_timeout": _CONNECT_TIMEOUT,
        "socket_timeout": _ANSWER_TIMEOUT,
        "health_check_interval": _HEALTH_INTERVAL,
        "max_connections": 2 * MAX_CONNECTIONS,
        "retry": Retry(ExponentialBackoff(cap=0.1, base=0.01), 1),
    }


def _single(parts: SplitResult) -> Redis:
    from redis.asyncio import Redis

    return Redis.from_url(parts.geturl(), **_options())


def _cluster(parts: SplitResult) -> Any:
    """A ``RedisCluster``, which has the commands of ``Redis`` that are used here."""
    from redis.asyncio import RedisCluster
    from redis.asyncio.cluster import ClusterNode

    nodes = [ClusterNode(*each) for each in _hosts(parts.netloc, PORT)]
    return RedisCluster(startup_nodes=nodes, **_login(parts), **_options())


def _behind_sentinel(parts: SplitResult) -> Redis:
    """The server that the Sentinels name as the primary of the service now."""
    from redis.asyncio import Sentinel

    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("the address of Sentinel has no name of a service")
    options = _options() | _login(parts)
    asked = {name: value for name, value in options.items() if name in _SENTINEL_OPTIONS}
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
        _hosts(parts.netloc, SENTINEL_PORT), sentinel_kwargs=asked
    )
    found: Redis = sentinel.master_for(service, db=int(database or 0), **options)
    return found


def _login(parts: SplitResult) -> dict[str, Any]:
    return {
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "ssl": parts.scheme.startswith("rediss"),
    }


def _hosts(netloc: str, port: int) -> list[tuple[str, int]]:
    """``HOST:PORT,HOST:PORT`` after a user and a password. Raises ``ValueError``."""
    found = []
    for each in netloc.rpartition("@")[2].split(","):
        host = urlsplit(f"//{each}")
        found.append((host.hostname or "localhost", host.port or port))
    return found
