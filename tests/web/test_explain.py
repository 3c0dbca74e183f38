"""``/+explain/``: a report in JSON for programs, a page for people, and errors that are clear."""

from __future__ import annotations

import json

import pytest

from proxy.explain import Report
from tests.support.fake_index import FakeIndex
from tests.support.policies import FakePolicy, GuardedFake
from tests.support.site import Site, serving

PIP = (
    'pip/26.3 {"cpu":"x86_64","distro":{"libc":{"lib":"glibc","version":"2.36"}},'
    '"implementation":{"name":"CPython"},"python":"3.12.4","system":{"name":"Linux"}}'
)


@pytest.fixture(autouse=True)
def demo(stock: FakeIndex) -> None:
    for version in ("1.0", "2.0"):
        stock.add("demo", f"demo-{version}-py3-none-any.whl", version.encode())


async def test_the_report_has_everything_in_json(site: Site) -> None:
    answer = await site.get("/+explain/demo/2.0?python=3.12&platform=linux")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["Cache-Control"] == "no-store"
    found = json.loads(answer.body)
    assert set(found) == {*Report.__struct_fields__, "hints"}
    assert [file["filename"] for file in found["files"]] == ["demo-2.0-py3-none-any.whl"]
    assert list(found["would_install"].values()) == ["demo-2.0-py3-none-any.whl"]


async def test_pip_gets_an_answer_for_its_own_environment(site: Site) -> None:
    answer = await site.get("/+explain/demo", headers={"User-Agent": PIP})
    found = json.loads(answer.body)["would_install"]
    assert found == {"Python 3.12.4 on manylinux_2_36_x86_64": "demo-2.0-py3-none-any.whl"}


async def test_people_get_a_page_that_loads_nothing(site: Site) -> None:
    answer = await site.get("/+explain/Demo/1.0", headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert b"demo-1.0-py3-none-any.whl" in answer.body
    assert b'href="../../simple/demo/"' in answer.body
    assert b"<script" not in answer.body


@pytest.mark.parametrize(
    "path",
    [
        "/+explain/demo/%3Cscript%3Ealert(1)%3C%2Fscript%3E?format=html",
        "/+explain/demo/9?format=html",
    ],
)
async def test_what_a_client_writes_is_text_on_the_page(site: Site, path: str) -> None:
    answer = await site.get(path)
    assert answer.status == 200
    assert b"<script>" not in answer.body
    assert b"has no demo" in answer.body


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/+explain/demo?python=2", 400, b"--python"),
        ("/+explain/demo?platform=amiga", 400, b"--platform"),
        ("/+explain/-", 404, b"that is not a project name"),
        ("/+explain/", 404, b"404"),
        ("/+explain/demo/a/b", 404, b"404"),
    ],
)
async def test_wrong_questions_get_clear_errors(
    site: Site, path: str, status: int, text: bytes
) -> None:
    answer = await site.get(path)
    assert (answer.status, text in answer.body) == (status, True)


async def test_a_page_says_how_many_files_rules_refuse(stock: FakeIndex) -> None:
    policies = [
        FakePolicy(lambda file: "1.0" in file.filename),
        FakePolicy(lambda file: "2.0" in file.filename, "other", show="yank"),
    ]
    stock.add("demo", "demo-3.0-py3-none-any.whl", b"3")
    for count in range(3):
        async with serving(GuardedFake(stock, policies[:count]), fast=True, twice=True) as site:
            for media in ("text/html", "application/vnd.pypi.simple.v1+json"):
                answer = await site.get("/simple/demo/", headers={"Accept": media})
                assert answer.headers.get("Waystation-Hidden") == (str(count) if count else None)


async def test_an_unknown_project_is_explained_too(site: Site) -> None:
    answer = await site.get("/+explain/absent")
    assert answer.status == 200
    assert json.loads(answer.body)["hints"] == ["stock has no project absent"]
