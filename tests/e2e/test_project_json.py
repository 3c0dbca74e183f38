"""PyPI's JSON API through a real server: of upstream projects, of private ones, and of no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.content import sha256
from tests.support.distributions import make_sdist, make_wheel
from tests.support.running import running
from tests.support.upstream import Upstream


async def get(url: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        body = await response.read()
        return response.status, json.loads(body) if response.status == 200 else body


def about(version: str, path: Path) -> bytes:
    files = [{"filename": path.name, "digests": {"sha256": sha256(path.read_bytes())}}]
    known = {"version": version, "summary": "public"}
    return json.dumps({"info": known, "urls": files, "vulnerabilities": [{"id": "X"}]}).encode()


async def test_a_private_project_never_has_the_document_of_a_public_one(
    upstream: Upstream, tmp_path: Path
) -> None:
    """Not even where both have the same version: also if the pages of both are merged."""
    public = make_wheel(tmp_path / "dist", "aaa", "1.0")
    other = make_wheel(tmp_path / "dist", "bbb", "1.0")
    (tmp_path / "packages").mkdir()
    for name in ("aaa", "bbb"):
        make_sdist(tmp_path / "packages", name, "1.0")
    for path in (public, other, make_wheel(tmp_path / "dist", "ccc", "1.0")):
        name = path.name.split("-")[0]
        upstream.add(path)
        upstream.documents[f"{name}/json"] = upstream.documents[f"{name}/1.0/json"] = about(
            "1.0", path
        )
    config = tmp_path / "waystation.toml"
    config.write_text(
        f"""
        [indexes.private]
        kind = "local"
        path = "packages"
        [indexes.world]
        kind = "mirror"
        url = "{upstream.url}"
        [indexes.main]
        kind = "fallthrough"
        of = ["private", "world"]
        merge = ["bbb"]
        """
    )
    async with running(tmp_path, "--config", config, "--index", "main") as server:
        status, found = await get(f"{server.address}/pypi/aaa/json")
        assert (status, found["info"]["summary"], found["vulnerabilities"]) == (200, "", [])
        assert [each["packagetype"] for each in found["urls"]] == ["sdist"]
        assert upstream.count("/pypi/") == 0
        status, found = await get(f"{server.address}/pypi/ccc/1/json")
        assert (status, found["info"]["summary"]) == (200, "public")
        assert found["vulnerabilities"] == [{"id": "X"}]
        url = found["urls"][0]["url"]
        assert url.startswith(f"{server.address}/files/ccc/")
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert sha256(await response.read()) == found["urls"][0]["digests"]["sha256"]
        status, found = await get(f"{server.address}/main/pypi/bbb/json")
        assert {each["packagetype"] for each in found["urls"]} == {"sdist", "bdist_wheel"}
        assert (await get(f"{server.address}/private/pypi/ccc/json"))[0] == 404
        assert (await get(f"{server.address}/world/pypi/aaa/json"))[1]["info"][
            "summary"
        ] == "public"
        name = next((tmp_path / "packages").glob("aaa*")).name
        status, _ = await get(f"{server.address}/packages/source/a/aaa/{public.name}")
        assert status == 404  # the private project has no such file
        async with aiohttp.ClientSession() as session:
            address = f"{server.address}/packages/source/a/aaa/{name}"
            async with session.get(address) as response:
                assert await response.read() == (tmp_path / "packages" / name).read_bytes()


async def test_a_document_has_what_the_page_shows(upstream: Upstream, tmp_path: Path) -> None:
    """Refused versions are in no part of it, so that tools for updates do not propose them."""
    for version in ("1.0", "2.0", "3.0"):
        path = make_wheel(tmp_path / "dist", "aaa", version)
        upstream.add(path)
        upstream.documents[f"aaa/{version}/json"] = about(version, path)
    upstream.documents["aaa/json"] = upstream.documents["aaa/3.0/json"]
    config = tmp_path / "waystation.toml"
    config.write_text(
        f"""
        [indexes.main]
        kind = "mirror"
        url = "{upstream.url}"
        policies = ["hidden", "yanked"]
        [policies.hidden]
        kind = "deny"
        show = "hide"
        versions = {{ aaa = "==3.0" }}
        [policies.yanked]
        kind = "deny"
        show = "yank"
        versions = {{ aaa = "==1.0" }}
        """
    )
    async with running(tmp_path, "--config", config, "--index", "main") as server:
        headers = {"Accept": "application/vnd.pypi.simple.v1+json"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{server.index}aaa/") as response,
        ):
            page = await response.json(content_type=None)
        _, found = await get(f"{server.address}/pypi/aaa/json")
        assert found["info"]["version"] == "2.0"
        assert set(found["releases"]) == set(page["versions"]) == {"1.0", "2.0"}
        assert [each["filename"] for each in found["urls"]] == ["aaa-2.0-py3-none-any.whl"]
        assert found["releases"]["1.0"][0]["yanked"] is True
        assert (await get(f"{server.address}/pypi/aaa/3.0/json"))[0] == 404
