"""Files on servers that may not be asked are taken off the page."""

from __future__ import annotations

from proxy.model import File, ProjectPage
from proxy.simple.page import drop_refused_hosts
from tests.support.page_strategies import PROJECT

GOOD, BAD = "https://files.example.org", "https://files.example.org.evil.example:8443"


def page(*files: File) -> ProjectPage:
    return ProjectPage(PROJECT, files, ("1.0",), source="upstream", meta={"_last-serial": 1})


def test_files_on_refused_servers_are_dropped_and_reported() -> None:
    good, bad = File("a", f"{GOOD}/x/a?b=/c"), File("b", f"{BAD}/x/b")
    kept, refused = drop_refused_hosts(page(good, bad), GOOD.__eq__)
    assert kept == page(good)
    assert refused == [bad]


def test_each_server_is_asked_about_once() -> None:
    asked: list[str] = []
    files = [
        File(str(n), f"{host}/{n}", provenance=f"{host}/p")
        for n in range(9)
        for host in (GOOD, BAD)
    ]

    def allowed(origin: str) -> bool:
        asked.append(origin)
        return True

    kept, refused = drop_refused_hosts(page(*files), allowed)
    assert sorted(asked) == sorted([GOOD, BAD])
    assert kept == page(*files)
    assert refused == []


def test_provenance_on_a_refused_server_is_forgotten() -> None:
    file = File("a", f"{GOOD}/a", {"md5": "x"}, provenance=f"{BAD}/a.provenance")
    kept, refused = drop_refused_hosts(page(file), GOOD.__eq__)
    assert kept.files == (File("a", f"{GOOD}/a", {"md5": "x"}),)
    assert refused == []
