"""Scenario: installers while a person types into the search and the page of activity is open."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.agents import UV
from benchmarks.clients import Client, get
from benchmarks.load import drive
from benchmarks.measures import OURS, Row
from benchmarks.processes import Broken
from benchmarks.scenario import Context, Scenario
from benchmarks.servers import fake_upstream, waystation
from benchmarks.static_copy import LASTING
from benchmarks.synthetic_projects import project

ALONE = "no person looks"
BROWSER = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "Accept-Encoding": "gzip"}
TYPED = ("p", "pr", "pro", "proj", "proje", "projec", "project", "project-1")
BETWEEN_KEYS = 0.25
"""Seconds, as the script of the page waits."""


def _run(context: Context) -> None:
    with fake_upstream(context.folder("upstream")) as upstream:
        for _ in context.each_round():
            path = f"/simple/{project(min(300, context.sizes.pages[-1]))}/"
            with waystation(context.folder("people"), upstream.url, settings=LASTING) as ours:
                get(ours.url + path, UV)
                for page in ("/search/?q=p", "/-/activity"):
                    get(ours.url + page, BROWSER)  # the first one compiles its template
                ours.wait_idle(context.sizes.rest)
                for contender in (ALONE, OURS):
                    context.calm()
                    with _people(ours.url, look=contender == OURS):
                        load = drive(ours, path, UV, seconds=context.sizes.seconds)
                    context.record("people-rate", contender, load.rate)


@contextmanager
def _people(url: str, *, look: bool) -> Iterator[None]:
    """One person types without pause, another looks at the figures, in a thread of their own."""
    ended = threading.Event()
    faults: list[Exception] = []

    def work() -> None:
        client, number = Client(url), 0
        try:
            while not ended.wait(BETWEEN_KEYS):
                client.get(f"/search/?q={TYPED[number % len(TYPED)]}", BROWSER)
                if number % 40 == 0:  # every ten seconds
                    client.get("/-/activity", BROWSER)
                number += 1
        except (OSError, Broken) as error:
            faults.append(error)
        finally:
            client.close()

    thread = threading.Thread(target=work)
    if look:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if look:
            thread.join()
    if faults:
        raise Broken(f"a page for people failed: {faults[0]}")


SCENARIOS = (
    Scenario(
        "people",
        "a warm page while somebody types into the search and the page of activity is open",
        _run,
        [
            Row(
                "people-rate",
                "warm page of 300 files while people look at pages of theirs",
                "requests/s",
                0.95,
                against=ALONE,
            ),
        ],
    ),
)
