"""Folders of other servers: what is taken of each layout, and what hostile ones cannot do."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import ConfigurationError, ProxyError
from proxy.migration import Intake, LeftOut, PackageSource, StatusOffer, open_folder
from proxy.model import File, ProjectName
from proxy.publish import Publisher, Selection, Upkeep
from tests.support.distributions import make_sdist, make_wheel
from tests.support.other_servers import (
    UPLOADED,
    bandersnatch_mirror,
    copied,
    devpi_entry,
    devpi_export,
    pypicloud_folder,
)
from tests.support.publishing import ADMIN, ANA, BEN, publish, publishing

INDEX = "ana/dev"
FOO = ProjectName("foo")
TOOK, SKIPPED = "took", "skipped"


@pytest.fixture
async def publisher(tmp_path: Path) -> AsyncIterator[Publisher]:
    async with publishing(tmp_path / "packages") as publisher:
        yield publisher


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path / "dist", "foo", "1.0")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A wheel outside of every source."""
    return make_wheel(tmp_path / "outside", "secret", "1.0")


async def take(
    publisher: Publisher, source: PackageSource, **options: Any
) -> list[tuple[str, str]]:
    """Each place, with ``TOOK``, ``SKIPPED``, or why it was refused or left out."""
    found: list[tuple[str, str]] = []
    intake = Intake(publisher, ADMIN, source.label, **options)
    async for each in source.found():
        if isinstance(each, LeftOut):
            found.append((each.place, each.reason))
            continue
        if isinstance(each, StatusOffer):
            found.append((each.project, each.status.status))
            continue
        try:
            found.append((each.place, await intake.take(each)))
        except ProxyError as error:
            found.append((each.place, str(error)))
    return found


async def files(publisher: Publisher, project: str = "foo") -> dict[str, File]:
    page = await publisher.page(ProjectName(project))
    return {file.filename: file for file in page.files} if page else {}


async def test_entries_of_an_export_never_lead_out_of_it_or_stop_the_rest(
    tmp_path: Path, publisher: Publisher, wheel: Path, secret: Path
) -> None:
    export = tmp_path / "export"
    last = make_wheel(tmp_path / "dist", "foo", "3.0")
    other = copied(make_wheel(tmp_path / "dist", "foo", "2.0"), export / "foo-2.0-py3-none-any.whl")
    copied(wheel, export / "wrong-1.0-py3-none-any.whl")
    (export / "link.whl").symlink_to(secret)
    (export / "loop").symlink_to("loop")
    os.mkfifo(export / "pipe.whl")
    no_digest: dict[str, Any] = {"entrymapping": {}}

    def entry(path: Path, relpath: Any, **changed: Any) -> dict[str, Any]:
        return devpi_entry(path, INDEX, relpath=relpath, **changed)

    expected: tuple[tuple[Any, str], ...] = (
        (entry(secret, f"../outside/{secret.name}"), "its path leads out of the folder"),
        (entry(secret, str(secret)), "its path leads out of the folder"),
        (entry(secret, "link.whl"), "its path leads out of the folder"),
        (entry(secret, "loop"), "it is no regular file"),
        (entry(secret, "pipe.whl"), "it is no regular file"),
        (entry(secret, "."), "it is no regular file"),
        (entry(secret, f"ana/{secret.name}\0"), "null"),
        (entry(secret, f"ana/{secret.name}"), "No such file"),
        (entry(secret, "a/" * 5000), "File name too long"),
        (entry(secret, 7), "its entry in dataindex.json cannot be read"),
        (entry(secret, "x", log="never"), "its entry in dataindex.json cannot be read"),
        (entry(wheel, "x", projectname="../x"), "'../x' is no project name"),
        (entry(wheel, other.name), "its bytes do not have the sha256 that the source names"),
        (
            entry(other, other.name, entrymapping={"hash_spec": "sha256=../x"}),
            "dataindex.json has no digest of it that can be checked",
        ),
        (entry(other, other.name, projectname="bar"), "is not the name of a file of bar"),
        (
            entry(secret, "wrong-1.0-py3-none-any.whl", projectname="wrong", **no_digest),
            "cannot be published",
        ),
        ({"type": "doczip", "relpath": "ana/foo.doc.zip"}, "it is a doczip, and no package"),
        (None, "its entry in dataindex.json cannot be read"),
        ([], "its entry in dataindex.json cannot be read"),
    )
    end_entry = devpi_entry(last, INDEX)
    copied(last, export / end_entry["relpath"])
    devpi_export(export, {INDEX: [wheel]}, [*(each for each, _ in expected), end_entry])
    first, *rest, end = await take(publisher, open_folder(export, None))
    assert (first[1], end[1]) == (TOOK, TOOK)
    for (place, outcome), (given, reason) in zip(rest, expected, strict=True):
        assert reason in outcome, (place, outcome, given)
    assert set(await files(publisher)) == {wheel.name, last.name}
    assert not await files(publisher, "secret")
    assert {file.uploaded for file in (await files(publisher)).values()} == {UPLOADED}


