"""Local indexes over object stores: their settings, and how they are composed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.composition.description import describe
from proxy.composition.index_tree import resolve_tree
from proxy.composition.proxy import open_proxy
from proxy.config import load_settings
from proxy.config.settings import Settings
from proxy.errors import ConfigurationError, IndexUnavailable
from proxy.model import ProjectName
from proxy.publish import Selection, Upkeep
from tests.support.content import read_blob
from tests.support.distributions import make_wheel
from tests.support.publishing import ADMIN, publish
from tests.support.upstream import Upstream

FOO = ProjectName("foo")


def settings_of(tmp_path: Path, upstream: str, **team: Any) -> Settings:
    tables = {
        "team": {"kind": "local", **team},
        "pypi": {"kind": "mirror", "url": upstream},
        "main": {"kind": "fallthrough", "of": ["team", "pypi"]},
    }
    known = {"index": "main", "cache_dir": tmp_path / "cache", "netrc": False, "retries": 0}
    return load_settings({"indexes": tables, **known}).settings


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"packages": "file:/srv/packages"}, "file:/srv/packages is a folder, and no object store"),
        ({"packages": "s3://acme", "path": "."}, "it has directories and an object store"),
        ({"packages": "s3://acme/p/"}, "s3://acme/p has the packages of the index"),
    ],
)
def test_a_wrong_place_is_reported_with_its_key(
    tmp_path: Path, table: dict[str, Any], problem: str
) -> None:
    tables = {
        "team": {"kind": "local", **table},
        "other": {"kind": "local", "packages": "s3://acme/p"},
    }
    settings = load_settings({"indexes": tables, "index": "team"}).settings
    with pytest.raises(ConfigurationError) as caught:
        resolve_tree(settings)
    key = f"indexes.{'other' if table['packages'].endswith('/p/') else 'team'}.packages"
    assert caught.value.key == key
    assert problem in str(caught.value)


@pytest.mark.parametrize("address", ["/srv/packages", "s3://key:secret@acme/p", "https://acme/p"])
def test_only_addresses_of_stores_are_taken(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"indexes\.team\.packages") as caught:
        settings_of(tmp_path, "http://127.0.0.1:1/", packages=address)
    assert "secret" not in str(caught.value)


async def test_a_store_is_described_served_and_never_asked_for_upstream(
    tmp_path: Path, bucket: str
) -> None:
    wheel = make_wheel(tmp_path / "dist", "foo", "1.0")
    async with Upstream() as upstream:
        settings = settings_of(tmp_path, upstream.url, packages=bucket, uploads=True)
        (line,) = (line for line in describe(resolve_tree(settings)) if "team:" in line)
        assert line.strip() == f"team: object store {bucket}; takes uploads"
        async with open_proxy(settings) as proxy:
            publisher = proxy.upload_targets[""]
            assert await publish(publisher, wheel, ADMIN)
            asked = len(upstream.requests)
            artifact = await proxy.index.file(FOO, wheel.name)
            assert await read_blob(artifact.blob) == wheel.read_bytes()
            await Upkeep(publisher).delete(Selection(FOO), ADMIN)
            await proxy.forget(FOO)
            assert (await proxy.index.page(FOO)).files == ()
            former = await proxy.load(settings)  # a reload opens no second one
            await proxy.retire(former)
            assert (await proxy.index.page(FOO)).files == ()
            assert len(upstream.requests) == asked
        (tmp_path / "empty").mkdir()
        without = settings_of(tmp_path, upstream.url, path=str(tmp_path / "empty"))
        async with open_proxy(without) as proxy:  # the cache remembers the private name
            with pytest.raises(IndexUnavailable, match="private name"):
                await proxy.index.page(FOO)
        assert len(upstream.requests) == asked
