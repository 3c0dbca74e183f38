"""Spans of requests, as a collector of OpenTelemetry receives them."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.distributions import make_wheel
from tests.support.running import running
from tests.support.upstream import Upstream

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Collector:
    """Receives OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()
        self.port = 0

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        if body[:2] == b"\x1f\x8b":  # where aiohttp has not unpacked it
            body = gzip.decompress(body)
        found = ExportTraceServiceRequest.FromString(body)
        for resource in found.resource_spans:
            self.services.add(values(resource.resource)["service.name"])
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return web.Response()


def values(described: Any) -> dict[str, Any]:
    """The attributes of a span or resource."""
    found = {}
    for each in described.attributes:
        kind = each.value.WhichOneof("value")
        found[each.key] = getattr(each.value, kind)
    return found


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    made, app = Collector(), web.Application()
    app.router.add_post("/v1/traces", made.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


async def test_requests_and_what_upstream_was_asked_for_them_are_spans(
    tmp_path: Path, upstream: Upstream, collector: Collector
) -> None:
    upstream.add(make_wheel(tmp_path / "dist", "demo", "1.0"))
    more = {
        "WAYSTATION_TRACES": f'{{"endpoint": "http://127.0.0.1:{collector.port}"}}',
        "WAYSTATION_SPECULATE": "off",
    }
    bodies = set()
    async with (
        running(tmp_path, "--upstream", upstream.url, **more) as server,
        aiohttp.ClientSession() as client,
    ):
        for path in ["/simple/demo/?token=secret"] * 5 + ["/simple/absent/"]:
            headers = {"traceparent": PARENT, "User-Agent": "pip/26.3"}
            async with client.get(server.address + path, headers=headers) as answer:
                bodies.add(await answer.read())
    assert len(bodies) == 2  # the fast path answers the same bytes, without spans
    assert collector.services == {"waystation"}
    by_name = {span.name: span for span in collector.spans if span.kind == 2}
    assert set(by_name) == {"GET /simple/{project}/"}
    spans = [span for span in collector.spans if values(span).get("url.path") == "/simple/demo/"]
    served = spans[0]
    assert served.trace_id.hex() == TRACE
    assert served.parent_span_id.hex() == PARENT.split("-")[2]
    found = values(served)
    port = found.pop("server.port")
    assert port == server.port
    assert found == {
        "http.request.method": "GET",
        "http.route": "/simple/{project}/",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "url.path": "/simple/demo/",
        "server.address": "127.0.0.1",
        "client.address": "127.0.0.1",
        "user_agent.original": "pip/26.3",
        "network.protocol.version": "1.1",
        "waystation.index": "main",
        "waystation.outcome": "miss",
    }
    asked = [span for span in collector.spans if span.kind == 3]
    child = next(span for span in asked if span.parent_span_id == served.span_id)
    assert child.name == "GET"
    assert values(child) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": upstream.port,
        "url.full": f"{upstream.url}demo/",
    }
    absent = next(span for span in asked if values(span)["url.full"].endswith("/absent/"))
    assert values(absent)["error.type"] == "404"
    assert "secret" not in str(collector.spans)
    assert not any("traceparent" in request.headers for request in upstream.requests)


async def test_a_collector_that_is_down_is_no_trouble(tmp_path: Path, upstream: Upstream) -> None:
    upstream.add(make_wheel(tmp_path / "dist", "demo", "1.0"))
    more = {"WAYSTATION_TRACES": '{"endpoint": "http://127.0.0.1:9"}'}
    async with (
        running(tmp_path, "--upstream", upstream.url, **more) as server,
        aiohttp.ClientSession() as client,
        asyncio.timeout(30),
        client.get(f"{server.address}/simple/demo/") as answer,
    ):
        assert answer.status == 200
