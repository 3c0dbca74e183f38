"""A delta contains the changed files, and needs its base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.bundle.bundle_selection import DeltaBase, read_base
from proxy.bundle.errors import BadBundle, BaseMissing
from proxy.bundle.format import encode
from proxy.bundle.writer import CreatedBundle
from tests.support.bundle_fixtures import Near, create, fill, offline, seen, stock, take
from tests.support.bundle_tampering import members
from tests.support.distributions import make_wheel
from tests.support.upstream import Upstream

NEW = "beta-2.0-py3-none-any.whl"


@dataclass(frozen=True, repr=False)
class Weeks:
    """The bundle of one week, and the changes of the next week."""

    folder: Path
    upstream: str
    first: CreatedBundle
    second: CreatedBundle
    served: Mapping[str, bytes]

    @property
    def full(self) -> Path:
        return self.folder / "full"

    @property
    def delta(self) -> Path:
        return self.folder / "delta"


@pytest.fixture
async def weeks(tmp_path: Path) -> Weeks:
    cache = tmp_path / "near"
    async with Upstream() as upstream:
        upstream.cache_control = "max-age=0"
        stock(upstream, tmp_path / "dists")
        await fill(cache, upstream, "alpha", "beta", "gamma")
        first = await create(cache, upstream.url, tmp_path / "full")
        upstream.add(make_wheel(tmp_path / "dists", "beta", "2.0"))
        upstream.add(make_wheel(tmp_path / "dists", "delta", "1.0"))
        await fill(cache, upstream, "beta", "delta")
    base = read_base(tmp_path / "full")
    second = await create(cache, upstream.url, tmp_path / "delta", base=base)
    served = await offline(cache, upstream.url)
    return Weeks(tmp_path, upstream.url, first, second, served)


async def test_a_delta_carries_only_changed_files_and_lists_all(weeks: Weeks) -> None:
    manifest = weeks.second.manifest
    assert manifest.base == weeks.first.digest
    carried = {each.filename for each in manifest.files if each.sha256 in manifest.carried_files}
    assert carried == {
        *(NEW, f"{NEW}.metadata"),
        *("delta-1.0-py3-none-any.whl", "delta-1.0-py3-none-any.whl.metadata"),
    }
    pages = {each.project for each in manifest.pages if each.sha256 in manifest.carried_documents}
    assert pages == {"beta", "delta"}
    assert len(manifest.files) == len(weeks.first.manifest.files) + 4
    assert len([name for name in members(weeks.delta) if "/" in name]) == 6


async def test_a_delta_completes_a_cache_that_has_its_base(weeks: Weeks) -> None:
    far = weeks.folder / "far"
    await take(far, weeks.upstream, weeks.full)
    found = await take(far, weeks.upstream, weeks.delta)
    assert (len(found.new_files), len(found.same_files)) == (4, 6)
    assert [page.project for page in found.new_pages] == ["delta"]
    assert [page.project for page in found.changed_pages] == ["beta"]
    assert await offline(far, weeks.upstream) == weeks.served
    assert (await take(far, weeks.upstream, weeks.delta)).is_complete
    assert len((await take(far, weeks.upstream, weeks.full)).older_pages) == 1
    assert await offline(far, weeks.upstream) == weeks.served


async def test_a_delta_without_its_base_is_refused_and_the_base_named(weeks: Weeks) -> None:
    far = weeks.folder / "far"
    with pytest.raises(BaseMissing, match=f"sha256:{weeks.first.digest}") as caught:
        await take(far, weeks.upstream, weeks.delta)
    assert "alpha-1.0.tar.gz of alpha" in caught.value.missing
    assert "the page of gamma" in caught.value.missing
    assert "alpha-1.0-py3-none-any.whl.provenance of alpha" in caught.value.missing
    assert await seen(far) == {}


async def test_one_missing_file_of_the_base_is_named(weeks: Weeks) -> None:
    far = weeks.folder / "far"
    await take(far, weeks.upstream, weeks.full)
    (sdist,) = (f for f in weeks.first.manifest.files if f.filename.endswith(".tar.gz"))
    (far / "blob" / sdist.sha256[:2] / sdist.sha256).unlink()
    before = await seen(far)
    with pytest.raises(BaseMissing) as caught:
        await take(far, weeks.upstream, weeks.delta)
    assert caught.value.missing == ["alpha-1.0.tar.gz of alpha"]
    assert await seen(far) == before


async def test_a_delta_needs_the_contents_of_its_base_not_its_import(weeks: Weeks) -> None:
    """An import checks the contents of the base, not the way by which they came."""
    far = weeks.folder / "far"
    await create(weeks.folder / "near", weeks.upstream, weeks.folder / "everything")
    await take(far, weeks.upstream, weeks.folder / "everything")
    assert (await take(far, weeks.upstream, weeks.delta)).is_complete


async def test_a_delta_builds_on_a_delta(weeks: Weeks) -> None:
    base = read_base(weeks.delta)
    third = await create(weeks.folder / "near", weeks.upstream, weeks.folder / "third", base=base)
    assert third.manifest.base == weeks.second.digest
    assert list(third.manifest.members()) == []
    far = weeks.folder / "far"
    await take(far, weeks.upstream, weeks.full)
    with pytest.raises(BaseMissing, match=f"sha256:{weeks.second.digest}"):
        await take(far, weeks.upstream, weeks.folder / "third")
    await take(far, weeks.upstream, weeks.delta)
    assert (await take(far, weeks.upstream, weeks.folder / "third")).is_complete


async def test_a_manifest_serves_as_a_base_like_its_bundle(weeks: Weeks) -> None:
    (weeks.folder / "manifest.json").write_bytes(encode(weeks.first.manifest))
    base = read_base(weeks.folder / "manifest.json")
    assert base == DeltaBase(weeks.first.digest, weeks.first.manifest) == read_base(weeks.full)
    await create(weeks.folder / "near", weeks.upstream, weeks.folder / "same", base=base)
    assert (weeks.folder / "same").read_bytes() == weeks.delta.read_bytes()


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": 1}', b"hello" * 500])
def test_a_file_of_another_kind_is_refused_as_a_base(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "base").write_bytes(content)
    with pytest.raises(BadBundle, match=str(tmp_path / "base")):
        read_base(tmp_path / "base")


async def test_a_delta_contains_a_page_of_another_index_with_known_bytes(
    near: Near, tmp_path: Path
) -> None:
    """The importing cache stores pages by index, and has none of this index."""
    url = near.created.manifest.indexes[0].url
    other = near.created.manifest
    moved = encode(other).replace(url.encode(), b"https://index.example.com/simple/")
    (tmp_path / "base.json").write_bytes(moved)
    base = read_base(tmp_path / "base.json")
    made = await create(near.cache, near.upstream, tmp_path / "delta", base=base)
    assert len(made.manifest.documents) == 4
    assert made.manifest.blobs == ()
