"""Altered, truncated and forged bundles, and other archives, are refused."""

from __future__ import annotations

import asyncio
import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from proxy.bundle.errors import BadBundle
from proxy.bundle.format import sha256, zstd_compress
from proxy.bundle.reader import Bundle, ByteSource, discard
from tests.support.bundle_fixtures import Near, offline, seen, take
from tests.support.bundle_tampering import (
    HEAD,
    MANIFEST,
    Json,
    Members,
    altered,
    archive,
    manifest_of,
    members,
    sealed,
)


def verify(data: bytes) -> Bundle:
    bundle = Bundle(ByteSource(io.BytesIO(data)))
    for _ in bundle.members(discard):
        pass
    return bundle


def refused(data: bytes) -> str:
    with pytest.raises(BadBundle) as caught:
        verify(data)
    return caught.value.problem


def test_an_unchanged_forgery_is_accepted(near: Near) -> None:
    assert archive(members(near.bundle)) == near.data
    assert altered(near.bundle, lambda manifest: None) == near.data
    assert verify(near.data).digest == near.created.digest


@given(place=st.integers(0), mask=st.integers(1, 255))
def test_any_altered_byte_is_noticed(near: Near, place: int, mask: int) -> None:
    data = bytearray(near.data)
    data[place % len(data)] ^= mask
    refused(bytes(data))


def test_a_flipped_bit_in_every_byte_of_headers_and_metadata_is_noticed(near: Near) -> None:
    parts = members(near.bundle)
    first = archive({name: parts[name] for name in (HEAD, MANIFEST)})[:-1024]
    for place in range(len(first)):
        data = bytearray(near.data)
        data[place] ^= 1 << (place % 8)
        refused(bytes(data))


@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(place=st.integers(0), mask=st.integers(1, 255))
def test_an_altered_bundle_leaves_the_cache_empty(
    near: Near, tmp_path: Path, place: int, mask: int
) -> None:
    data = bytearray(near.data)
    data[place % len(data)] ^= mask
    (tmp_path / "b").write_bytes(data)
    with pytest.raises(BadBundle):
        asyncio.run(take(tmp_path / "far", near.upstream, tmp_path / "b"))
    assert asyncio.run(seen(tmp_path / "far")) == {}
    left = [path for path in (tmp_path / "far").rglob("*") if path.is_file()]
    assert all(path.parent.name == "records" or path.name == "lock" for path in left)


@pytest.mark.slow
def test_a_truncated_bundle_is_refused_wherever_it_ends(near: Near) -> None:
    size = len(near.data)
    edges = {at + by for at in range(0, size, 512) for by in (-1, 0, 1)}
    ends = edges | {*range(1100)} | {*range(size - 1100, size)} | {*range(0, size, 61)}
    for end in sorted(ends & {*range(size)}):
        assert refused(near.data[:end]).startswith("it ends too early")


@pytest.mark.parametrize("more", [b"\0", b"x", bytes(512), bytes(10240)])
def test_bytes_after_the_end_are_refused(near: Near, more: bytes) -> None:
    assert "bytes after its end" in refused(near.data + more)


def zipped() -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as file:
        file.writestr("x", "y" * 1000)
    return written.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends too early"),
        (b"hello", "ends too early"),
        (bytes(10240), "the end of the archive"),
        (b"x" * 2048, "no header of a tar archive"),
        (zipped(), "no header of a tar archive"),
        (gzip.compress(zipped() * 9, mtime=0), "ends too early"),
        (archive({"flask/setup.py": b"evil"}), "a file 'flask/setup.py' of 4 bytes"),
        (archive({HEAD: b"x" * 5000}), "a file 'waystation-bundle.json' of 5000 bytes"),
        (archive({HEAD: b"{}"}), "its head is invalid"),
        (archive({HEAD: b'{"format": "other", "schema": 1}'}), "something else"),
        (archive({HEAD: b'{"format": "waystation-bundle", "schema": 2}'}), "its schema is 2"),
    ],
)
def test_foreign_archives_are_refused(data: bytes, message: str) -> None:
    assert message in refused(data)


def info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> bytes:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size = kind, link, size
    return found.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (info("../../etc/passwd"), "a file '../../etc/passwd'"),
        (info("/etc/passwd"), "a file '/etc/passwd'"),
        (info("files/../../x"), "a file 'files/../../x'"),
        (info("files/x", tarfile.SYMTYPE, "/etc"), "a symbolic link 'files/x'"),
        (info("files/x", tarfile.LNKTYPE, "/etc/passwd"), "a hard link 'files/x'"),
        (info("files", tarfile.DIRTYPE), "a directory 'files'"),
        (info("files/x", tarfile.CHRTYPE), "a device 'files/x'"),
        (info("files/x", tarfile.BLKTYPE), "a device 'files/x'"),
        (info("files/x", tarfile.FIFOTYPE), "a pipe 'files/x'"),
        (info("x", tarfile.XHDTYPE), "something 'x'"),
        (info("x", tarfile.XGLTYPE), "something 'x'"),
        (info("x", tarfile.GNUTYPE_LONGNAME), "something 'x'"),
        (info("x", tarfile.GNUTYPE_LONGLINK), "something 'x'"),
        (info("x", tarfile.GNUTYPE_SPARSE), "something 'x'"),
        (info("a\nb\x1b[31m"), r"a file 'a\nb\x1b[31m'"),
    ],
)
def test_path_tricks_links_and_devices_are_refused_at_every_position(
    near: Near, block: bytes, message: str
) -> None:
    for place in headers(near.data):
        assert message in refused(near.data[:place] + block + near.data[place:])
    assert "does not end where" in refused(near.data[:-1024] + block + near.data[-1024:])


