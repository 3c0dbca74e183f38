"""Object stores are opened by their address."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.errors import ConfigurationError
from proxy.scale import open_object_store


async def test_a_folder_is_a_store(tmp_path: Path) -> None:
    async with open_object_store(f"file:{tmp_path}/files") as store:
        await store.put_async("a/b", b"bytes")
        found = await store.get_async("a/b")
        assert bytes(await found.bytes_async()) == b"bytes"
    assert (tmp_path / "files/a/b").read_bytes() == b"bytes"


async def test_the_prefix_is_a_part_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    async with open_object_store("s3://bucket/team/files") as store:
        assert (repr(store)) == 'S3Store(bucket="bucket", prefix="team/files")'


async def test_what_the_environment_lacks_is_an_error_of_the_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(ConfigurationError, match="Account must be specified") as error:
        async with open_object_store("az://container"):
            pass
    assert error.value.key == "storage.files"
    assert "Debug" not in str(error.value)
