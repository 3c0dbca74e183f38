"""Keys of records: their texts on disk, their parts, and the properties of their kinds."""

from __future__ import annotations

import pytest

from proxy.storage.keys import Key, RecordKind

FILE = ("0a1b", "demo", "sha1-ff", "demo-1.0.zip")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (Key(RecordKind.PAGE, "0a1b", "demo"), "page/0a1b/demo"),
        (Key(RecordKind.DOCUMENT, "0a1b", "demo"), "document/0a1b/demo"),
        (Key(RecordKind.CACHED_FILE, *FILE), "held/0a1b/demo/sha1-ff/demo-1.0.zip"),
        (Key(RecordKind.PROVENANCE, *FILE), "provenance/0a1b/demo/sha1-ff/demo-1.0.zip"),
        (Key(RecordKind.DIGEST_HISTORY, "0a1b", "demo"), "seen/0a1b/demo"),
        (Key(RecordKind.CHANGED_FILE, *FILE), "changed/0a1b/demo/sha1-ff/demo-1.0.zip"),
        (Key(RecordKind.INSTALL_HISTORY, "main", "demo"), "together/main/demo"),
        (Key(RecordKind.CLAIM, "%2Fsrv", "demo"), "claim/%2Fsrv/demo"),
        (Key(RecordKind.LAST_USED, "ff"), "used/ff"),
        (Key(RecordKind.PINS, "a/b"), "pin/a/b"),
        (Key(RecordKind.KEEP_STATE, "a"), "kept/a"),
        (Key(RecordKind.LOCAL_FILES, "/srv/packages"), "local//srv/packages"),
        (Key(RecordKind.LOCAL_METADATA, "ff"), "metadata/ff"),
    ],
)
def test_the_text_of_a_key_is_as_caches_have_it(key: Key, text: str) -> None:
    assert key == text
    again = Key.parse(text)
    assert again.kind is key.kind and again.kind is not None
    parts = [getattr(again, name) for name in again.kind.parts]
    assert Key(again.kind, *parts) == text


def test_a_part_that_a_key_does_not_have_is_empty() -> None:
    key = Key(RecordKind.LAST_USED, "ff")
    assert (key.project, key.filename, key.owner, key.digest) == ("", "", "", "ff")
    assert Key.parse("page").project == Key.parse("page/x").project == ""


def test_a_kind_of_another_version_is_none() -> None:
    key = Key.parse("newer/x/demo")
    assert (key.kind, key.project) == (None, "")


def test_kinds_that_are_carried_or_upstreams_belong_to_a_project() -> None:
    assert {kind for kind in RecordKind if kind.is_carried} == {
        *(RecordKind.PAGE, RecordKind.DOCUMENT, RecordKind.CACHED_FILE, RecordKind.PROVENANCE),
    }
    for kind in RecordKind:
        assert kind.is_upstream or not kind.is_carried, kind
        assert kind.is_by_project or not kind.is_upstream, kind