def headers(data: bytes) -> list[int]:
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        return [member.offset for member in found]


def test_members_twice_left_out_or_in_another_order_are_refused(near: Near) -> None:
    places = [*headers(near.data), len(near.data) - 1024]
    whole = [near.data[one:other] for one, other in pairwise(places)]
    for at, part in enumerate(whole):
        for changed in (
            [*whole[:at], part, part, *whole[at + 1 :]],
            [*whole[:at], *whole[at + 1 :]],
            [*whole[:at], *whole[at + 1 :], part][: None if at < len(whole) - 1 else 0],
        ):
            refused(b"".join([*changed, bytes(1024)]))


@pytest.mark.parametrize("field", ["mode", "uid", "gid", "mtime", "uname", "gname"])
def test_headers_of_another_form_are_refused(near: Near, field: str) -> None:
    with tarfile.open(near.bundle) as found:
        member = found.getmembers()[-1]
    start = member.offset
    setattr(member, field, "root" if field.endswith("name") else 0o777)
    changed = member.tobuf(tarfile.USTAR_FORMAT)
    assert "instead of" in refused(near.data[:start] + changed + near.data[start + 512 :])


def test_a_compression_bomb_unpacks_to_no_more_than_its_announced_size(near: Near) -> None:
    bomb = zstd_compress(bytes(64 * 2**20))
    for size in (1000, 2**20):
        described = {
            "sha256": "0" * 64,
            "size": size,
            "packed": {"sha256": sha256(bomb), "size": len(bomb)},
        }
        parts = sealed(members(near.bundle), b"{}", described) | {MANIFEST: bomb}
        assert refused(archive(parts)) in (
            f"manifest.json.zst: it does not decompress to {size} bytes",
            "its manifest is too large",
        )


@pytest.mark.parametrize("size", [2**30, 2**62])
def test_unreasonable_sizes_are_refused_before_anything_is_read(near: Near, size: int) -> None:
    for packed in (size, 100):
        described = {
            "sha256": "0" * 64,
            "size": size,
            "packed": {"sha256": "0" * 64, "size": packed},
        }
        parts = sealed(members(near.bundle), b"{}", described)
        assert refused(archive(parts)) == "its manifest is too large"


def test_a_document_of_other_content_or_size_is_refused(near: Near) -> None:
    def longer(manifest: Json) -> None:
        manifest["documents"][0]["size"] += 1
        for page in (*manifest["pages"], *manifest["provenance"]):
            page["size"] += page["sha256"] == manifest["documents"][0]["sha256"]

    assert "does not decompress to" in refused(altered(near.bundle, longer))

    def other(manifest: Json) -> None:
        wrong = "0" * 64
        right, manifest["documents"][0]["sha256"] = manifest["documents"][0]["sha256"], wrong
        for page in (*manifest["pages"], *manifest["provenance"]):
            page["sha256"] = wrong if page["sha256"] == right else page["sha256"]

    parts = members(near.bundle)
    manifest = manifest_of(parts)
    name = f"documents/{manifest['documents'][0]['sha256']}.zst"
    other(manifest)
    renamed = {f"documents/{'0' * 64}.zst" if key == name else key: parts[key] for key in parts}
    assert "does not have its digest" in refused(
        archive(sealed(renamed, msgspec.json.encode(manifest)))
    )


def put(where: str, key: str, value: object) -> Callable[[Json], object]:
    return lambda manifest: manifest[where][0].__setitem__(key, value)


def ruled(times: int = 1, **changes: object) -> Callable[[Json], object]:
    texts = dict.fromkeys(("project", "filename", "rule", "kind", "reason", "exemption"), "x")
    verdict = {**texts, "outcome": "refused", "until": None, **changes}
    rules = {"index": "main", "policies": ["week"], "verdicts": [verdict] * times}
    return lambda manifest: manifest.update(rules=rules)


