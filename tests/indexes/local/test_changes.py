"""Changes in a local directory, watched or checked, are seen by the next request."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.errors import IndexUnavailable, NoSuchFile, NoSuchProject
from proxy.events import PageChanged
from proxy.indexes.local import LocalDirectory
from proxy.model import ProjectName
from tests.support.content import read_blob
from tests.support.directories import BAR, FOO, HeardChanges, names, opened, reads_of
from tests.support.distributions import core_metadata, make_sdist, make_wheel, tarred
from tests.support.records import CountedRecords
from tests.support.waiting import until

W1, W2 = "foo-1.0-py3-none-any.whl", "foo-2.0-py3-none-any.whl"

_LISTED: list[list[str]] = []


def _count_listings(event: str, args: tuple[Any, ...]) -> None:
    if _LISTED and event in ("os.scandir", "os.listdir"):
        _LISTED[-1].append(str(args[0]))


sys.addaudithook(_count_listings)


@contextmanager
def listings() -> Iterator[list[str]]:
    """The directories that any thread lists meanwhile."""
    _LISTED.append([])
    try:
        yield _LISTED[-1]
    finally:
        _LISTED.pop()


@pytest.fixture(params=["watched", "checked"])
async def local(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LocalDirectory]:
    """An open directory ``root``, empty; with events of the kernel and without."""
    root = tmp_path / "root"
    root.mkdir()
    async with opened(root, watch=request.param == "watched") as directory:
        yield directory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


async def test_a_new_file_is_seen_at_once(local: LocalDirectory, root: Path) -> None:
    with pytest.raises(NoSuchProject):
        await local.page(FOO)
    make_wheel(root, "foo", "1.0")
    assert await names(local) == [W1]
    make_wheel(root, "foo", "2.0")
    assert await names(local) == [W1, W2]
    assert FOO in await local.projects()


async def test_a_renamed_or_moved_in_file_is_seen(
    local: LocalDirectory, root: Path, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path, "foo", "1.0")
    wheel.rename(root / "upload.tmp")
    with pytest.raises(NoSuchProject):
        await local.page(FOO)
    (root / "upload.tmp").rename(root / W1)
    assert await names(local) == [W1]


async def test_a_deleted_or_moved_out_file_is_gone(
    local: LocalDirectory, root: Path, tmp_path: Path
) -> None:
    make_wheel(root, "foo", "1.0")
    make_wheel(root, "foo", "2.0")
    assert await names(local) == [W1, W2]
    (root / W1).unlink()
    assert await names(local) == [W2]
    (root / W2).rename(tmp_path / W2)
    assert await names(local) == []
    with pytest.raises(NoSuchFile):
        await local.file(FOO, W2)


@pytest.mark.parametrize("how", ["in place", "rename over"])
async def test_replaced_bytes_have_another_digest_and_the_old_one_is_gone(
    local: LocalDirectory, root: Path, tmp_path: Path, how: str
) -> None:
    old = hashlib.sha256(make_wheel(root, "foo", "1.0").read_bytes()).hexdigest()
    await local.file(FOO, W1, old)
    await local.file(FOO, W1 + ".metadata", old)
    new = make_wheel(tmp_path, "foo", "1.0", requires=["bar"])
    content = new.read_bytes()
    if how == "in place":
        (root / W1).write_bytes(content)
    else:
        new.replace(root / W1)
    for name in (W1, W1 + ".metadata"):
        with pytest.raises(NoSuchFile):
            await local.file(FOO, name, old)
    artifact = await local.file(FOO, W1, hashlib.sha256(content).hexdigest())
    assert await read_blob(artifact.blob) == content


def rewritten(path: Path, content: bytes) -> None:
    """As ``cp -p`` does it: with the size, the inode and the time of before."""
    before = path.stat()
    assert len(content) == before.st_size
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the clocks of file systems are coarse
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def alike(folder: Path) -> tuple[bytes, bytes]:
    """Two wheels of one name and size."""
    made: dict[int, bytes] = {}
    for number in range(100):
        wheel = make_wheel(folder, "foo", "1.0", files={"foo.py": b"A = %d" % number}).read_bytes()
        if (other := made.setdefault(len(wheel), wheel)) is not wheel:
            return other, wheel
    raise AssertionError("no two of them have one size")


async def test_bytes_replaced_with_the_size_and_time_of_before_have_another_digest(
    local: LocalDirectory, root: Path, tmp_path: Path
) -> None:
    old, new = alike(tmp_path)
    (root / W1).write_bytes(old)
    assert (await local.page(FOO)).files[0].address_digest == hashlib.sha256(old).hexdigest()
    rewritten(root / W1, new)
    assert (await local.page(FOO)).files[0].address_digest == hashlib.sha256(new).hexdigest()
    assert await read_blob((await local.file(FOO, W1)).blob) == new


async def test_bytes_replaced_while_closed_have_another_digest(tmp_path: Path) -> None:
    old, new = alike(tmp_path / "made")
    root, records = tmp_path / "root", CountedRecords()
    root.mkdir()
    (root / W1).write_bytes(old)
    async with opened(root, records) as directory:
        assert (await directory.page(FOO)).files[0].address_digest == hashlib.sha256(
            old
        ).hexdigest()
    rewritten(root / W1, new)
    async with opened(root, records) as directory:
        assert (await directory.page(FOO)).files[0].address_digest == hashlib.sha256(
            new
        ).hexdigest()


async def test_records_of_a_former_version_are_read_again_and_keep_their_times(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root, records = tmp_path / "root", CountedRecords()
    wheel = make_wheel(root, "foo", "1.0")
    async with opened(root, records) as directory:
        (file,) = (await directory.page(FOO)).files
    remembered = msgspec.msgpack.decode(records.content[f"local/{root}"])
    (details,) = remembered["files"].values()
    details[0] = details[0][:3]  # identities were without the time of the last change
    records.content[f"local/{root}"] = msgspec.msgpack.encode(remembered)
    os.utime(wheel, (1_500_000_000, 1_500_000_000))
    async with opened(root, records) as directory:
        (again,) = (await directory.page(FOO)).files
    assert (again.address_digest, again.uploaded) == (file.address_digest, file.uploaded)
    assert "cannot be read" not in caplog.text


async def test_a_file_that_is_replaced_after_the_answer_is_not_sent_as_the_old_one(
    local: LocalDirectory, root: Path
) -> None:
    make_wheel(root, "foo", "1.0")
    artifact = await local.file(FOO, W1)
    make_wheel(root, "foo", "1.0", requires=["bar"], padding=9)
    with pytest.raises(IndexUnavailable):
        await read_blob(artifact.blob)


@pytest.mark.parametrize("make", [make_wheel, make_sdist])
async def test_a_partly_copied_file_is_not_listed_but_claims(
    local: LocalDirectory, root: Path, tmp_path: Path, make: Any
) -> None:
    whole: Path = make(tmp_path, "foo", "1.0")
    content = whole.read_bytes()
    with (root / whole.name).open("wb") as file:
        file.write(content[: len(content) // 2])
        file.flush()
        for _ in range(2):
            local.poll()
            assert await names(local) == []
        file.write(content[len(content) // 2 :])
    assert await names(local) == [whole.name]
    assert await read_blob((await local.file(FOO, whole.name)).blob) == content


async def test_half_a_file_is_not_listed_even_when_it_is_closed(
    local: LocalDirectory, root: Path, tmp_path: Path
) -> None:
    content = make_wheel(tmp_path, "foo", "1.0").read_bytes()
    (root / W1).write_bytes(content[:300])
    assert await names(local) == []
    with (root / W1).open("ab") as file:
        file.write(content[300:])
    assert await names(local) == [W1]


async def test_a_file_is_not_listed_while_it_is_overwritten(
    local: LocalDirectory, root: Path
) -> None:
    content = make_wheel(root, "foo", "1.0").read_bytes()
    assert await names(local) == [W1]
    with (root / W1).open("r+b") as file:
        file.truncate(100)
        assert await names(local) == []
        file.write(content)
    assert await names(local) == [W1]


async def test_a_hard_link_is_a_file(local: LocalDirectory, root: Path, tmp_path: Path) -> None:
    os.link(make_wheel(tmp_path, "foo", "1.0"), root / W1)
    assert await names(local) == [W1]


async def test_a_touched_file_is_still_served(local: LocalDirectory, root: Path) -> None:
    wheel = make_wheel(root, "foo", "1.0")
    await local.page(FOO)
    os.utime(wheel, (1_500_000_000, 1_500_000_000))
    assert await read_blob((await local.file(FOO, W1)).blob) == wheel.read_bytes()


async def test_a_folder_that_appears_later_is_read_and_watched(
    local: LocalDirectory, root: Path
) -> None:
    make_wheel(root / "foo", "foo", "1.0")
    assert await names(local) == [W1]
    make_wheel(root / "foo", "foo", "2.0")
    assert await names(local) == [W1, W2]
    (root / "bar").mkdir()
    assert await names(local, BAR) == []


async def test_a_folder_with_files_that_is_moved_in_is_read(
    local: LocalDirectory, root: Path, tmp_path: Path
) -> None:
    make_wheel(tmp_path / "foo", "foo", "1.0")
    (tmp_path / "foo").rename(root / "foo")
    assert await names(local) == [W1]
    (root / "foo").rename(root / "renamed")
    assert (await local.file(FOO, W1)).file.url == (root / "renamed" / W1).as_uri()
    make_wheel(root / "renamed", "foo", "2.0")
    assert await names(local) == [W1, W2]
    (root / "renamed").rename(tmp_path / "away")
    assert await names(local) == []


async def test_a_removed_folder_takes_its_files_with_it(local: LocalDirectory, root: Path) -> None:
    make_wheel(root / "foo", "foo", "1.0")
    assert await names(local) == [W1]
    shutil.rmtree(root / "foo")
    assert await names(local) == []
    make_wheel(root / "foo", "foo", "2.0")
    assert await names(local) == [W2]


async def test_a_sidecar_is_seen_when_it_comes_changes_and_goes(
    local: LocalDirectory, root: Path
) -> None:
    sidecar = make_wheel(root, "foo", "1.0").with_name(W1 + ".yanked")

    async def yanked() -> bool | str:
        return (await local.page(FOO)).files[0].yanked

    assert await yanked() is False
    sidecar.write_text("broken")
    assert await yanked() == "broken"
    sidecar.write_text("very broken")
    assert await yanked() == "very broken"
    sidecar.unlink()
    assert await yanked() is False


async def test_an_old_name_that_appears_goes_to_the_project_it_is_of(
    local: LocalDirectory, root: Path
) -> None:
    assert await local.projects() == set()
    content = tarred({"foo-1.0-1/PKG-INFO": core_metadata("foo", "1.0-1")})
    (root / "foo-1.0-1.tar.gz").write_bytes(content)
    assert await names(local) == ["foo-1.0-1.tar.gz"]
    with pytest.raises(NoSuchProject):
        await local.page(ProjectName("foo-1-0"))


async def test_what_other_bytes_confirmed_of_an_old_name_is_forgotten(tmp_path: Path) -> None:
    root, records = tmp_path / "root", CountedRecords()
    root.mkdir()
    for name, version, project in (("foo", "1.0-1", FOO), ("foo-1.0", "1", ProjectName("foo-1-0"))):
        content = tarred({"foo-1.0-1/PKG-INFO": core_metadata(name, version)})
        (root / "foo-1.0-1.tar.gz").write_bytes(content + bytes(len(name)))
        for _ in range(2):  # the second time it is remembered
            async with opened(root, records) as directory:
                assert await names(directory, project) == ["foo-1.0-1.tar.gz"]


async def test_what_a_link_leads_to_may_change(
    local: LocalDirectory, root: Path, tmp_path: Path
) -> None:
    for number in ("1", "2"):
        make_wheel(root / f"..{number}", "foo", "1.0", requires=[f"bar=={number}"])
    (root / "..data").symlink_to("..1")
    (root / W1).symlink_to(Path("..data") / W1)
    assert (await local.page(FOO)).files[0].url == (root / "..1" / W1).as_uri()
    (root / "..new").symlink_to("..2")
    (root / "..new").rename(root / "..data")
    assert (await local.page(FOO)).files[0].url == (root / "..2" / W1).as_uri()


async def test_requests_after_open_list_no_directory(tmp_path: Path) -> None:
    for number in range(20):
        make_wheel(tmp_path, "foo", f"{number}.0")
        make_wheel(tmp_path / "bar", "bar", f"{number}.0")
    async with opened(tmp_path) as directory:
        with listings() as listed:
            for project in (FOO, BAR, FOO):
                assert len(await names(directory, project)) == 20
            with pytest.raises(NoSuchProject):
                await directory.page(ProjectName("other"))
            await directory.file(FOO, W1)
            make_wheel(tmp_path, "foo", "99")
            assert len(await names(directory)) == 21
            await directory.projects()
        assert listed == []
        with listings() as listed:
            make_wheel(tmp_path / "foo", "foo", "100")
            assert len(await names(directory)) == 22
        assert listed == [str(tmp_path / "foo")]


async def test_without_events_a_quiet_directory_is_not_listed_either(tmp_path: Path) -> None:
    make_wheel(tmp_path, "foo", "1.0")
    make_wheel(tmp_path / "bar", "bar", "1.0")
    for folder in (tmp_path / "bar", tmp_path):
        os.utime(folder, (1_700_000_000, 1_700_000_000))
    async with opened(tmp_path, watch=False) as directory:
        with listings() as listed:
            for project in (FOO, BAR, FOO):
                assert len(await names(directory, project)) == 1
            with pytest.raises(NoSuchProject):
                await directory.page(ProjectName("other"))
    assert listed == []


async def test_without_events_pages_are_not_reported_as_revalidated(tmp_path: Path) -> None:
    make_wheel(tmp_path, "foo", "1.0")
    async with opened(tmp_path, watch=False) as directory:
        page = await directory.page(FOO)
        assert page.fresh_until == 0.0
        assert page is await directory.page(FOO)


async def test_poll_announces_what_has_changed(tmp_path: Path) -> None:
    heard = HeardChanges()
    make_wheel(tmp_path, "foo", "1.0")
    make_wheel(tmp_path, "bar", "1.0")
    async with opened(tmp_path, heard=heard) as directory:
        page = await directory.page(BAR)
        await directory.page(FOO)
        for change in (
            lambda: make_wheel(tmp_path, "foo", "2.0"),
            (tmp_path / W1).touch,
            (tmp_path / W2).unlink,
            (tmp_path / f"{W1}.yanked").touch,
        ):
            heard.clear()
            directory.poll()
            assert heard == []
            change()
            directory.poll()
            assert heard == [PageChanged(FOO)]
            await directory.page(FOO)
        assert await directory.page(BAR) is page


@pytest.mark.parametrize("what", ["folder", "old name"])
async def test_poll_announces_any_project_where_only_a_scan_finds_which(
    tmp_path: Path, what: str
) -> None:
    heard = HeardChanges()
    async with opened(tmp_path, heard=heard) as directory:
        heard.clear()
        if what == "folder":
            make_wheel(tmp_path / "folder", "foo", "1.0")
        else:
            (tmp_path / "foo-bar-1.0.tar.gz").touch()
        directory.poll()
        assert heard == [PageChanged(None)]


async def test_uninteresting_files_change_nothing(tmp_path: Path) -> None:
    heard = HeardChanges()
    async with opened(tmp_path, heard=heard) as directory:
        heard.clear()
        (tmp_path / "notes.txt").write_text("x")
        (tmp_path / "notes.txt.part").write_text("x")
        with pytest.raises(NoSuchProject):
            await directory.page(FOO)
        assert heard == []


async def test_a_queue_that_overflows_loses_nothing(tmp_path: Path) -> None:
    heard = HeardChanges()
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    async with opened(tmp_path, heard=heard) as directory:
        await directory.projects()
        noise = [tmp_path / "a.txt", tmp_path / "b.txt"]
        for number in range(limit // 3 + 10):  # created, written to and closed: three events
            noise[number % 2].unlink(missing_ok=True)
            noise[number % 2].write_text("x")
        make_wheel(tmp_path, "foo", "1.0")  # of which no event tells any more
        heard.clear()
        directory.poll()
        assert heard == [PageChanged(None)]
        assert await names(directory) == [W1]
        make_wheel(tmp_path, "foo", "2.0")
        assert await names(directory) == [W1, W2]


async def test_a_change_without_an_event_is_found_by_the_full_comparison(tmp_path: Path) -> None:
    heard = HeardChanges()
    store, root = tmp_path / "store", tmp_path / "root"
    make_wheel(store, "foo", "1.0")
    root.symlink_to(store)
    async with opened(root, heard=heard, rescan=0.02) as directory:
        assert await names(directory) == [W1]
        make_wheel(tmp_path / "other", "foo", "2.0")
        heard.clear()
        root.unlink()
        root.symlink_to(tmp_path / "other")  # nothing in the watched directory has changed
        await heard.until(lambda: PageChanged(None) in heard)
        assert await names(directory) == [W2]
        heard.clear()
        root.unlink()
        await heard.until(lambda: PageChanged(None) in heard)
        with pytest.raises(IndexUnavailable):
            await directory.page(BAR)


async def test_without_events_the_full_comparison_announces_changes(tmp_path: Path) -> None:
    heard = HeardChanges()
    (tmp_path / "misc").mkdir()
    async with opened(tmp_path, heard=heard, watch=False, rescan=0.02):
        make_wheel(tmp_path / "misc", "foo", "1.0")
        await heard.until(lambda: FOO in heard.changes())


async def test_a_file_that_is_never_closed_is_listed_in_the_end(
    tmp_path: Path,
) -> None:
    content = make_wheel(tmp_path, "foo", "1.0").read_bytes()
    heard = HeardChanges()
    root = tmp_path / "root"
    root.mkdir()
    async with opened(root, heard=heard, rescan=0.05) as directory:
        with (root / W1).open("wb", buffering=0) as file:
            file.write(content)
            await directory.projects()
            heard.clear()
            await heard.until(lambda: FOO in heard.changes())
            assert await names(directory) == [W1]
            file.write(b"more")
            assert await names(directory) == []


async def test_files_are_read_before_anybody_asks_and_only_once(tmp_path: Path) -> None:
    records = CountedRecords()
    root = tmp_path / "root"
    for number in range(5):
        make_wheel(root, "foo", f"{number}.0")
    async with opened(root, records, rescan=0.02):
        await until(lambda: f"local/{root}" in records.content)
    reads = reads_of(root)
    async with opened(root, records) as directory:
        records.reads = 0
        assert len(await names(directory)) == 5
        assert records.reads == 0
        assert reads == []
        make_wheel(root, "foo", "9.0")
        assert len(await names(directory)) == 6
        assert reads == [str(root / "foo-9.0-py3-none-any.whl")]


async def test_a_file_is_read_once_for_concurrent_requests(tmp_path: Path) -> None:
    root = tmp_path / "root"
    wheel = make_wheel(root, "foo", "1.0", padding=5_000_000)
    reads = reads_of(root)
    async with opened(root) as directory:
        pages = await asyncio.gather(*(directory.page(FOO) for _ in range(20)))
    assert {page.files[0].filename for page in pages} == {W1}
    assert reads == [str(wheel)]


async def test_a_cancelled_request_does_not_affect_later_ones(tmp_path: Path) -> None:
    async with opened(tmp_path) as directory:
        for number in range(10):
            make_wheel(tmp_path, "foo", f"{number}.0", padding=200_000)
            task = asyncio.create_task(directory.page(FOO))
            for _ in range(number):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert len(await names(directory)) == number + 1


async def test_readers_and_writers_at_once_see_whole_files_only(tmp_path: Path) -> None:
    contents = [
        make_wheel(tmp_path / str(number), "foo", "1.0", requires=[f"bar=={number}"]).read_bytes()
        for number in range(4)
    ]
    digests = {hashlib.sha256(content).hexdigest() for content in contents}
    root = tmp_path / "root"
    root.mkdir()

    def write() -> None:
        for number in range(200):
            with (root / W1).open("wb") as file:
                for start in range(0, len(contents[0]), 400):
                    file.write(contents[number % 4][start : start + 400])
                    file.flush()

    async with opened(root) as directory:
        writing = asyncio.create_task(asyncio.to_thread(write))
        seen = set()
        while not writing.done():
            try:
                seen |= {file.sha256 for file in (await directory.page(FOO)).files}
            except NoSuchProject:
                assert not seen
            await asyncio.sleep(0)
        await writing
        assert seen <= digests
        assert (await directory.page(FOO)).files[0].sha256 == hashlib.sha256(
            contents[3]
        ).hexdigest()


def _write(path: Path, content: bytes = b"") -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


CLAIMS: dict[str, Callable[[Path, CountedRecords], object]] = {
    "a file": lambda root, _: make_wheel(root, "foo", "1.0"),
    "a file in a folder": lambda root, _: make_wheel(root / "any", "foo", "1.0"),
    "a folder": lambda root, _: (root / "foo").mkdir(),
    "a link to a folder": lambda root, _: (root / "foo").symlink_to(root.parent),
    "a file that cannot be read": lambda root, _: _write(root / W1, b"no archive"),
    "a signature": lambda root, _: _write(root / f"{W1}.asc"),
    "another process": lambda root, records: records.claims.add(str(root), ["foo"]),
}


@pytest.mark.parametrize("what", CLAIMS)
@pytest.mark.parametrize("watch", [True, False])
async def test_a_name_that_was_absent_is_claimed_as_soon_as_something_claims_it(
    root: Path, watch: bool, what: str
) -> None:
    root.mkdir()
    records = CountedRecords()
    async with opened(root, records, watch=watch) as local:
        for _ in range(2):
            with pytest.raises(NoSuchProject):
                await local.page(FOO)
        CLAIMS[what](root, records)
        await local.page(FOO)
