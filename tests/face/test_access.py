"""Pages show what the principal may read, and leave no sign of the rest."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.face_world import FaceWorld, face_world
from tests.support.faults import Fault
from tests.support.waiting import until

ONLY_DEMO = """
access = {anonymous = ["read:main:demo*"]}
"""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[FaceWorld]:
    async with face_world(tmp_path, settings=ONLY_DEMO) as running:
        yield running


async def test_private_projects_of_others_leave_no_sign(world: FaceWorld) -> None:
    for path in ("/", "/search/?q=acme-tool", "/search/", "/project/demo/dependencies/"):
        status, text = await world.get(path)
        assert status == 200
        assert "project/acme-" not in text.replace('project/acme-tool/" rel', ""), path
    assert "1.3" not in (await world.get("/search/?q=acme-tool"))[1]
    for path in ("/project/{}/", "/project/{}/1.3/", "/project/{}/dependencies/", "/-/why/{}"):
        hidden = await world.get(path.format("acme-tool"))
        absent = await world.get(path.format("acme-none"))
        assert hidden[0] == absent[0] and hidden[0] in (401, 403, 404)
        assert hidden[1].replace("acme-tool", "acme-none") == absent[1]
    assert "Did you mean" not in (await world.get("/search/?q=acme-tooll"))[1]
    assert world.upstream.count("acme") == 0


async def test_what_may_be_read_is_shown_but_no_figures(world: FaceWorld) -> None:
    status, text = await world.get("/project/demo/")
    assert status == 200 and "demo" in text
    assert "Last 24 hours" not in (await world.get("/"))[1]
    status, _ = await world.get("/-/activity")
    assert status in (401, 403)


FEW_RIGHTS = """
[access]
anonymous = ["read:main:demo*", "read:main:acme-tool", "metrics"]
[access.rights]
alice = ["read:main", "metrics"]
[access.proxy]
from = ["127.0.0.1"]
user_header = "X-User"
"""


async def test_counts_failures_and_indexes_leave_no_sign_of_what_others_may_read(
    tmp_path: Path,
) -> None:
    async with face_world(tmp_path, "page_ttl = 0.0\n", after=FEW_RIGHTS) as world:
        alice = {"X-User": "alice"}
        world.upstream.fault("/simple/secret/", Fault(status=503))
        status, _ = await world.get("/project/secret/", **alice)
        assert status == 502
        _, text = await world.get("/", **alice)
        assert "secret" in text and "project/acme-base" in text
        assert 'href="own/"' not in text  # the index, of which alice has no right to see anything
        _, text = await world.get("/")
        assert "an upstream failed" in text and "secret" not in text
        assert 'href="project/acme-tool/"' in text and "acme-base" not in text
        assert 'where=private">All' not in text  # more of them would be the others
        await world.get("/project/demo/")
        _, text = await world.get("/project/demo/")
        assert "An upstream fails" in text and "secret" not in text


AUDITED = """
access = {anonymous = ["read:main", "audit", "metrics"]}
audit = {}
"""


async def test_a_person_sees_who_has_a_bad_version(tmp_path: Path) -> None:
    async with face_world(tmp_path, AUDITED) as world:
        async with world.client.get(f"{world.server.index}demo/") as page:
            link = re.search(r'href="\.\./\.\./([^"#]*demo-1.1[^"#]*)', await page.text())
        assert link
        address = f"{world.server.address}/{link[1]}"
        async with world.client.get(address, headers={"User-Agent": "pip/26.0"}) as file:
            assert len(await file.read()) > 100
        assert 'href="./-/audit"' in (await world.get("/"))[1].replace('"-/', '"./-/')

        async def is_named() -> bool:
            _, text = await world.get("/-/audit?project=Demo&version=1.1")
            return "demo-1.1-py3-none-any.whl" in text and "pip" in text and "127.0.0.1" in text

        await until(is_named)  # the audit is written a moment after the answer
        _, text = await world.get("/-/audit?project=demo&version=1.0")
        assert "no such answer" in text
        _, text = await world.get("/-/audit?project=demo&version=%3Cb%3E")
        assert "is no version" in text and "<b>" not in text


async def test_without_the_right_there_is_no_audit(world: FaceWorld) -> None:
    assert (await world.get("/-/audit"))[0] in (401, 403)
    assert "-/audit" not in (await world.get("/"))[1]
