"""Traces (OpenTelemetry): a span for each request that handlers answer, with its upstream requests.

Names and attributes follow the semantic conventions for HTTP. Answers of the fast path have no
spans: they take microseconds, and the counters have them. Nothing of a trace is sent upstream.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiohttp import (
    TraceConfig,
    TraceRequestEndParams,
    TraceRequestExceptionParams,
    TraceRequestStartParams,
    web,
)
from aiohttp.typedefs import Handler

from proxy import __version__
from proxy.errors import ConfigurationError, how_to_add
from proxy.web import REQUEST_STATE, RequestState

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

FLUSH = 3000
"""Milliseconds in which the last spans are sent when a server stops."""


@asynccontextmanager
async def open_tracing(endpoint: str, sample: float) -> AsyncIterator[Tracing]:
    """Send spans to the collector at this address (OTLP over HTTP), from a thread.

    ``sample``: the share of traces that are recorded, if the client has not decided that. Raises
    ``ConfigurationError`` if OpenTelemetry is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
    except ImportError:
        problem = "OpenTelemetry is not installed"
        raise ConfigurationError("traces", problem, how_to_add("otel")) from None
    resource = Resource.create(
        {
            "service.name": "waystation",
            "service.version": __version__,
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        }
    )
    sampler = ParentBasedTraceIdRatio(sample)
    provider = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield Tracing(provider.get_tracer("waystation", __version__))
    finally:
        await asyncio.to_thread(provider.force_flush, FLUSH)
        await asyncio.to_thread(provider.shutdown)


class Tracing:
    """Makes the spans."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self.upstream = TraceConfig()
        """For sessions that send requests to upstreams."""
        self.upstream.on_request_start.append(self._begin_upstream)
        self.upstream.on_request_end.append(self._end_upstream)
        self.upstream.on_request_exception.append(self._fail_upstream)

    @property
    def middleware(self) -> Any:
        """The outermost one, so that the span has what clients got."""

        @web.middleware
        async def trace(request: web.Request, handler: Handler) -> web.StreamResponse:
            from opentelemetry.trace import SpanKind
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

            parent = TraceContextTextMapPropagator().extract(dict(request.headers))
            with self._tracer.start_as_current_span(
                _name(request),
                context=parent,
                kind=SpanKind.SERVER,
                attributes=_request_attributes(request),
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                try:
                    return await handler(request)
                finally:
                    _describe(span, request.get(REQUEST_STATE))

        return trace

    async def _begin_upstream(
        self, session: Any, context: SimpleNamespace, sent: TraceRequestStartParams
    ) -> None:
        from opentelemetry.trace import SpanKind

        url = sent.url
        context.span = self._tracer.start_span(
            sent.method,
            kind=SpanKind.CLIENT,
            attributes={
                "http.request.method": sent.method,
                "server.address": url.host or "",
                "server.port": url.port or 0,
                # Queries of links to files may be signatures.
                "url.full": str(url.with_user(None).with_query(None).with_fragment(None)),
            },
        )

    async def _end_upstream(
        self, session: Any, context: SimpleNamespace, got: TraceRequestEndParams
    ) -> None:
        context.span.set_attribute("http.response.status_code", got.response.status)
        if got.response.status >= 400:
            _set_error(context.span, str(got.response.status))
        context.span.end()

    async def _fail_upstream(
        self, session: Any, context: SimpleNamespace, failed: TraceRequestExceptionParams
    ) -> None:
        _set_error(context.span, type(failed.exception).__qualname__)
        context.span.end()


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource else ""


def _name(request: web.Request) -> str:
    """Of few values, however many projects there are."""
    return f"{request.method} {_route(request)}".rstrip()


def _request_attributes(request: web.Request) -> dict[str, Any]:
    address, _, port = request.host.rpartition(":")
    known = {
        "http.request.method": request.method,
        "http.route": _route(request),
        "url.scheme": request.scheme,
        "url.path": request.path,
        "server.address": address or request.host,
        "server.port": int(port) if address and port.isdigit() else None,
        "client.address": request.remote,
        "user_agent.original": request.headers.get("User-Agent"),
        "network.protocol.version": f"{request.version.major}.{request.version.minor}",
    }
    return {name: value for name, value in known.items() if value}


def _describe(span: Span, state: RequestState | None) -> None:
    """The outcome of the request."""
    if state is None:
        return
    known = {
        "http.response.status_code": state.status,
        "waystation.index": state.index,
        "waystation.outcome": state.outcome,
        "waystation.rule": state.rule,
        "enduser.id": state.principal.label if state.principal else None,
    }
    span.set_attributes({name: value for name, value in known.items() if value})
    if state.failure:
        _set_error(span, "incomplete")
    elif state.status and state.status >= 500:
        _set_error(span, str(state.status))


def _set_error(span: Span, kind: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
