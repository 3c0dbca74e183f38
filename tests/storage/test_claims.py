"""The file that keeps names private over restarts, shared by processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy.storage.claims import Claims, first_names
from tests.support.records import CountedRecords

ROOT = "/srv/my packages"


async def loaded(file: Path) -> Claims:
    claims = Claims(file)
    await claims.load(CountedRecords())
    return claims


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "private-names"


async def test_claims_are_written_once_and_read_back(file: Path) -> None:
    claims = await loaded(file)
    for _ in range(2):
        claims.add(ROOT, ["acme", "acme-tool"])
        await claims.save()
    size = file.stat().st_size
    again = await loaded(file)
    again.add(ROOT, ["acme"])
    await again.save()
    assert file.stat().st_size == size
    assert again.of(ROOT) == {"acme", "acme-tool"}
    assert again.withheld() == {ROOT: ["acme", "acme-tool"]}
    again.served.add(ROOT)
    assert again.withheld() == {}


async def test_a_directory_of_any_name_is_remembered(file: Path) -> None:
    root = os.fsdecode(b"/srv/a b\nc\xff")
    claims = await loaded(file)
    claims.add(root, ["acme"])
    await claims.save()
    assert (await loaded(file)).of(root) == {"acme"}


async def test_a_line_that_was_not_written_whole_spoils_no_other(file: Path) -> None:
    claims = await loaded(file)
    claims.add(ROOT, ["acme"])
    await claims.save()
    with file.open("ab") as opened:
        opened.write(b"\x00\xff\n+ half")
    claims.add(ROOT, ["acme-tool"])
    await claims.save()
    assert (await loaded(file)).of(ROOT) == {"acme", "acme-tool"}


async def test_processes_hear_of_each_other(file: Path) -> None:
    one, two = await loaded(file), await loaded(file)
    one.add(ROOT, ["acme", "acme-tool"])
    await one.save()
    assert two.refresh() == ({"acme", "acme-tool"}, set())
    assert two.refresh() == one.refresh() == (set(), set())
    assert await two.release(["acme", "other"]) == {"acme"}
    assert one.refresh() == (set(), {"acme"})
    assert (await loaded(file)).of(ROOT) == {"acme-tool"}


async def test_a_file_that_was_removed_by_hand_is_written_again(file: Path) -> None:
    claims = await loaded(file)
    claims.add(ROOT, ["acme"])
    await claims.save()
    claims.refresh()
    file.unlink()
    assert claims.refresh() == (set(), set())
    await claims.save()
    assert (await loaded(file)).of(ROOT) == {"acme"}


async def test_what_cannot_be_written_stays_private_and_is_logged_once(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    claims = await loaded(file)
    file.parent.mkdir()
    file.mkdir()
    for name in ("acme", "acme-tool"):
        claims.add(ROOT, [name])
        await claims.save()
    assert claims.is_withheld("acme")
    assert not claims.unsaved  # not again for each request
    assert caplog.text.count("cannot be read or written") == 1
    file.rmdir()
    await claims.save()
    assert (await loaded(file)).of(ROOT) == {"acme", "acme-tool"}


def test_many_names_are_counted_in_messages() -> None:
    assert first_names(["a", "b", "c"], 2) == "a, b and 1 more"
    assert first_names(["a", "b"], 2) == "a, b"
