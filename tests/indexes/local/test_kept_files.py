"""Kept files: found by digest and name, and verified once."""

from __future__ import annotations

from pathlib import Path

from proxy.indexes import KeptFiles
from tests.support.clock import Clock
from tests.support.content import read_blob, sha256
from tests.support.directories import reads_of
from tests.support.distributions import make_wheel
from tests.support.records import CountedRecords


def kept_files(folder: Path, records: CountedRecords, clock: Clock) -> KeptFiles:
    return KeptFiles("private", folder, records, clock, extra_files=True)


async def test_files_of_one_name_are_found_by_their_digests(tmp_path: Path, clock: Clock) -> None:
    folder, digests = tmp_path / "kept", []
    for number in range(2):
        wheel = make_wheel(tmp_path / str(number), "foo", "1.0", requires=["bar"] * number)
        digests.append(sha256(wheel.read_bytes()))
        (folder / digests[-1]).mkdir(parents=True)
        wheel.rename(folder / digests[-1] / wheel.name)
    (folder / digests[0] / f"{wheel.name}.asc").write_bytes(b"signed")
    kept = kept_files(folder, CountedRecords(), clock)
    places = [(digest, wheel.name) for digest in digests]
    found = await kept.find([*places, ("0" * 64, wheel.name), (digests[0], "other.whl")])
    assert {place: file.sha256 for place, file in found.items()} == dict(
        zip(places, digests, strict=True)
    )
    assert found[places[0]].beside == (".asc",)
    assert sha256(await read_blob(await kept.blob(places[1]))) == digests[1]
    assert await read_blob(await kept.blob(places[0], ".asc")) == b"signed"
    assert b"Requires-Dist: bar" in await read_blob(await kept.blob(places[1], ".metadata"))
    await kept.close()


async def test_bytes_that_are_not_those_of_the_folder_are_not_found(
    tmp_path: Path, clock: Clock
) -> None:
    wheel = make_wheel(tmp_path / "kept" / ("0" * 64), "foo", "1.0")
    kept = kept_files(tmp_path / "kept", CountedRecords(), clock)
    assert await kept.find([("0" * 64, wheel.name)]) == {}
    await kept.close()


async def test_a_file_is_not_read_again_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    wheel, records = make_wheel(tmp_path / "dist", "foo", "1.0"), CountedRecords()
    place = sha256(wheel.read_bytes()), wheel.name
    (tmp_path / "kept" / place[0]).mkdir(parents=True)
    wheel.rename(tmp_path / "kept" / place[0] / wheel.name)
    reads = reads_of(tmp_path / "kept")
    for _ in range(2):
        kept = kept_files(tmp_path / "kept", records, clock)
        assert list(await kept.find([place])) == [place]
        await kept.close()
    assert len(reads) == 1
