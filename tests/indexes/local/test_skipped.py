"""Files that are not listed still keep their names private."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.errors import NoSuchProject
from proxy.indexes.local import LocalDirectory
from proxy.model import ProjectName
from tests.support.directories import Heard
from tests.support.distributions import make_wheel
from tests.support.records import MemoryRecords

TOOL = ProjectName("acme-tool")


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("watch", [True, False])
async def test_what_cannot_be_listed_claims_its_project(
    tmp_path: Path, before: bool, watch: bool
) -> None:
    root, elsewhere = tmp_path / "packages", tmp_path / "elsewhere"
    root.mkdir()
    wheel = make_wheel(elsewhere, "acme_tool", "1.5")

    def put() -> None:
        (root / wheel.name).symlink_to(wheel)
        (root / "acme-old-1.0.tar.bz2").write_bytes(b"BZh")

    if before:
        put()
    heard = Heard()
    directory = LocalDirectory("private", root, MemoryRecords(), heard, watch=watch)
    await directory.open()
    try:
        if not before:
            with pytest.raises(NoSuchProject):
                await directory.page(TOOL)
            put()
        for name in (TOOL, ProjectName("acme-old")):
            assert (await directory.page(name)).files == ()
        assert {TOOL, "acme-old"} <= await directory.projects()
        if not before and watch:
            assert TOOL in heard.changes()
    finally:
        await directory.close()
