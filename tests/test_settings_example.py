"""The example file explains every setting, with its true default."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from proxy.config.index_tables import FallthroughTable, LocalTable, MirrorTable
from proxy.config.keep_table import KeepTable
from proxy.config.loading import load_settings
from proxy.config.settings import Settings
from proxy.errors import ConfigurationError

EXAMPLE = Path(__file__).parent.parent / "settings.example.toml"
TEXT = EXAMPLE.read_text(encoding="utf-8")
KEEP = TEXT.split("# [[keep]]")[1].split("\n\n")[0]
TOP = TEXT.split("# [indexes.private]")[0] + TEXT.split('of = ["private", "corporate"]')[1]
TOP = TOP.replace(KEEP, "")
SHOWN = dict(re.findall(r"^# ([a-z_]+) = (.+?)(?:  +#.*)?$", TOP, re.MULTILINE))


def test_the_example_itself_changes_nothing() -> None:
    assert load_settings({}, EXAMPLE).origins == {}


def test_the_example_mentions_every_setting_and_no_other() -> None:
    assert set(SHOWN) == set(Settings.model_fields)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_the_default_shown_is_the_default(name: str) -> None:
    default: Any = Settings.model_fields[name].default
    if SHOWN[name] == "unset":
        assert default is None
    else:
        shown = tomllib.loads(f"{name} = {SHOWN[name]}")
        assert getattr(load_settings(shown).settings, name) == default


@pytest.mark.parametrize("table", [LocalTable, MirrorTable, FallthroughTable])
def test_the_example_mentions_every_key_of_an_index(table: type[Any]) -> None:
    full = TEXT.split("# [indexes.private]")[1].split("# --- The cache")[0]
    uncommented = re.sub(r"^# ?", "", "# [indexes.private]" + full, flags=re.MULTILINE)
    tables = tomllib.loads(uncommented)["indexes"].values()
    kind = table.model_fields["kind"].annotation.__args__[0]
    shown = next(each for each in tables if each["kind"] == kind)
    assert set(shown) == set(table.model_fields)
    assert load_settings({"indexes": tomllib.loads(uncommented)["indexes"]}).settings.indexes


def test_the_example_mentions_every_key_of_a_keep_table() -> None:
    given = tomllib.loads(re.sub(r"^# ?", "", "# [[keep]]" + KEEP, flags=re.MULTILINE))
    (table,) = given["keep"]
    assert set(table) == set(KeepTable.model_fields)
    assert load_settings(given).settings.keep[0].names == ["acme-*", "requests"]
    for name, field in KeepTable.model_fields.items():
        if name in ("every", "sdists", "all_files"):
            assert table[name] == field.default


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sources", []),
        ("python", ["2.7"]),
        ("platform", ["amiga"]),
        ("every", 0),
        ("names", ["a b"]),
        ("versions", "newest"),
        ("latest", 0),
        ("sdists", "few"),
        ("max_file_size", "big"),
        ("nonsense", 1),
    ],
)
def test_a_wrong_keep_table_is_reported_with_its_key(key: str, value: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"keep": [{"sources": ["top"], key: value}]})
    assert caught.value.key.startswith(f"keep.0.{key}")
    assert "waystation settings" in caught.value.remedy
