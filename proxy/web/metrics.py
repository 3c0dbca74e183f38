"""``/metrics``: the counters of all processes in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aiohttp import web

from proxy import __version__
from proxy.counters import FAMILIES, REQUESTS, Counters
from proxy.events import Answered, Kind
from proxy.model import METADATA
from proxy.web.access_log import CLIENT_CLOSED, Handled

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Metrics:
    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    async def page(self, request: web.Request) -> web.Response:
        body = "".join(f"{line}\n" for line in self._lines()).encode()
        return web.Response(body=body, headers=_HEADERS | {"Content-Type": CONTENT_TYPE})

    def _lines(self) -> Iterator[str]:
        yield "# HELP waystation_info What is running."
        yield "# TYPE waystation_info gauge"
        yield _line("waystation_info", {"version": __version__}, 1)
        for family in FAMILIES:
            yield f"# HELP {family.name} {family.about}"
            yield f"# TYPE {family.name} counter"
            for labels, value in self._counters.series(family):
                if value or family is not REQUESTS:  # most of these never occur
                    yield _line(family.name, labels, value)


def kind_of(request: web.Request) -> Kind:
    filename = request.match_info.get("filename")
    if filename:
        return Kind.METADATA if filename.endswith(METADATA) else Kind.FILE
    return Kind.PAGE if "project" in request.match_info else Kind.OTHER


def answered(request: web.Request, handled: Handled) -> Answered:
    """To be called at the end of the request."""
    status = handled.status or CLIENT_CLOSED
    return Answered(kind_of(request), handled.outcome, status, handled.sent)


def _line(name: str, labels: Mapping[str, str], value: int) -> str:
    """No value of ours needs escaping."""
    told = ",".join(f'{label}="{each}"' for label, each in labels.items())
    return f"{name}{{{told}}} {value}" if told else f"{name} {value}"
