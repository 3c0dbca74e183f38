"""After an import the second cache serves the same bytes as the first one."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from proxy.bundle.bundle_selection import (
    BundleSelection,
    select_everything,
    select_files,
    select_projects,
)
from proxy.bundle.errors import BadBundle, BundleIOError, ConflictingBundle, FilesNotCached
from proxy.bundle.writer import create_bundle
from proxy.composition.cache import open_cache
from proxy.composition.proxy import open_proxy
from proxy.composition.upstream_connections import mirrored
from proxy.errors import ConfigurationError, NoSuchProject, StoreDamaged
from proxy.events import Event, PageChanged
from proxy.model import ProjectName
from proxy.storage.keys import Key, RecordKind
from proxy.storage.mirror_records import (
    FirstSeenFile,
    StoredPages,
    encode_digest_history,
    pack_page,
    unpack_page,
)
from tests.support.bundle_fixtures import (
    Near,
    create,
    fill,
    offline,
    quiet,
    run,
    seen,
    settings,
    stock,
    take,
)
from tests.support.distributions import make_wheel
from tests.support.fork_server import ROOT
from tests.support.memory_store import MemoryStore
from tests.support.stored import stored_keys, stored_path
from tests.support.upstream import Upstream

ALPHA, BETA = ProjectName("alpha"), ProjectName("beta")
WHEEL = "beta-1.0-py3-none-any.whl"


async def test_a_store_without_files_on_this_disk_gives_the_same_bundle(
    near: Near, tmp_path: Path
) -> None:
    shutil.copytree(near.cache, tmp_path / "near")
    store = MemoryStore()
    for key in stored_keys(near.cache / "blob"):
        store.content[key] = stored_path(near.cache / "blob", key).read_bytes()
    origins = near.created.manifest.indexes
    async with open_cache(settings(tmp_path / "near", near.upstream)) as opened:
        selection = await select_everything(opened.records, [each.namespace for each in origins])
        cache = replace(opened, store=store)
        await create_bundle(cache, origins, selection, tmp_path / "b", quiet)
    assert (tmp_path / "b").read_bytes() == near.data


async def test_an_empty_cache_serves_the_same_bytes_offline(near: Near, tmp_path: Path) -> None:
    found = await take(tmp_path, near.upstream, near.bundle)
    assert (len(found.new_pages), len(found.new_files), len(found.new_provenance)) == (3, 6, 1)
    served = await offline(tmp_path, near.upstream)
    assert served == near.served
    assert {"gamma-1.0-py3-none-any.whl", f"{WHEEL}.metadata"} < served.keys()
    assert "alpha-1.0-py3-none-any.whl.provenance" in served
    assert await seen(tmp_path) == await seen(near.cache)


async def test_upload_times_are_carried(near: Near, tmp_path: Path) -> None:
    await take(tmp_path, near.upstream, near.bundle)
    async with open_proxy(settings(tmp_path, near.upstream, offline=True)) as proxy:
        (file,) = (await proxy.index.page(BETA)).files
    assert file.uploaded
    assert {each.uploaded for each in near.created.manifest.files} == {file.uploaded}


async def test_importing_again_changes_nothing(near: Near, tmp_path: Path) -> None:
    await take(tmp_path, near.upstream, near.bundle)
    before = await seen(tmp_path)
    found = await take(tmp_path, near.upstream, near.bundle)
    assert found.is_complete
    assert (len(found.same_pages), len(found.same_files)) == (3, 6)
    assert await seen(tmp_path) == before


def test_the_same_cache_gives_the_same_bytes(near: Near, tmp_path: Path) -> None:
    for seed in ("1", "2"):
        command = (sys.executable, "-m", "proxy", "bundle", "create", tmp_path / seed, "--all")
        subprocess.run(
            [*command, "--cache-dir", near.cache, "--upstream", near.upstream],
            env=os.environ | {"PYTHONHASHSEED": seed, "TZ": f"XXX{seed}"},
            cwd=ROOT,
            check=True,
            capture_output=True,
            timeout=120,
        )
        assert (tmp_path / seed).read_bytes() == near.data


async def test_the_order_in_which_a_cache_was_filled_does_not_matter(
    near: Near, tmp_path: Path
) -> None:
    far = tmp_path / "far"
    for project in ("gamma", "alpha", "beta"):
        part = tmp_path / project
        options = ("--cache-dir", near.cache, "--upstream", near.upstream)
        run("create", part, "--project", project, *options)
        await take(far, near.upstream, part)
    await create(far, near.upstream, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == near.data


def test_tar_reads_the_archive(near: Near, tmp_path: Path) -> None:
    subprocess.run(["tar", "xf", near.bundle, "-C", tmp_path], check=True)
    blobs = near.created.manifest.blobs
    assert {path.name for path in (tmp_path / "files").iterdir()} == {b.sha256 for b in blobs}
    with tarfile.open(near.bundle) as archive:
        for member in archive:
            assert (member.isreg(), member.mode, member.mtime, member.uid) == (True, 0o644, 0, 0)


async def test_projects_by_name(near: Near, tmp_path: Path) -> None:
    namespaces = [each.namespace for each in mirrored(settings(near.cache, near.upstream)).values()]
    async with open_cache(settings(near.cache, near.upstream)) as cache:
        selection = await select_projects(cache.records, namespaces, [BETA])
        with pytest.raises(NoSuchProject):
            await select_projects(cache.records, namespaces, [BETA, ProjectName("delta")])
    await create(near.cache, near.upstream, tmp_path / "b", selection=selection)
    await take(tmp_path / "far", near.upstream, tmp_path / "b")
    assert set(await offline(tmp_path / "far", near.upstream)) == {
        "beta",
        WHEEL,
        f"{WHEEL}.metadata",
    }


def files(near: Near, *names: str) -> BundleSelection:
    """The named files, and the pages of all projects."""
    (origin,) = near.created.manifest.indexes
    return select_files(
        (origin.namespace, ProjectName(each.project), each.filename, each.digest)
        for each in near.created.manifest.files
        if each.filename in names
    )


async def test_single_files_come_with_their_metadata_and_provenance(
    near: Near, tmp_path: Path
) -> None:
    wheel = "alpha-1.0-py3-none-any.whl"
    await create(near.cache, near.upstream, tmp_path / "b", selection=files(near, wheel))
    await take(tmp_path / "far", near.upstream, tmp_path / "b")
    served = set(await offline(tmp_path / "far", near.upstream))
    assert served == {"alpha", wheel, f"{wheel}.metadata", f"{wheel}.provenance"}


async def test_a_named_file_that_is_not_cached_is_reported(near: Near, tmp_path: Path) -> None:
    (origin,) = near.created.manifest.indexes
    selection = select_files([(origin.namespace, BETA, WHEEL, "0" * 64)])
    with pytest.raises(FilesNotCached, match=f"(?s)1 file.*{WHEEL} of beta"):
        await create(near.cache, near.upstream, tmp_path / "b", selection=selection)
    assert not list(tmp_path.iterdir())


async def filled(folder: Path) -> str:
    """Fill a cache in ``folder/near`` that a test may change; return its upstream's address."""
    async with Upstream() as upstream:
        stock(upstream, folder / "dists")
        await fill(folder / "near", upstream, "alpha", "beta", "gamma")
    return upstream.url


