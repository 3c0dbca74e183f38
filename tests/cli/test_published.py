"""Commands that change published packages, beside a server that serves them."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from tests.support.distributions import make_wheel
from tests.support.running import running, waystation


async def test_changes_by_commands_are_on_the_pages_of_a_running_server(tmp_path: Path) -> None:
    make_wheel(tmp_path / "packages" / "foo", "foo", "1.0")
    make_wheel(tmp_path / "packages" / "foo", "foo", "2.0")
    async with running(tmp_path, "--offline", WAYSTATION_UPLOADS="true") as server:

        async def page() -> str:
            async with aiohttp.request("GET", server.index + "foo/") as answer:
                return await answer.text()

        async def change(*arguments: str) -> str:
            done = await waystation(*arguments, cwd=tmp_path, WAYSTATION_UPLOADS="true")
            return done.succeeded().out

        assert await change("yank", "foo==1.0", "--reason", "it breaks") == (
            "yank foo-1.0-py3-none-any.whl: it breaks\n"
        )
        assert 'data-yanked="it breaks"' in await page()
        await change("unyank", "foo", "--all")
        assert "data-yanked" not in await page()
        await change("delete", "foo", "--file", "foo-1.0-py3-none-any.whl")
        assert "foo-1.0" not in await page()
        await change("restore", "foo==1.0")
        assert "foo-1.0" in await page()
        await change("status", "foo", "archived", "--reason", "see bar")
        assert 'content="archived"' in await page()
        await change("owners", "foo", "ana", "ben")
        assert await change("owners", "foo") == "ana\nben\n"
        await change("claim", "bar")
        assert (tmp_path / "packages" / "bar").is_dir()


async def test_what_is_wrong_is_said_in_a_line(tmp_path: Path) -> None:
    make_wheel(tmp_path / "packages" / "foo", "foo", "1.0")
    for arguments, status, message in (
        (("yank", "foo"), 2, "give PROJECT==VERSION, --file NAME, or --all"),
        (("yank", "foo==1.0", "--all"), 2, "give PROJECT==VERSION, --file NAME, or --all"),
        (("yank", "-foo", "--all"), 2, "No such option"),
        (("claim", "a/b"), 2, "'a/b' is no project name"),
        (("yank", "foo==3.0"), 1, "there is no file version 3.0 of foo in private"),
        (("restore", "foo==1.0"), 1, "no deleted file is kept of version 1.0 of foo"),
    ):
        done = await waystation(*arguments, cwd=tmp_path, WAYSTATION_UPLOADS="true")
        assert (done.status, message in done.err) == (status, True), done.err
        assert "Traceback" not in done.err
    done = await waystation("yank", "foo==1.0", cwd=tmp_path)
    assert (done.status, "set uploads = true" in done.err) == (2, True)


TWO = {
    "WAYSTATION_INDEXES": '{"dev": {"kind": "local", "path": "dev", "uploads": true},'
    ' "prod": {"kind": "local", "path": "prod", "uploads": true}}',
    "WAYSTATION_INDEX": "prod",
}


async def test_a_version_is_promoted_beside_a_running_server(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "dev" / "foo", "foo", "1.0")
    make_wheel(tmp_path / "dev" / "foo", "foo", "2.0")
    (tmp_path / "prod").mkdir()
    async with running(tmp_path, "--offline", **TWO) as server:
        way = ("--from", "dev", "--to", "prod")
        done = await waystation("promote", "foo==1.0", *way, cwd=tmp_path, **TWO)
        assert done.succeeded().out == f"publish {wheel.name}: dev\n"
        async with aiohttp.request("GET", f"{server.address}/prod/simple/foo/") as answer:
            text = await answer.text()
        assert (wheel.name in text, "foo-2.0" in text) == (True, False)
    again = await waystation("promote", "foo==1.0", *way, cwd=tmp_path, **TWO)
    assert (again.status, again.err) == (0, "nothing to change\n")
    for way, message in (
        (("--from", "dev", "--to", "dev"), "--from and --to are one index"),
        (("--from", "stage", "--to", "prod"), "no index stage that accepts uploads is served"),
    ):
        done = await waystation("promote", "foo==1.0", *way, cwd=tmp_path, **TWO)
        assert (done.status, message in done.err) == (2, True), done.err
