"""Signed bundles, and unsigned ones where a signature is required."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import msgspec
import pytest

from proxy.bundle.errors import BadBundle
from proxy.bundle.reader import Bundle, ByteSource, discard
from proxy.bundle.signing import create_key_pair, load_signer, load_trusted_keys
from proxy.errors import ConfigurationError
from tests.support.bundle_fixtures import Near, create, offline, take
from tests.support.bundle_tampering import HEAD, archive, manifest_of, members, sealed

SIGNATURE = "signature.ed25519"


@pytest.fixture
async def signed(near: Near, tmp_path: Path) -> Path:
    """A signed bundle; its keys are ``key`` and ``key.pub`` in the same folder."""
    create_key_pair(tmp_path / "key")
    signer = load_signer(tmp_path / "key")
    await create(near.cache, near.upstream, tmp_path / "signed", signer=signer)
    return tmp_path / "signed"


def trusted(signed: Path) -> frozenset[str]:
    return load_trusted_keys([signed.with_name("key.pub")])


def verify(data: bytes, keys: frozenset[str] = frozenset()) -> Bundle:
    bundle = Bundle(ByteSource(io.BytesIO(data)), keys)
    for _ in bundle.members(discard):
        pass
    return bundle


async def test_a_bundle_signed_by_a_trusted_key_is_imported(near: Near, signed: Path) -> None:
    far = signed.parent / "far"
    await take(far, near.upstream, signed, trusted=trusted(signed))
    assert await offline(far, near.upstream) == near.served


async def test_an_unsigned_bundle_is_refused_where_keys_are_trusted(
    near: Near, signed: Path
) -> None:
    with pytest.raises(BadBundle, match="it is not signed"):
        await take(signed.parent / "far", near.upstream, near.bundle, trusted=trusted(signed))
    assert not (signed.parent / "far").exists()


async def test_a_bundle_signed_by_another_key_is_refused(near: Near, signed: Path) -> None:
    create_key_pair(signed.parent / "other")
    keys = load_trusted_keys([signed.parent / "other.pub"])
    with pytest.raises(BadBundle, match="is not among the trusted keys"):
        verify(signed.read_bytes(), keys)
    assert verify(signed.read_bytes(), keys | trusted(signed)).signature_verified


def test_a_signed_bundle_is_checked_although_no_key_is_trusted(signed: Path) -> None:
    assert verify(signed.read_bytes()).signature_verified
    parts = members(signed)
    for place in range(64):
        wrong = bytearray(parts[SIGNATURE])
        wrong[place] ^= 1
        with pytest.raises(BadBundle, match="its signature is wrong"):
            verify(archive(parts | {SIGNATURE: bytes(wrong)}))


def test_the_signature_covers_the_content(signed: Path) -> None:
    parts = members(signed)
    manifest = manifest_of(parts)
    manifest["pages"][0]["checked"] += 1
    head = msgspec.json.decode(sealed(parts, msgspec.json.encode(manifest))[HEAD])
    head["signer"] = msgspec.json.decode(parts[HEAD])["signer"]
    forged = sealed(parts, msgspec.json.encode(manifest)) | {HEAD: msgspec.json.encode(head)}
    for keys in (frozenset[str](), trusted(signed)):
        with pytest.raises(BadBundle, match="its signature is wrong"):
            verify(archive(forged), keys)


def test_a_removed_signature_is_noticed(signed: Path) -> None:
    parts = members(signed)
    signature = parts.pop(SIGNATURE)
    with pytest.raises(BadBundle, match=f"instead of {SIGNATURE} of 64 bytes"):
        verify(archive(parts))
    head = msgspec.json.decode(parts[HEAD]) | {"signer": None}
    bare = {**parts, HEAD: msgspec.json.encode(head)}
    assert not verify(archive(bare)).signature_verified  # like a bundle that was never signed
    with pytest.raises(BadBundle, match="it is not signed"):
        verify(archive(bare), trusted(signed))
    with pytest.raises(BadBundle, match="instead of"):
        verify(archive({HEAD: bare[HEAD], SIGNATURE: signature, **bare}))


def test_any_altered_byte_of_a_signed_head_is_noticed(signed: Path) -> None:
    data = signed.read_bytes()
    for place in range(512 * 4):
        wrong = bytearray(data)
        wrong[place] ^= 1 << (place % 8)
        with pytest.raises(BadBundle):
            verify(bytes(wrong))


def test_a_signer_that_is_no_key_is_refused(near: Near) -> None:
    parts = members(near.bundle)
    head = msgspec.json.decode(parts[HEAD]) | {"signer": "ff" * 32}  # no point of the curve
    forged = {HEAD: msgspec.json.encode(head), SIGNATURE: bytes(64)}
    rest = {name: data for name, data in parts.items() if name != HEAD}
    with pytest.raises(BadBundle, match="its signature is wrong"):
        verify(archive(forged | rest))


async def test_the_same_key_and_cache_give_the_same_bytes(near: Near, signed: Path) -> None:
    signer = load_signer(signed.with_name("key"))
    await create(near.cache, near.upstream, signed.with_name("again"), signer=signer)
    assert signed.with_name("again").read_bytes() == signed.read_bytes()


def test_the_private_key_is_for_its_owner_and_is_never_overwritten(tmp_path: Path) -> None:
    assert create_key_pair(tmp_path / "key") == tmp_path / "key.pub"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    content = (tmp_path / "key").read_bytes()
    with pytest.raises(FileExistsError):
        create_key_pair(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == content
    (tmp_path / "other.pub").touch()
    with pytest.raises(FileExistsError, match=r"other\.pub"):
        create_key_pair(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def openssl(*arguments: str, folder: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def test_keys_made_by_openssl_are_accepted(tmp_path: Path) -> None:
    openssl("genpkey", "-algorithm", "ed25519", "-out", "key", folder=tmp_path)
    openssl("pkey", "-in", "key", "-pubout", "-out", "key.pub", folder=tmp_path)
    assert load_trusted_keys([tmp_path / "key.pub"]) == {load_signer(tmp_path / "key").public}


def test_files_of_other_kinds_are_refused_as_keys(tmp_path: Path) -> None:
    create_key_pair(tmp_path / "key")
    openssl("genpkey", "-algorithm", "rsa", "-out", "rsa", folder=tmp_path)
    openssl("pkey", "-in", "rsa", "-pubout", "-out", "rsa.pub", folder=tmp_path)
    locked = ["-algorithm", "ed25519", "-out", "locked", "-aes256", "-pass", "pass:x"]
    openssl("genpkey", *locked, folder=tmp_path)
    (tmp_path / "text").write_text("hello")
    for name in ("key.pub", "rsa", "locked", "text", "nothing"):
        with pytest.raises(ConfigurationError, match="--sign"):
            load_signer(tmp_path / name)
    for name in ("key", "rsa.pub", "text", "nothing"):
        with pytest.raises(ConfigurationError, match="trusted_keys"):
            load_trusted_keys([tmp_path / name])