def blob_of(cache: Path, content: bytes) -> Path:
    (found,) = (p for p in (cache / "blob").rglob("*") if p.is_file() and p.read_bytes() == content)
    return found


async def test_an_evicted_file_is_left_out_and_reported(tmp_path: Path) -> None:
    upstream = await filled(tmp_path)
    blob_of(tmp_path / "near", (tmp_path / "dists" / WHEEL).read_bytes()).unlink()
    created = await create(tmp_path / "near", upstream, tmp_path / "b")
    assert created.omitted == [f"{WHEEL} of beta"]
    await take(tmp_path / "far", upstream, tmp_path / "b")
    assert WHEEL not in await offline(tmp_path / "far", upstream)


async def test_a_page_that_is_just_being_replaced_is_not_left_out(
    near: Near, tmp_path: Path
) -> None:
    """A server replaces the page after the reader has read its head."""
    (origin,) = near.created.manifest.indexes
    place = origin.namespace, "beta"
    shutil.copytree(near.cache, tmp_path / "near")
    async with open_cache(settings(tmp_path / "near", near.upstream)) as cache:
        head = await cache.pages.head(*place)
        assert head
        document = b"another page"
        other = msgspec.structs.replace(head, digest=hashlib.sha256(document).hexdigest())

        class Server(StoredPages):
            async def document(self, namespace: str, project: str, digest: str) -> bytes | None:
                if (namespace, project) == place and digest != other.digest:
                    assert await self.put(*place, other, pack_page(document))
                return await super().document(namespace, project, digest)

        busy = replace(cache, pages=Server(cache.records))
        selection = await select_everything(cache.records, [origin.namespace])
        created = await create_bundle(busy, [origin], selection, tmp_path / "b", quiet)
    assert created.omitted == []
    (page,) = (page for page in created.manifest.pages if page.project == "beta")
    assert page.sha256 == other.digest


