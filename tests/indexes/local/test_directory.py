"""A local directory as an index: what its pages and files are, and what it claims."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import pytest

from proxy.distributions.archive import read_wheel_metadata
from proxy.errors import IndexUnavailable, NoSuchFile, NoSuchProject
from proxy.events import FileAnswered, Outcome, PageAnswered
from proxy.indexes.base import Index
from proxy.indexes.local import LocalDirectory
from proxy.model import ProjectName
from proxy.storage.keys import RecordKind
from tests.support.clock import Clock
from tests.support.content import read_blob
from tests.support.directories import BAR, FOO, HeardChanges, names, opened
from tests.support.distributions import core_metadata, make_sdist, make_wheel, tarred, zipped
from tests.support.records import CountedRecords


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_a_page_says_everything_about_its_files(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "foo", "1.0", requires_python=">=3.8,<4")
    os.utime(wheel, ns=(0, 1_700_000_000_123_456_789))
    async with opened(tmp_path) as directory:
        page = await directory.page(FOO)
    (file,) = page.files
    metadata = hashlib.sha256(read_wheel_metadata(wheel, wheel.name)).hexdigest()
    assert (page.project, page.source, page.versions) == ("foo", "private", ("1.0",))
    assert page.fresh_until is None
    assert file.filename == wheel.name
    assert file.url == wheel.as_uri()
    assert file.hashes == {"sha256": _sha256(wheel)}
    assert file.size == wheel.stat().st_size
    assert file.requires_python == ">=3.8,<4"
    assert file.uploaded == "2023-11-14T22:13:20.123457Z"
    assert file.metadata == {"sha256": metadata}
    assert file.yanked is False


async def test_files_are_sorted_by_version_and_filename(tmp_path: Path) -> None:
    for version in ("1.10", "1.9", "1.10rc1"):
        make_wheel(tmp_path, "foo", version)
    make_sdist(tmp_path, "foo", "1.9")
    async with opened(tmp_path) as directory:
        page = await directory.page(FOO)
    assert [file.filename for file in page.files] == [
        "foo-1.9-py3-none-any.whl",
        "foo-1.9.tar.gz",
        "foo-1.10rc1-py3-none-any.whl",
        "foo-1.10-py3-none-any.whl",
    ]
    assert page.versions == ("1.9", "1.10rc1", "1.10")


async def test_an_sdist_says_what_is_static_and_has_no_metadata_file(tmp_path: Path) -> None:
    make_sdist(tmp_path, "foo", "1.0", requires_python=">=3.9", fmt="zip")
    async with opened(tmp_path) as directory:
        (file,) = (await directory.page(FOO)).files
        assert file.requires_python == ">=3.9"
        assert file.metadata is False
        with pytest.raises(NoSuchFile):
            await directory.file(FOO, "foo-1.0.zip.metadata")


async def test_a_file_is_its_bytes(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "foo", "1.0", padding=300_000)
    async with opened(tmp_path) as directory:
        artifact = await directory.file(FOO, wheel.name)
        assert await read_blob(artifact.blob) == wheel.read_bytes()
        assert artifact.file.sha256 == _sha256(wheel)
        assert await directory.file(FOO, wheel.name, _sha256(wheel)) is not None
        with pytest.raises(NoSuchFile):
            await directory.file(FOO, wheel.name, "0" * 64)


async def test_metadata_are_those_of_each_wheel(tmp_path: Path) -> None:
    one = make_wheel(tmp_path, "foo", "1.0", requires=["bar"])
    other = make_wheel(tmp_path, "foo", "1.0", build="2", requires=["baz"])
    async with opened(tmp_path) as directory:
        for wheel in (one, other, one):
            artifact = await directory.file(FOO, wheel.name + ".metadata", _sha256(wheel))
            content = await read_blob(artifact.blob)
            assert content == read_wheel_metadata(wheel, wheel.name)
            assert artifact.file.sha256 == hashlib.sha256(content).hexdigest()


async def test_damaged_metadata_records_are_read_again_from_the_file(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "foo", "1.0")
    records = CountedRecords()
    async with opened(tmp_path, records) as directory:
        artifact = await directory.file(FOO, wheel.name + ".metadata")
        (key,) = await records.keys(RecordKind.LOCAL_METADATA)
        records.content[key] = b"something else"
        again = await directory.file(FOO, wheel.name + ".metadata")
        assert await read_blob(again.blob) == await read_blob(artifact.blob)


async def test_only_names_on_the_page_are_served(tmp_path: Path) -> None:
    root = tmp_path / "root"
    make_wheel(root, "foo", "1.0")
    make_wheel(tmp_path, "foo", "2.0")
    (root / "secret.txt").write_text("secret")
    async with opened(root) as directory:
        for filename in (
            "../foo-2.0-py3-none-any.whl",
            "secret.txt",
            "FOO-1.0-py3-none-any.whl",
            "./foo-1.0-py3-none-any.whl",
            "foo-1.0-py3-none-any.whl\0",
            "/etc/passwd",
            "",
        ):
            with pytest.raises(NoSuchFile):
                await directory.file(FOO, filename)


async def test_events_say_what_was_answered(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "foo", "1.0")
    heard = HeardChanges()
    async with opened(tmp_path, heard=heard) as directory:
        await directory.page(FOO)
        await directory.file(FOO, wheel.name)
    assert PageAnswered(FOO, "private", Outcome.LOCAL) in heard
    assert FileAnswered(FOO, wheel.name, "private", Outcome.LOCAL) in heard


async def test_a_page_is_made_once(tmp_path: Path) -> None:
    make_wheel(tmp_path, "foo", "1.0")
    async with opened(tmp_path) as directory:
        assert await directory.page(FOO) is await directory.page(FOO)


async def test_layouts_mix_and_the_files_own_name_decides(tmp_path: Path) -> None:
    make_wheel(tmp_path, "foo", "1.0")
    make_wheel(tmp_path / "Foo", "foo", "2.0")
    make_wheel(tmp_path / "misc things", "foo", "3.0")
    make_wheel(tmp_path / "foo", "bar", "1.0")
    make_wheel(tmp_path / "foo" / "deeper", "foo", "4.0")
    async with opened(tmp_path) as directory:
        versions = [name.split("-")[1] for name in await names(directory)]
        assert versions == ["1.0", "2.0", "3.0", "4.0"]
        assert await names(directory, BAR) == ["bar-1.0-py3-none-any.whl"]
        assert await directory.projects() == {"foo", "bar", "misc-things"}


async def test_an_empty_folder_claims_its_project(tmp_path: Path) -> None:
    (tmp_path / "Corp_Tool").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "lost+found").mkdir()
    async with opened(tmp_path) as directory:
        assert (await directory.page(ProjectName("corp-tool"))).files == ()
        assert await directory.projects() == {"corp-tool"}


async def test_an_unknown_project_is_certainly_unknown(tmp_path: Path) -> None:
    make_wheel(tmp_path, "foo", "1.0")
    async with opened(tmp_path) as directory:
        with pytest.raises(NoSuchProject):
            await directory.page(BAR)
        with pytest.raises(NoSuchProject):
            await directory.file(BAR, "foo-1.0-py3-none-any.whl")


async def test_what_only_looks_like_a_distribution_is_not_listed_and_claims(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "elsewhere", "foo", "1.0").read_bytes()
    root = tmp_path / "root"
    root.mkdir()
    base = "foo-1.0-py3-none-any.whl"
    for name in (f".{base}", f"{base}.part", f"{base}.tmp", f"{base}.crdownload", f"{base}~"):
        (root / name).write_bytes(wheel)
    (root / "foo-2.0-py3-none-any.whl").mkdir()
    os.mkfifo(root / "foo-3.0-py3-none-any.whl")
    async with opened(root) as directory:
        with pytest.raises(NoSuchProject):
            await directory.page(BAR)
        assert await names(directory) == []


async def test_links_within_the_root_are_followed_and_others_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "root"
    outside = make_wheel(tmp_path / "outside", "foo", "2.0")
    inside = make_wheel(root / ".store", "foo", "1.0")
    (root / inside.name).symlink_to(Path(".store") / inside.name)
    (root / outside.name).symlink_to(outside)
    (root / "foo-3.0-py3-none-any.whl").symlink_to(root / "nowhere")
    (root / "bar").symlink_to(outside.parent)
    make_wheel(outside.parent, "bar", "1.0")
    async with opened(root) as directory:
        assert await names(directory) == [inside.name]
        assert await read_blob((await directory.file(FOO, inside.name)).blob) == inside.read_bytes()
        assert await names(directory, BAR) == []  # a linked folder claims and shows nothing
    assert "leaves the directory" in caplog.text


async def test_a_link_beside_the_root_leaves_it_and_lists_nothing(tmp_path: Path) -> None:
    root, beside = tmp_path / "root", tmp_path / "root2"
    wheel = make_wheel(beside, "foo", "1.0")
    root.mkdir()
    (root / wheel.name).symlink_to(wheel)
    async with opened(root) as directory:
        assert await names(directory) == []


async def test_links_that_lead_to_themselves_only_claim_their_names(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "foo", "1.0")
    (tmp_path / "foo-2.0-py3-none-any.whl").symlink_to("foo-2.0-py3-none-any.whl")
    (tmp_path / "bar").symlink_to("baz")
    (tmp_path / "baz").symlink_to("bar")
    async with opened(tmp_path) as directory:
        assert await names(directory) == [wheel.name]
        assert await directory.projects() == {"foo", "bar", "baz"}


async def test_strange_names_do_no_harm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wheel = make_wheel(tmp_path, "foo", "1.0")
    folders = [tmp_path / os.fsdecode(b"b\xff"), tmp_path / "a\nb", tmp_path / "f\u00f3o"]
    for folder in folders:
        make_wheel(folder, "foo", "2.0")
    for name in ("f\u00f3o-1.0.tar.gz", "foo-1\n.tar.gz", "foo-1\udcff.tar.gz", "c:foo-1.0.zip"):
        (tmp_path / name).write_bytes(b"")
    records = CountedRecords()
    async with opened(tmp_path, records) as directory:
        assert await names(directory) == [wheel.name, "foo-2.0-py3-none-any.whl"]
        assert await directory.projects() == {"foo", "c-foo"}
    assert f"local/{tmp_path}" in records.content
    assert all("\n" not in record.getMessage() for record in caplog.records)


async def test_of_two_files_of_one_name_always_the_same_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = make_wheel(tmp_path, "foo", "1.0")
    make_wheel(tmp_path / "foo", "foo", "1.0", requires=["bar"])
    make_wheel(tmp_path / "a", "foo", "1.0", requires=["baz"])
    async with opened(tmp_path) as directory:
        for _ in range(2):
            (file,) = (await directory.page(FOO)).files
            assert file.sha256 == _sha256(first)
            make_wheel(tmp_path, "foo", "1.0")  # the same bytes again: a new page is built
    assert caplog.text.count("'a/foo-1.0-py3-none-any.whl' is not listed: a file of the same") == 1


async def test_old_names_are_read_as_the_archive_confirms(tmp_path: Path) -> None:
    def write(filename: str, name: str, version: str) -> None:
        stem = filename.removesuffix(".tar.gz")
        content = core_metadata(name, version, requires_python=">=3.9", metadata_version="2.2")
        (tmp_path / filename).write_bytes(tarred({f"{stem}/PKG-INFO": content}))

    write("foo-bar-1.0.tar.gz", "foo.bar", "1.0")
    write("foo-1.0-1.tar.gz", "foo", "1.0.post1")
    write("foo-lies-1.0.tar.gz", "other", "1.0")
    write("foo-2004d.tar.gz", "Foo", "2004d")
    async with opened(tmp_path) as directory:
        page = await directory.page(FOO)
        assert [file.filename for file in page.files] == ["foo-2004d.tar.gz", "foo-1.0-1.tar.gz"]
        assert page.versions == ("2004d", "1.0.post1")
        assert {file.requires_python for file in page.files} == {">=3.9"}
        assert await names(directory, ProjectName("foo-bar")) == ["foo-bar-1.0.tar.gz"]
        assert await names(directory, ProjectName("foo-lies")) == []  # hidden, not set free
        with pytest.raises(NoSuchProject):
            await directory.page(ProjectName("foo-1-0"))


async def test_a_name_is_not_taken_from_the_start_of_another(tmp_path: Path) -> None:
    content = tarred({"foo-bar-1.0/PKG-INFO": core_metadata("foo-bar", "1.0")})
    (tmp_path / "foo-bar-1.0.tar.gz").write_bytes(content)
    async with opened(tmp_path) as directory:
        with pytest.raises(NoSuchProject):
            await directory.page(FOO)


async def test_a_wheel_with_two_metadata_members_is_listed_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wheel = make_wheel(tmp_path, "foo", "1.0", files={"x-1.dist-info/METADATA": b"Name: x\n"})
    async with opened(tmp_path) as directory:
        (file,) = (await directory.page(FOO)).files
        assert file.metadata is False
        with pytest.raises(NoSuchFile):
            await directory.file(FOO, wheel.name + ".metadata")
    assert "without metadata" in caplog.text


async def test_metadata_of_another_distribution_are_not_believed(tmp_path: Path) -> None:
    metadata = core_metadata("bar", "1.0", requires_python=">=99")
    make_wheel(tmp_path, "foo", "1.0", files={"foo-1.0.dist-info/METADATA": metadata})
    async with opened(tmp_path) as directory:
        (file,) = (await directory.page(FOO)).files
        assert file.metadata is False
        assert file.requires_python is None


async def test_legacy_formats_are_listed_where_that_is_wanted(tmp_path: Path) -> None:
    egg = zipped({"EGG-INFO/PKG-INFO": core_metadata("foo", "1.0")})
    (tmp_path / "foo-1.0-py2.7.egg").write_bytes(egg)
    async with opened(tmp_path, legacy=True) as directory:
        assert await names(directory) == ["foo-1.0-py2.7.egg"]
    async with opened(tmp_path) as directory:
        assert await names(directory) == []


async def test_a_sidecar_yanks(tmp_path: Path) -> None:
    for version in ("1", "2", "3"):
        make_wheel(tmp_path, "foo", version)
    (tmp_path / "foo-1-py3-none-any.whl.yanked").write_text(" eats\n data\x1b \n", "utf-8")
    (tmp_path / "foo-2-py3-none-any.whl.yanked").touch()
    async with opened(tmp_path) as directory:
        assert [f.yanked for f in (await directory.page(FOO)).files] == ["eats data", True, False]


async def test_a_touched_or_restored_file_keeps_its_time(tmp_path: Path) -> None:
    wheel, records = make_wheel(tmp_path, "foo", "1.0"), CountedRecords()
    content = wheel.read_bytes()
    os.utime(wheel, (1_600_000_000, 1_600_000_000))
    async with opened(tmp_path, records) as directory:
        uploaded = (await directory.page(FOO)).files[0].uploaded
        assert uploaded == "2020-09-13T12:26:40.000000Z"
        os.utime(wheel, (1_700_000_000, 1_700_000_000))
        assert (await directory.page(FOO)).files[0].uploaded == uploaded
        wheel.unlink()
        assert await names(directory) == []
    wheel.write_bytes(content)
    async with opened(tmp_path, records) as directory:
        assert (await directory.page(FOO)).files[0].uploaded == uploaded
        make_wheel(tmp_path, "foo", "1.0", requires=["bar"])
        assert (await directory.page(FOO)).files[0].uploaded != uploaded


async def test_no_file_is_from_the_future(tmp_path: Path, clock: Clock) -> None:
    wheel = make_wheel(tmp_path, "foo", "1.0")
    os.utime(wheel, (4_000_000_000, 4_000_000_000))
    async with opened(tmp_path, clock=clock) as directory:
        (file,) = (await directory.page(FOO)).files
    assert file.uploaded_at is not None
    assert file.uploaded_at.timestamp() == clock()


async def test_a_claim_survives_its_files_and_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = CountedRecords()
    wheel = make_wheel(tmp_path, "foo", "1.0")
    async with opened(tmp_path, records) as directory:
        wheel.unlink()
        assert await names(directory) == []
    async with opened(tmp_path, records) as directory:
        assert await names(directory) == []
        assert await directory.projects() == {"foo"}
    assert "waystation cache purge PROJECT" in caplog.text
    assert "foo" in caplog.text


async def test_a_file_that_came_and_went_between_two_questions_still_claims(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as directory:
        wheel = make_wheel(tmp_path, "foo", "1.0")
        directory.poll()
        with pytest.raises(NoSuchProject):
            await directory.page(BAR)
        wheel.unlink()
        assert await names(directory) == []


async def test_a_released_claim_is_gone_for_good(tmp_path: Path) -> None:
    records = CountedRecords()
    wheel = make_wheel(tmp_path, "foo", "1.0")
    async with opened(tmp_path, records) as directory:
        await directory.release(FOO)
        assert await names(directory) == [wheel.name]  # a file is a claim of its own
        wheel.unlink()
        assert await names(directory) == []
        await directory.release(FOO)
        with pytest.raises(NoSuchProject):
            await directory.page(FOO)
    async with opened(tmp_path, records) as directory:
        with pytest.raises(NoSuchProject):
            await directory.page(FOO)


async def test_claims_of_a_root_below_are_not_taken_over(tmp_path: Path) -> None:
    records = CountedRecords()
    make_wheel(tmp_path / "below", "foo", "1.0")
    async with opened(tmp_path / "below", records):
        pass
    (tmp_path / "below" / "foo-1.0-py3-none-any.whl").unlink()
    (tmp_path / "below").rmdir()
    async with opened(tmp_path, records) as directory:
        assert await directory.projects() == set()


@pytest.mark.parametrize("watch", [True, False])
async def test_a_root_that_cannot_be_read_is_an_error_and_no_absence(
    tmp_path: Path, watch: bool
) -> None:
    root = tmp_path / "root"
    async with opened(root, watch=watch) as directory:
        for question in (directory.page(FOO), directory.projects(), directory.file(FOO, "x")):
            with pytest.raises(IndexUnavailable):
                await question
        wheel = make_wheel(root, "foo", "1.0")
        assert await names(directory) == [wheel.name]
        root.rename(tmp_path / "away")
        for project in (FOO, BAR):
            with pytest.raises(IndexUnavailable):
                await directory.page(project)
        root.write_text("a file")
        with pytest.raises(IndexUnavailable):
            await directory.page(BAR)
        root.unlink()
        make_wheel(root, "foo", "2.0")  # another directory in its place
        assert await names(directory) == ["foo-2.0-py3-none-any.whl"]
        (root / "foo-2.0-py3-none-any.whl").unlink()
        root.rmdir()
        with pytest.raises(IndexUnavailable):
            await directory.page(FOO)


async def test_before_it_is_opened_it_is_an_index_that_reads_first(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "foo", "1.0")
    directory = LocalDirectory("private", tmp_path, CountedRecords(), HeardChanges())
    assert await names(directory) == [wheel.name]
    await directory.close()


async def test_trouble_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with opened(tmp_path / "root") as directory:
        for _ in range(3):
            with pytest.raises(IndexUnavailable):
                await directory.page(FOO)
        (tmp_path / "root").mkdir()
        with pytest.raises(NoSuchProject):
            await directory.page(FOO)
    assert caplog.text.count("private cannot be read") == 1
    assert caplog.text.count("private can be read again") == 1


def test_a_local_directory_is_an_index(tmp_path: Path) -> None:
    index: Index = LocalDirectory("private", tmp_path, CountedRecords(), HeardChanges())
    assert index.name == "private"