async def test_a_flat_folder_is_read_to_its_end_and_never_left(
    tmp_path: Path, publisher: Publisher, wheel: Path, secret: Path
) -> None:
    folder = tmp_path / "flat"
    copied(wheel, folder / "sub" / wheel.name)
    (folder / "sub" / f"{wheel.name}.asc").write_text("signed")
    (folder / "sub" / f"{wheel.name}.yanked").write_text("it\nbreaks\x1b")
    (folder / secret.name).symlink_to(secret)
    (folder / "inside-1.0-py3-none-any.whl").symlink_to(folder / "sub" / wheel.name)
    (folder / "linked").symlink_to(secret.parent)
    copied(wheel, folder / "bar-1.0-py3-none-any.whl")
    (folder / "cut-1.0.tar.gz").write_bytes(b"\x1f\x8b")
    (folder / "empty-1.0.zip").touch()
    copied(wheel, folder / "old-1.0.egg")
    copied(wheel, folder / "noname.whl")
    copied(wheel, folder / "part-1.0-py3-none-any.whl.part")
    (folder / "README.txt").touch()
    (folder / ".hidden-1.0.tar.gz").touch()
    os.mkfifo(folder / "pipe-1.0.tar.gz")
    deep = folder.joinpath(*["d"] * 40)
    copied(wheel, deep / wheel.name)
    no_name = os.fsencode(folder) + b"/\xff-1.0-py3-none-any.whl"
    Path(os.fsdecode(no_name)).touch()
    done = dict(await take(publisher, open_folder(folder, None)))
    for place, reason in {
        f"sub/{wheel.name}": TOOK,
        secret.name: "its path leads out of the folder",
        "inside-1.0-py3-none-any.whl": "is that of another distribution",
        "linked": "it is a link to a folder, which is not followed",
        "bar-1.0-py3-none-any.whl": "is that of another distribution",
        "cut-1.0.tar.gz": "cannot be published",
        "empty-1.0.zip": "cannot be published",
        "old-1.0.egg": "only wheels and sdists",
        "noname.whl": "its name does not have a project and a version",
        "part-1.0-py3-none-any.whl.part": "only wheels and sdists",
        "README.txt": "it is no distribution",
        "pipe-1.0.tar.gz": "it is no regular file",
        "/".join(["d"] * 33): "it lies below more than 32 folders",
        "\udcff-1.0-py3-none-any.whl": "does not have a project and a version",
    }.items():
        assert reason in done.pop(place), place
    assert done == {}
    stored = tmp_path / "packages" / "foo"
    assert (stored / f"{wheel.name}.asc").read_text() == "signed"
    assert (await files(publisher))[wheel.name].yanked == "it breaks"


@pytest.mark.parametrize(("status", "taken"), [("deprecated", True), ("quarantined", False)])
async def test_a_mirror_says_the_status_of_a_project(
    tmp_path: Path, publisher: Publisher, wheel: Path, status: str, taken: bool
) -> None:
    mirror = bandersnatch_mirror(tmp_path / "mirror", [wheel])
    page = mirror / "web" / "simple" / "foo" / "index.v1_json"
    document = json.loads(page.read_bytes()) | {"project-status": {"status": status}}
    page.write_text(json.dumps(document))
    done = dict(await take(publisher, open_folder(mirror, None)))
    assert bool(await files(publisher)) is taken
    if taken:
        assert done["foo"] == status
    else:
        assert done == {"simple/foo/index.v1_json": "the project is quarantined there"}


