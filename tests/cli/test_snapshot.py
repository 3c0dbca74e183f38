"""``waystation snapshot``, beside a server that serves the index."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from tests.support.distributions import make_wheel
from tests.support.running import running, waystation

UPLOADS = {"WAYSTATION_UPLOADS": "true"}


async def test_a_snapshot_is_made_served_restored_and_deleted(tmp_path: Path) -> None:
    make_wheel(tmp_path / "packages" / "foo", "foo", "1.0")
    async with running(tmp_path, "--offline", **UPLOADS) as server:

        async def page(moment: str = "") -> tuple[int, str]:
            address = f"{server.address}{moment}/simple/foo/"
            async with aiohttp.request("GET", address) as answer:
                return answer.status, await answer.text()

        async def change(*arguments: str) -> str:
            done = await waystation(*arguments, cwd=tmp_path, **UPLOADS)
            return done.succeeded().out

        assert await change("snapshot", "create", "before") == "snapshot before\n"
        assert (await change("snapshot", "list")).startswith("before  2")
        await change("delete", "foo==1.0")
        assert "foo-1.0" not in (await page())[1]
        assert "foo-1.0" in (await page("/+asof/before"))[1]
        assert await change("snapshot", "restore", "before") == (
            "restore foo-1.0-py3-none-any.whl: snapshot before\n"
        )
        assert "foo-1.0" in (await page())[1]
        await change("snapshot", "delete", "before")
        assert (await page("/+asof/before"))[0] == 404
    for arguments, status, message in (
        (("restore", "before"), 1, "private has no snapshot 'before'"),
        (("create", "2026-05-01"), 1, "cannot be the name of a snapshot"),
    ):
        done = await waystation("snapshot", *arguments, cwd=tmp_path, **UPLOADS)
        assert (done.status, message in done.err) == (status, True), done.err
        assert "Traceback" not in done.err
