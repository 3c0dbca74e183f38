"""Pins: which files each owner keeps from eviction."""

from __future__ import annotations

from pathlib import Path

from proxy.storage.keys import Key
from proxy.storage.pins import Pins
from proxy.storage.records import DiskRecords


async def test_pins_of_all_count_and_each_replaces_its_own(tmp_path: Path) -> None:
    records = DiskRecords(tmp_path / "records")
    pins = Pins(records)
    await pins.put("one", {"a", "b"})
    await pins.put("other", {"b", "c"})
    assert await pins.all() == {"a", "b", "c"}
    await pins.put("one", {"d"})
    assert await Pins(records).all() == {"b", "c", "d"}
    assert await pins.get("one") == {"d"}
    await pins.retain(["one"])
    assert await pins.all() == {"d"}
    await records.close()


async def test_a_damaged_record_pins_nothing(tmp_path: Path) -> None:
    records = DiskRecords(tmp_path / "records")
    await records.put(Key.parse("pin/one"), b"nonsense")
    assert await Pins(records).all() == set()
    await records.close()


async def test_what_is_pinned_by_hand_is_unpinned_by_hand_alone(tmp_path: Path) -> None:
    records = DiskRecords(tmp_path / "records")
    pins = Pins(records)
    await pins.pin(["a", "b"])
    await Pins(records).pin(["b", "c"])  # as another process does at the same time
    await pins.put("one", {"c"})
    await pins.retain([])
    assert await pins.by_hand() == {"a", "b", "c"}
    await pins.put("one", {"c"})
    await pins.unpin(["b", "c", "unknown"])
    assert await pins.by_hand() == {"a"}
    assert await pins.all() == {"a", "c"}
    await records.close()