@pytest.mark.parametrize("damage", [b"", b"short", None])
async def test_a_damaged_file_is_not_carried_and_leaves_no_bundle(
    tmp_path: Path, damage: bytes | None
) -> None:
    upstream = await filled(tmp_path)
    content = (tmp_path / "dists" / WHEEL).read_bytes()
    blob = blob_of(tmp_path / "near", content)
    blob.write_bytes(bytes(len(content)) if damage is None else damage)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b").write_bytes(b"the last one")
    with pytest.raises(StoreDamaged):
        await create(tmp_path / "near", upstream, tmp_path / "out" / "b")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b"]
    assert (tmp_path / "out" / "b").read_bytes() == b"the last one"


async def test_a_missing_folder_is_reported(near: Near, tmp_path: Path) -> None:
    with pytest.raises(BundleIOError, match="cannot be written: No such file"):
        await create(near.cache, near.upstream, tmp_path / "nowhere" / "b")


async def test_a_server_that_runs_on_the_cache_notices(near: Near, tmp_path: Path) -> None:
    changed = asyncio.Event()

    def observe(event: Event) -> None:
        if isinstance(event, PageChanged) and event.project is None:
            changed.set()

    async with open_proxy(settings(tmp_path, near.upstream, offline=True)) as proxy:
        proxy.events.subscribe(observe)
        with pytest.raises(NoSuchProject):
            await proxy.index.page(BETA)
        await take(tmp_path, near.upstream, near.bundle)
        await asyncio.wait_for(changed.wait(), 30)
        assert [file.filename for file in (await proxy.index.page(BETA)).files] == [WHEEL]


async def test_an_import_leaves_private_names_private(near: Near, tmp_path: Path) -> None:
    changed = asyncio.Event()
    (tmp_path / "packages").mkdir()
    wheel = make_wheel(tmp_path / "packages", "beta", "9.0")
    chosen = settings(tmp_path / "far", near.upstream, offline=True, packages=tmp_path / "packages")

    def observe(event: Event) -> None:
        if isinstance(event, PageChanged) and event.project is None:
            changed.set()

    async with open_proxy(chosen) as proxy:
        assert (await proxy.index.page(BETA)).source == "private"
        wheel.unlink()
        proxy.events.subscribe(observe)
        await take(tmp_path / "far", near.upstream, near.bundle)
        await asyncio.wait_for(changed.wait(), 30)
        assert (await proxy.index.page(ALPHA)).files
        page = await proxy.index.page(BETA)
        assert page.source == "private" and not page.files


async def test_a_bundle_made_with_another_upstream_user_is_imported(tmp_path: Path) -> None:
    async with Upstream() as upstream:
        stock(upstream, tmp_path / "dists")
        upstream.credentials = ("builder", "secret-word")
        user = {"upstream_username": "builder", "upstream_password": "secret-word"}
        near, far = tmp_path / "near", tmp_path / "far"
        async with open_proxy(settings(near, upstream.url, **user)) as proxy:
            await proxy.index.page(BETA)
        await create(near, upstream.url, tmp_path / "b", using=user)
    data = (tmp_path / "b").read_bytes()
    assert b"secret-word" not in data and b"builder" not in data
    await take(far, upstream.url, tmp_path / "b")
    assert set(await offline(far, upstream.url)) == {"beta"}


