"""Scenarios: as many warm project pages and small warm files per second as possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.agents import UV, UV_FILE
from benchmarks.clients import get
from benchmarks.load import drive
from benchmarks.measures import Row
from benchmarks.scenario import FULL, Context, Scenario
from benchmarks.servers import TUNED
from benchmarks.static_copy import FORMS, Pair, copy_file, copy_page, pair
from benchmarks.synthetic_projects import project

AIMS = {3: 1.0, 300: 1.0, 10_000: 1.5}
"""By files of a page: requests per second as a multiple of nginx."""
_OF_300 = 300


def _rows(key: str, work: str, bound: float) -> Sequence[Row]:
    return (
        Row(f"{key}-rate", work, "requests/s", bound),
        Row(f"{key}-rate", f"{work}: nginx without log", "requests/s", against=TUNED),
        Row(f"{key}-cpu", f"{work}: server CPU", "µs/request"),
    )


def _measure(
    context: Context, those: Pair, key: str, requests: Mapping[str, tuple[str, dict[str, str]]]
) -> None:
    """One round: each server in turn; ``requests``: path and headers by server."""
    for server in those.servers:
        context.calm()
        path, headers = requests[server.name]
        load = drive(server, path, headers, seconds=context.sizes.seconds)
        context.record(f"{key}-rate", server.name, load.rate)
        context.record(f"{key}-cpu", server.name, load.cpu)


def _warm_pages(context: Context) -> None:
    with pair(context) as both:
        for files in context.sizes.pages:
            copy_page(both.ours, both.root, project(files))
            for form in FORMS:
                both.check_same(project(files), form)
        for _ in context.each_round():
            for files in context.sizes.pages:
                for form, (headers, _, _) in FORMS.items():
                    requests = {
                        each.name: (both.page(each, project(files), form), headers)
                        for each in both.servers
                    }
                    _measure(context, both, f"page-{files}-{form}", requests)


def _revalidation(context: Context) -> None:
    name = project(min(_OF_300, context.sizes.pages[-1]))
    with pair(context) as both:
        copy_page(both.ours, both.root, name)
        requests = {}
        for server in both.servers:
            path = both.page(server, name)
            etag = get(server.url + path, UV).headers["etag"]
            headers = UV | {"If-None-Match": etag, "Cache-Control": "max-age=0"}
            requests[server.name] = path, headers
        for _ in context.each_round():
            _measure(context, both, "304", requests)


def _small_files(context: Context) -> None:
    with pair(context) as both:
        places = copy_small_files(context, both)
        for _ in context.each_round():
            for key, path in places.items():
                requests = {each.name: (path, UV_FILE) for each in both.servers}
                _measure(context, both, key, requests)


def copy_small_files(context: Context, both: Pair) -> dict[str, str]:
    """The paths of a small wheel of each size and of core metadata, on all servers."""
    places = {}
    for size in context.sizes.wheels:
        listed = copy_page(both.ours, both.root, project(3, size))
        places[f"wheel-{size}"] = next(iter(listed.values()))
    places["metadata"] = f"{places[f'wheel-{context.sizes.wheels[0]}']}.metadata"
    for path in places.values():
        copy_file(both.ours, both.root, path)
    return places


SCENARIOS = (
    Scenario(
        "pages",
        "warm project pages of 3, 300 and 10,000 files, JSON and HTML, as clients ask for them",
        _warm_pages,
        [
            row
            for files in FULL.pages
            for form in FORMS
            for row in _rows(
                f"page-{files}-{form}", f"warm page, {files:,} files, {form}", AIMS[files]
            )
        ],
    ),
    Scenario(
        "revalidation",
        "a page that the client has already (304)",
        _revalidation,
        _rows("304", "304 of a page", 1.0),
    ),
    Scenario(
        "small-files",
        "warm core metadata and wheels up to 64 kB",
        _small_files,
        [
            *_rows("metadata", "warm .metadata, 2 kB", 1.0),
            *_rows("wheel-11264", "warm wheel, 11 kB", 1.0),
            *_rows("wheel-65536", "warm wheel, 64 kB", 1.0),
        ],
    ),
)
