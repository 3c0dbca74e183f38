"""Scenarios: as many warm project pages and small warm files per second as possible."""

from __future__ import annotations

from benchmarks.agents import UV, UV_FILE
from benchmarks.clients import get
from benchmarks.load import drive
from benchmarks.measures import Row
from benchmarks.scenario import FULL, Context, Scenario
from benchmarks.static_copy import FORMS, Pair, copy_file, copy_page, pair
from benchmarks.synthetic_projects import project

AIMS = {3: 1.0, 300: 1.0, 10_000: 1.5}
"""By files of a page: requests per second as a multiple of nginx."""
_OF_300 = 300


def _rows(key: str, work: str, bound: float) -> tuple[Row, Row]:
    return (
        Row(f"{key}-rate", work, "requests/s", bound),
        Row(f"{key}-cpu", f"{work}: server CPU", "µs/request"),
    )


def _measure(
    context: Context, both: Pair, key: str, paths: dict[str, str], **headers: object
) -> None:
    """One round: each server in turn."""
    for server in both.both:
        asked = headers[server.name]
        assert isinstance(asked, dict)
        context.calm()
        load = drive(server, paths[server.name], asked, seconds=context.sizes.seconds)
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
                    paths = {each.name: both.page(each, project(files), form) for each in both.both}
                    key = f"page-{files}-{form}"
                    _measure(context, both, key, paths, nginx=headers, waystation=headers)


def _revalidation(context: Context) -> None:
    name = project(min(_OF_300, context.sizes.pages[-1]))
    with pair(context) as both:
        copy_page(both.ours, both.root, name)
        paths = {each.name: both.page(each, name) for each in both.both}
        asked = {}
        for server in both.both:
            etag = get(server.url + paths[server.name], UV).headers["etag"]
            asked[server.name] = UV | {"If-None-Match": etag, "Cache-Control": "max-age=0"}
        for _ in context.each_round():
            _measure(context, both, "304", paths, **asked)


def _small_files(context: Context) -> None:
    with pair(context) as both:
        places = {}
        for size in context.sizes.wheels:
            listed = copy_page(both.ours, both.root, project(3, size))
            places[f"wheel-{size}"] = next(iter(listed.values()))
        places["metadata"] = f"{places[f'wheel-{context.sizes.wheels[0]}']}.metadata"
        for path in places.values():
            copy_file(both.ours, both.root, path)
        for _ in context.each_round():
            for key, path in places.items():
                paths = {each.name: path for each in both.both}
                _measure(context, both, key, paths, nginx=UV_FILE, waystation=UV_FILE)


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