async def test_files_of_indexes_outside_the_settings_are_kept_by_address(
    near: Near, tmp_path: Path
) -> None:
    await take(tmp_path, "https://index.example.com/simple/", near.bundle)
    assert await offline(tmp_path, "https://index.example.com/simple/") == {}
    assert await offline(tmp_path, near.upstream) == near.served


async def test_a_newer_page_stays_and_an_older_one_is_replaced(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    async with Upstream() as upstream:
        upstream.cache_control = "max-age=0"
        upstream.add(make_wheel(tmp_path / "dists", "beta", "1.0"))
        await fill(near, upstream, "beta")
        await create(near, upstream.url, tmp_path / "old")
        upstream.add(make_wheel(tmp_path / "dists", "beta", "2.0"))
        await fill(near, upstream, "beta")
        await create(near, upstream.url, tmp_path / "new")
    assert len((await take(far, upstream.url, tmp_path / "old")).new_pages) == 1
    found = await take(far, upstream.url, tmp_path / "new")
    assert (len(found.changed_pages), len(found.new_files)) == (1, 2)
    newest = await offline(far, upstream.url)
    found = await take(far, upstream.url, tmp_path / "old")
    assert (len(found.older_pages), len(found.same_files)) == (1, 2)
    assert await offline(far, upstream.url) == newest
    assert "beta-2.0-py3-none-any.whl" in newest


async def other_bytes(near: Near, folder: Path) -> None:
    """A cache in ``folder/far`` that has another file under a name of the bundle."""
    await take(folder / "far", near.upstream, near.bundle)
    async with open_cache(settings(folder / "far", near.upstream)) as cache:
        (key,) = [
            k for k in await cache.records.keys(RecordKind.CACHED_FILE) if k.endswith(f"/{WHEEL}")
        ]
        record = await cache.records.get(key)
        assert record
        await cache.records.forget(key)
        other = Key(RecordKind.CACHED_FILE, key.namespace, key.project, "f" * 64, key.filename)
        await cache.records.put(other, record.replace(key.digest.encode(), b"f" * 64))
        await cache.records.forget(Key(RecordKind.PAGE, key.namespace, "alpha"))


async def test_changed_bytes_under_a_known_name_are_refused_and_nothing_is_imported(
    near: Near, tmp_path: Path
) -> None:
    await other_bytes(near, tmp_path)
    before = await seen(tmp_path / "far")
    with pytest.raises(
        ConflictingBundle, match=f"(?s)1 file .*nothing was imported.*{WHEEL} of beta"
    ):
        await take(tmp_path / "far", near.upstream, near.bundle)
    assert await seen(tmp_path / "far") == before
    assert sorted(path.name for path in (tmp_path / "far" / "import").iterdir()) == ["lock"]


async def test_changed_bytes_are_imported_where_the_option_allows_it(
    near: Near, tmp_path: Path
) -> None:
    await other_bytes(near, tmp_path)
    found = await take(tmp_path / "far", near.upstream, near.bundle, accept_changed=True)
    assert [each.filename for each in found.conflicting] == [WHEEL]
    assert await offline(tmp_path / "far", near.upstream) == near.served
    assert (await take(tmp_path / "far", near.upstream, near.bundle)).is_complete


async def test_a_bundle_that_is_too_large_for_the_cache_is_refused_at_once(
    near: Near, tmp_path: Path
) -> None:
    total = near.created.manifest.total_size
    with pytest.raises(ConfigurationError, match=f"max_size: .* {total} bytes"):
        await take(tmp_path, near.upstream, near.bundle, limit=total)
    assert await seen(tmp_path) == {}
    await take(tmp_path, near.upstream, near.bundle, limit=2 * total)


async def test_an_import_does_not_evict_files_that_its_bundle_lists(tmp_path: Path) -> None:
    """Also files that the cache had before the import and has not used for long."""
    size, room, far = 300_000, 1_000_000, tmp_path / "far"
    async with Upstream() as upstream:
        for name in ("alpha", "beta", "gamma", "delta"):
            upstream.add(make_wheel(tmp_path / "dists", name, "1.0", padding=size), metadata=False)
        await fill(tmp_path / "near", upstream, "alpha", "beta")
        await fill(far, upstream, "alpha", "gamma", "delta")
    await create(tmp_path / "near", upstream.url, tmp_path / "b")
    alpha = blob_of(far, (tmp_path / "dists" / "alpha-1.0-py3-none-any.whl").read_bytes())
    async with open_cache(settings(far, upstream.url)) as cache:
        for key in stored_keys(cache.folder / "blob"):
            await cache.used.forget(key)
            old = 2000 if key == alpha.name else 1000  # seconds; the others may go
            os.utime(stored_path(cache.folder / "blob", key), times=(time.time() - old,) * 2)
    options = ("--cache-dir", far, "--upstream", upstream.url)
    run("import", tmp_path / "b", *options, WAYSTATION_MAX_SIZE=str(room))
    served = await offline(far, upstream.url)
    assert {"alpha-1.0-py3-none-any.whl", "beta-1.0-py3-none-any.whl"} <= served.keys()
    assert sum(map(len, served.values())) < room


async def test_two_indexes_that_are_one_here_are_refused(tmp_path: Path) -> None:
    async with Upstream() as upstream:
        stock(upstream, tmp_path / "dists")
        user = {"upstream_username": "builder", "upstream_password": "secret-word"}
        for more in ({}, user):
            async with open_proxy(settings(tmp_path / "near", upstream.url, **more)) as proxy:
                await proxy.index.page(BETA)
        origins = [
            *mirrored(settings(tmp_path / "near", upstream.url)).values(),
            *mirrored(settings(tmp_path / "near", upstream.url, **user)).values(),
        ]
        await create(tmp_path / "near", upstream.url, tmp_path / "b", origins=origins)
    with pytest.raises(BadBundle, match="two of its indexes are the same index"):
        await take(tmp_path / "far", upstream.url, tmp_path / "b")


async def changed_upstream(folder: Path) -> str:
    """A cache in ``folder/near`` that still serves its first bytes; its upstream's address."""
    async with Upstream() as upstream:
        upstream.cache_control = "max-age=0"
        upstream.add(make_wheel(folder / "dists", "beta", "1.0"))
        await fill(folder / "near", upstream, "beta")
        upstream.add(make_wheel(folder / "other", "beta", "1.0", files={"more.py": b"evil"}))
        await fill(folder / "near", upstream, "beta")
    return upstream.url


async def test_both_caches_serve_the_first_seen_bytes(tmp_path: Path) -> None:
    """Although the page in the bundle lists other bytes now."""
    upstream = await changed_upstream(tmp_path)
    before = await offline(tmp_path / "near", upstream)
    assert before[WHEEL] == (tmp_path / "dists" / WHEEL).read_bytes()
    await create(tmp_path / "near", upstream, tmp_path / "b")
    await take(tmp_path / "far", upstream, tmp_path / "b")
    changed = hashlib.sha256((tmp_path / "other" / WHEEL).read_bytes()).hexdigest()
    (page,) = [
        value for name, value in (await seen(tmp_path / "far")).items() if "document" in name
    ]
    assert changed.encode() in unpack_page(page[32:])
    assert await offline(tmp_path / "far", upstream) == before


async def test_bytes_that_contradict_a_first_seen_digest_conflict(
    near: Near, tmp_path: Path
) -> None:
    (origin,) = near.created.manifest.indexes
    other = FirstSeenFile("f" * 64, None, 10)
    async with open_cache(settings(tmp_path, near.upstream)) as cache:
        await cache.records.put(
            Key(RecordKind.DIGEST_HISTORY, origin.namespace, "beta"),
            encode_digest_history({WHEEL: other}),
        )
    with pytest.raises(ConflictingBundle, match=f"{WHEEL} of beta"):
        await take(tmp_path, near.upstream, near.bundle)
    await take(tmp_path, near.upstream, near.bundle, accept_changed=True)
    assert await offline(tmp_path, near.upstream) == near.served
