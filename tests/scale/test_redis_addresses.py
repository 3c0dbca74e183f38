"""Redis by its address: behind Sentinel, as a cluster, with TLS and with a password."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from proxy.errors import ConfigurationError
from proxy.scale import RedisLeases, RedisLink, RedisPurgeLog, RedisRecords, redis_problem
from proxy.storage import Key, RecordKind
from tests.support.pki import Authority
from tests.support.redis_server import RedisServer, redis_program
from tests.support.sockets import lasting_port
from tests.support.waiting import until

SECRET = "zugang"
PAGE = Key(RecordKind.PAGE, "index", "demo")
DOCUMENT = Key(RecordKind.DOCUMENT, "index", "demo")


@pytest.fixture(scope="module")
def program() -> str:
    return redis_program()


@pytest.fixture(scope="module")
def sentinel(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server behind one Sentinel."""
    config = tmp_path_factory.mktemp("sentinel") / "sentinel.conf"
    with RedisServer(program, "--requirepass", SECRET) as server:
        port = lasting_port()
        config.write_text(
            f"port {port}\nsentinel monitor pages 127.0.0.1 {server.port} 1\n"
            f"sentinel auth-pass pages {SECRET}\n"
        )
        with RedisServer(program, as_sentinel=config, port=port):
            yield f"redis+sentinel://:{SECRET}@127.0.0.1:{port}/pages"


@pytest.fixture(scope="module")
def cluster(program: str) -> Iterator[str]:
    """The address of a cluster of two servers."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    with (
        RedisServer(program, *options) as one,
        RedisServer(program, *options) as other,
    ):
        one.ask("CLUSTER", "ADDSLOTSRANGE", "0", "8191")
        other.ask("CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
        one.ask("CLUSTER", "MEET", "127.0.0.1", str(other.port))
        for each in (one, other):
            each.wait_for("cluster_state:ok", "CLUSTER", "INFO")
            each.wait_for("cluster_slots_ok:16384", "CLUSTER", "INFO")
            each.wait_for("cluster_size:2", "CLUSTER", "INFO")
        yield f"redis+cluster://127.0.0.1:{one.port},127.0.0.1:{other.port}"


@pytest.fixture(scope="module")
def limited(program: str) -> Iterator[str]:
    """The address of a server for a user who may do what docs/scale.md says."""
    with RedisServer(program) as server:
        rights = (
            "~waystation:* &waystation:* +@read +@write +@connection +@pubsub +@scripting +time"
        )
        server.ask("ACL", "SETUSER", "proxy", "on", f">{SECRET}", *rights.split())
        yield f"redis://proxy:{SECRET}@127.0.0.1:{server.port}/0"


@pytest.fixture(scope="module")
def encrypted(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with TLS, and the file of the authority of its certificate."""
    authority = Authority(tmp_path_factory.mktemp("tls"), "authority")
    certificate, key = authority.issue("127.0.0.1")
    port = lasting_port()
    options = ("--tls-port", str(port), "--tls-auth-clients", "no")
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key))
    with RedisServer(program, *options, *files, "--tls-ca-cert-file", str(authority.bundle)):
        yield f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.bundle}"


@pytest.fixture(params=["sentinel", "cluster", "limited", "encrypted"])
async def link(request: pytest.FixtureRequest) -> AsyncIterator[RedisLink]:
    made = RedisLink(request.getfixturevalue(request.param))
    yield made
    await made.close()


async def test_records_are_written_and_found(link: RedisLink) -> None:
    records = RedisRecords(link)
    assert await records.put_if(PAGE, lambda found: found is None, {PAGE: b"1", DOCUMENT: b"2"})
    assert not await records.put_if(PAGE, lambda found: found is None, {PAGE: b"3"})
    await records.put(Key(RecordKind.PINS, "owner"), b"pins")
    assert [await records.get(each) for each in (PAGE, DOCUMENT)] == [b"1", b"2"]
    assert await records.keys() == [DOCUMENT, PAGE, Key(RecordKind.PINS, "owner")]
    assert await records.keys(RecordKind.PAGE, "index") == [PAGE]


async def test_purges_are_read_by_all(link: RedisLink) -> None:
    async with RedisPurgeLog(link, "purged") as one, RedisPurgeLog(link, "purged") as other:
        await one.append(["demo"])
        for log in (one, other):
            found: list[str] = []
            await until(lambda found=found, log=log: bool(found.extend(log.read_new()) or found))  # type: ignore[misc]
            assert found == ["demo"]


async def test_one_replica_has_a_lease_until_it_gives_it_back(link: RedisLink) -> None:
    async with RedisLeases(link) as one, RedisLeases(link) as other:
        turn = await one.begin("index/demo")
        assert turn.held
        assert not (await other.begin("index/demo")).held
        waiting = asyncio.create_task(other.wait("index/demo", 20))
        await one.end(turn, "failed: as a test")
        assert await waiting == "failed: as a test"
        next_turn = await other.begin("index/demo")
        assert next_turn.held
        assert next_turn.fence > turn.fence


async def test_a_certificate_of_an_unknown_authority_is_refused(encrypted: str) -> None:
    address = encrypted.partition("?")[0]
    assert "CERTIFICATE_VERIFY_FAILED" in (await redis_problem(address) or "")


async def test_a_wrong_password_is_in_no_message(
    program: str, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer(program, "--requirepass", SECRET) as server:
        link = RedisLink(f"redis://user:{SECRET}-wrong@127.0.0.1:{server.port}/0")
        records = RedisRecords(link)
        for _ in range(4):
            assert await records.get(PAGE) is None
        await link.close()
    assert "does not answer" in caplog.text
    assert f"redis://***@127.0.0.1:{server.port}/0" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "address", ["redis+sentinel://127.0.0.1", "redis+other://127.0.0.1", "redis://127.0.0.1:port"]
)
def test_an_address_of_another_form_is_a_configuration_error(address: str) -> None:
    with pytest.raises(ConfigurationError, match="redis"):
        RedisLink(address)