def test_verdicts_in_a_manifest_are_accepted(near: Near) -> None:
    bundle = verify(altered(near.bundle, ruled()))
    assert bundle.manifest.rules


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(schema=2), "its schema is 2"),
        (lambda m: m.update(more=1), "unknown field `more`"),
        (lambda m: m.pop("files"), "missing required field `files`"),
        (lambda m: m["files"].reverse(), "not sorted"),
        (lambda m: m["files"].append(m["files"][-1]), "not sorted"),
        (lambda m: m["pages"].reverse(), "not sorted"),
        (lambda m: m["documents"].reverse(), "not sorted"),
        (lambda m: m["blobs"].append(m["blobs"][-1]), "not sorted"),
        (lambda m: m["blobs"].pop(), "lists content that it does not contain"),
        (lambda m: m["documents"].pop(), "lists content that it does not contain"),
        (lambda m: m["files"].pop(), "contains a member that it does not list"),
        (lambda m: m["blobs"][0].update(size=1), "contains a member that it does not list"),
        (lambda m: m["indexes"].append(m["indexes"][0]), "lists an index twice"),
        (put("indexes", "url", "file:///etc"), "the address of an index is not valid"),
        (put("indexes", "url", "http://127.0.0.1/\x1b[31m"), r"not valid: 'http://127.0.0.1/\x1b"),
        (
            put("indexes", "url", "https://user:word@example.com/"),
            "the address of an index is not valid",
        ),
        (put("indexes", "namespace", "../../../../x"), "namespace"),
        (put("pages", "index", 1), "an index that it does not list"),
        (put("pages", "index", -1), "index"),
        (put("pages", "project", "Alpha"), "'Alpha' is not a normalized project name"),
        (put("pages", "project", "../alpha"), "is not a normalized project name"),
        (put("pages", "checked", -5.0), "checked"),
        (put("pages", "sha256", "A" * 64), "sha256"),
        (put("pages", "sha256", "a" * 64 + "\n"), "sha256"),
        (put("pages", "checked", 1e308), "checked"),
        (put("pages", "url", "javascript:x"), "'javascript:x' is not the address of a page"),
        (
            put("pages", "url", "http://127.0.0.1/\x1b[31m"),
            r"\x1b[31m' cannot be the value of a header",
        ),
        (put("pages", "etag", "x\r\nHost: y"), r"'x\r\nHost: y' cannot be the value of a header"),
        (put("pages", "last_modified", "x\n"), r"'x\n' cannot be the value of a header"),
        (
            put("pages", "content_type", "text/html\0"),
            r"'text/html\x00' cannot be the value of a header",
        ),
        (put("pages", "\x1b[31m", 1), r"unknown field `\x1b[31m`"),
        (put("files", "stored", 1e308), "stored"),
        (put("files", "uploaded", "\x1b[31m"), r"'\x1b[31m' is not an upload time"),
        (put("files", "uploaded", "2024-01-02 03:04:05Z"), "is not an upload time"),
        (put("files", "filename", "../x-1.0.tar.gz"), "is not a valid file name"),
        (put("files", "filename", "a/x-1.0.tar.gz"), "is not a valid file name"),
        (put("files", "filename", "C:x-1.0.tar.gz"), "is not a valid file name"),
        (put("files", "filename", "x\u202e-1.0.tar.gz"), "is not a valid file name"),
        (put("files", "digest", "../../x"), "is not a digest"),
        (put("files", "digest", "0" * 64), "alpha-1.0-py3-none-any.whl has two digests"),
        (put("files", "size", -1), "size"),
        (put("files", "size", 2**63), "size"),
        (put("provenance", "filename", "alpha-1.0-py3-none-any.metadata"), "provenance is none"),
        (lambda m: m.update(rules=None), "rules"),
        (ruled(reason="x\x1b[31m"), r"'x\x1b[31m' cannot be shown"),
        (ruled(filename="x\n"), r"'x\n' cannot be shown"),
        (ruled(outcome="passed"), "outcome"),
        (ruled(until=1e308), "until"),
        (ruled(times=2), "its verdicts are not sorted"),
    ],
)
def test_manifests_that_could_do_harm_are_refused(
    near: Near, change: Callable[[Json], object], message: str
) -> None:
    assert message in refused(altered(near.bundle, change))


@pytest.mark.parametrize("content", [b"", b"null", b"[" * 100_000, b'{"schema":1}', b"\xff"])
def test_documents_that_are_no_manifests_are_refused(near: Near, content: bytes) -> None:
    assert "manifest is invalid" in refused(archive(sealed(members(near.bundle), content)))


def test_a_manifest_of_another_bundle_is_refused(near: Near) -> None:
    parts: Members = members(near.bundle)
    head = msgspec.json.decode(parts[HEAD])
    head["manifest"]["sha256"] = "0" * 64
    assert "does not have its digest" in refused(archive(parts | {HEAD: msgspec.json.encode(head)}))


async def test_a_bundle_cannot_write_to_another_index_than_it_names(
    near: Near, tmp_path: Path
) -> None:
    """The namespace in a bundle is only a claim; the importer computes it from the address."""
    index = "https://index.example.com/simple/"
    (tmp_path / "b").write_bytes(altered(near.bundle, put("indexes", "url", index)))
    await take(tmp_path / "far", near.upstream, tmp_path / "b")
    assert await offline(tmp_path / "far", near.upstream) == {}
    assert await offline(tmp_path / "far", index) == near.served