@pytest.mark.parametrize("form", ["index.v1_json", "index.html"])
async def test_pages_of_a_mirror_say_what_is_taken_and_never_lead_out_of_it(
    tmp_path: Path, publisher: Publisher, wheel: Path, secret: Path, form: str
) -> None:
    mirror = bandersnatch_mirror(tmp_path / "mirror", [wheel], "index.html", yanked="it breaks")
    if form == "index.v1_json":
        bandersnatch_mirror(mirror, [wheel], form, yanked=True)
    copied(
        make_wheel(tmp_path / "dist", "foo", "9.0"), mirror / "web" / "packages" / "unlisted.whl"
    )
    for project, url in {
        "secret": f"../../packages/../../../outside/{secret.name}",
        "coded": "../../packages/%2e%2e/%2e%2e/%2e%2e/outside/coded-1.0-py3-none-any.whl",
        "gone": "../../packages/aa/gone-1.0-py3-none-any.whl",
        "away": "https://example.com/files/away-1.0-py3-none-any.whl",
    }.items():
        page = mirror / "web" / "simple" / project / form
        page.parent.mkdir()
        name = f"{project}-1.0-py3-none-any.whl"
        entry = {"filename": name, "url": url, "hashes": {}}
        document = {"meta": {"api-version": "1.0"}, "name": project, "files": [entry]}
        page.write_text(
            json.dumps(document) if form.endswith("json") else f'<a href="{url}">{name}</a>'
        )
    (mirror / "web" / "simple" / "broken").mkdir()
    (mirror / "web" / "simple" / "broken" / "index.v1_json").write_text("{")
    done = {
        place.split(":")[0]: outcome
        for place, outcome in await take(publisher, open_folder(mirror, None))
    }
    outcomes = sorted(done.values())
    assert outcomes.count(TOOK) == 1, done
    assert sum("its path leads out" in each or "not lead to" in each for each in outcomes) >= 2, (
        done
    )
    assert any("No such file" in each for each in outcomes), done
    assert "not lead to packages/" in done["away"]
    assert "simple/broken/index.v1_json" in done
    assert list(await files(publisher)) == [wheel.name]
    assert (await files(publisher))[wheel.name].yanked == "it breaks"
    assert not await files(publisher, "secret")


async def test_a_second_run_takes_only_what_is_new(
    tmp_path: Path, publisher: Publisher, wheel: Path
) -> None:
    sdist = make_sdist(tmp_path / "dist", "foo", "1.0")
    cloud = pypicloud_folder(tmp_path / "cloud", [wheel])
    assert [each for _, each in await take(publisher, open_folder(cloud, None))] == [TOOK]
    pypicloud_folder(cloud, [sdist])
    again = dict(await take(publisher, open_folder(cloud, None)))
    assert sorted(again.values()) == [SKIPPED, TOOK]
    details = cloud / "foo" / "1.0" / f"{sdist.name}.meta"
    details.write_text(json.dumps({"hash_sha256": "0" * 64}))
    refused = dict(await take(publisher, open_folder(cloud, None)))
    assert "File already exists" in refused[f"foo/1.0/{sdist.name}"]
    await Upkeep(publisher).delete(Selection(FOO), ANA)
    refused = dict(await take(publisher, open_folder(cloud, None)))
    assert (
        "as a file of other bytes that has since been deleted" in refused[f"foo/1.0/{sdist.name}"]
    )


async def test_a_yank_that_is_newer_than_the_file_is_taken_and_none_is_taken_away(
    tmp_path: Path, publisher: Publisher, wheel: Path
) -> None:
    taken = copied(wheel, tmp_path / "flat" / wheel.name)
    source = open_folder(tmp_path / "flat", None)
    assert await take(publisher, source) == [(wheel.name, TOOK)]
    mark = taken.with_name(f"{taken.name}.yanked")
    mark.write_text("it breaks")
    assert await take(publisher, source) == [(wheel.name, "yanked")]
    assert (await files(publisher))[wheel.name].yanked == "it breaks"
    for text in ("another reason", None):
        mark.unlink() if text is None else mark.write_text(text)
        assert await take(publisher, source) == [(wheel.name, SKIPPED)]
        assert (await files(publisher))[wheel.name].yanked == "it breaks"


async def test_the_metadata_decide_where_a_name_can_be_read_in_two_ways(
    tmp_path: Path, publisher: Publisher
) -> None:
    sdist = make_sdist(tmp_path / "flat", "foo", "1.0-1")
    assert sdist.name == "foo-1.0-1.tar.gz"  # version 1 of foo-1-0, or a post release
    done = await take(publisher, open_folder(tmp_path / "flat", None))
    assert [each for _, each in done] == [TOOK], done
    assert list(await files(publisher)) == [sdist.name]


async def test_a_file_over_the_limit_and_one_over_the_quota_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "flat"
    small = make_wheel(folder, "foo", "1.0")
    large = make_wheel(folder, "foo", "2.0", padding=5000)
    more = make_wheel(folder, "foo", "3.0", padding=1000)
    quota = small.stat().st_size + 500
    opened = publishing(tmp_path / "packages", max_file=4000, project_quota=quota)
    async with opened as publisher:
        done = dict(await take(publisher, open_folder(folder, None)))
        assert done[small.name] == TOOK
        assert "private takes at most 4.0 kB" in done[large.name]
        assert "the project would take" in done[more.name]
        assert list(await files(publisher)) == [small.name]


async def test_taken_projects_are_private_and_belong_to_the_next_who_uploads(
    tmp_path: Path, wheel: Path
) -> None:
    copied(wheel, tmp_path / "flat" / wheel.name)
    broken = tmp_path / "flat" / "bar-1.0.tar.gz"
    broken.write_bytes(b"broken")
    async with publishing(tmp_path / "packages", upstream=["foo", "bar"]) as publisher:
        await take(publisher, open_folder(tmp_path / "flat", None))
        assert publisher.journal.is_claimed(FOO)
        assert not publisher.journal.is_claimed(ProjectName("bar"))
        assert not (tmp_path / "packages" / "bar").exists()
        assert publisher.journal.owners(FOO) == []
        await publish(publisher, make_wheel(tmp_path / "dist", "foo", "2.0"), BEN)
        assert publisher.journal.owners(FOO) == ["ben"]


async def test_attestations_that_cannot_be_verified_are_not_taken_unless_left_out(
    tmp_path: Path, publisher: Publisher, wheel: Path
) -> None:
    beside = copied(wheel, tmp_path / "flat" / wheel.name).with_name(f"{wheel.name}.provenance")
    source = open_folder(tmp_path / "flat", None)
    for text, reason in (
        ('{"attestation_bundles": [{"attestations": [{}]}]}', "does not verify attestations"),
        ('{"attestation_bundles": 1}', "its provenance is no provenance object (PEP 740)"),
        ("[" * 9999, "its provenance is no provenance object (PEP 740)"),
        (" " * (8 * 2**20 + 1), "a file beside it has more than"),
    ):
        beside.write_text(text)
        ((_, outcome),) = await take(publisher, source)
        assert reason in outcome
        assert not await files(publisher)
    assert await take(publisher, source, with_provenance=False) == [(wheel.name, TOOK)]
    assert (await files(publisher))[wheel.name].provenance is None


async def test_only_pages_of_wanted_projects_of_a_mirror_are_read(
    tmp_path: Path, publisher: Publisher, wheel: Path
) -> None:
    mirror = bandersnatch_mirror(tmp_path / "mirror", [wheel])
    page = mirror / "web" / "simple" / "b" / "broken" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_bytes(b"\0")
    source = open_folder(mirror, None, wants=lambda project: project == "foo")
    assert [outcome for _, outcome in await take(publisher, source)] == [TOOK]


async def test_archived_projects_take_nothing(
    tmp_path: Path, publisher: Publisher, wheel: Path
) -> None:
    (tmp_path / "packages" / "foo").mkdir()
    (tmp_path / "packages" / "foo" / ".project-status").write_text('{"status": "archived"}')
    copied(wheel, tmp_path / "flat" / wheel.name)
    ((_, outcome),) = await take(publisher, open_folder(tmp_path / "flat", None))
    assert outcome == "foo is archived, and accepts no files"


def test_the_layout_of_a_folder_is_recognized(tmp_path: Path, wheel: Path) -> None:
    devpi_export(tmp_path / "devpi", {INDEX: [wheel]})
    bandersnatch_mirror(tmp_path / "bandersnatch", [wheel])
    pypicloud_folder(tmp_path / "pypicloud", [wheel])
    copied(wheel, tmp_path / "files" / wheel.name)
    (tmp_path / "waystation" / ".waystation").mkdir(parents=True)
    for kind in ("devpi", "bandersnatch", "pypicloud", "files", "waystation"):
        assert open_folder(tmp_path / kind, None).label.split()[0] == kind
    label = open_folder(tmp_path / "bandersnatch" / "web", None).label
    assert label.startswith("bandersnatch mirror")
    assert open_folder(tmp_path / "files", "pypiserver").label.startswith("pypiserver folder")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"indexes": 1}', '{"indexes": {"a/b": []}}', "[" * 9999]
)
async def test_a_list_that_is_none_is_an_error_of_the_source(
    tmp_path: Path, publisher: Publisher, text: str
) -> None:
    (tmp_path / "dataindex.json").write_text(text)
    with pytest.raises(ConfigurationError, match="is not what devpi-export writes"):
        await take(publisher, open_folder(tmp_path, None))


async def test_an_export_of_several_indexes_needs_a_choice(
    tmp_path: Path, publisher: Publisher, wheel: Path
) -> None:
    newer = make_wheel(tmp_path / "dist", "foo", "2.0")
    export = devpi_export(tmp_path / "e", {INDEX: [wheel, newer], "ana/prod": [wheel], "b/c": []})
    with pytest.raises(ConfigurationError, match=r"ana/dev \(2 files\), ana/prod \(1 file\)"):
        await take(publisher, open_folder(export, None))
    with pytest.raises(ConfigurationError, match="no index 'x/y' with files"):
        await take(publisher, open_folder(export, None, ["x/y"]))
    with pytest.raises(ConfigurationError, match="which has no indexes"):
        open_folder(tmp_path / "dist", None, ["x/y"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match="has no wheel, no sdist"):
        open_folder(tmp_path / "empty", None)
    assert len(await take(publisher, open_folder(export, None, ["ana/prod"]))) == 1
    done = await take(publisher, open_folder(export, None, ["all"]))
    assert sorted(outcome for _, outcome in done) == [SKIPPED, SKIPPED, TOOK]
