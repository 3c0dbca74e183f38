"""Tables of indexes: their names, and the settings of an upstream that they set or inherit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.config import MirrorTable, Settings, UpstreamSettings, load_settings
from proxy.errors import ConfigurationError

MIRROR = {"kind": "mirror", "url": "https://index.example.com/simple/"}


def mirror(settings: Settings, name: str) -> MirrorTable:
    table = settings.indexes[name]
    assert isinstance(table, MirrorTable)
    return table


def problem(**settings: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as error:
        load_settings(settings)
    return error.value


@pytest.mark.parametrize(
    "name",
    ["Main", "a_b", "a.b", "-a", "_a", "+a", "a/b", "a b", "a\n", "", "ä", "a" * 64, "..", "a%2f"],
)
def test_a_name_that_cannot_be_in_an_address_is_refused(name: str) -> None:
    error = problem(indexes={name: MIRROR})
    assert error.key == f"indexes.{name}"
    assert "a part of an address" in error.problem


@pytest.mark.parametrize(
    "name",
    ["simple", "files", "packages", "metrics", "healthz", "readyz", "legacy", "static"],
)
def test_a_name_that_means_something_else_in_addresses_is_refused(name: str) -> None:
    error = problem(indexes={name: MIRROR})
    assert (error.key, "another meaning" in error.problem) == (f"indexes.{name}", True)


@pytest.mark.parametrize("prefix", ["/pypi", "/pypi/x"])
def test_a_name_may_not_begin_the_prefix(prefix: str) -> None:
    assert problem(indexes={"pypi": MIRROR}, prefix=prefix).key == "indexes.pypi"
    assert load_settings({"indexes": {"pypi": MIRROR, "x": MIRROR}, "prefix": "/other/x"})


@pytest.mark.parametrize("name", ["a", "0", "pypi", "cu130", "a-b-", "a" * 63])
def test_other_names_are_fine(name: str) -> None:
    assert list(load_settings({"indexes": {name: MIRROR}}).settings.indexes) == [name]


def test_all_wrong_names_are_reported_at_once() -> None:
    error = problem(indexes={"A": MIRROR, "B": MIRROR})
    assert [part.key for part in error.parts] == ["indexes.A", "indexes.B"]


def test_a_table_inherits_what_it_does_not_set() -> None:
    tables = {"slow": {**MIRROR, "page_ttl": "1h", "retries": 0, "netrc": False}, "main": MIRROR}
    settings = load_settings({"indexes": tables, "page_ttl": 60, "retries": 5}).settings
    slow = settings.of_index(mirror(settings, "slow"))
    assert (slow.page_ttl, slow.retries, slow.netrc) == (3600, 0, False)
    assert slow.max_file_size == settings.max_file_size
    assert settings.of_index(mirror(settings, "main")) == settings


def test_everywhere_means_in_every_table_too() -> None:
    tables = {"slow": {**MIRROR, "soft_deadline": 9, "retries": 0}}
    settings = load_settings({"indexes": tables}).settings.everywhere(soft_deadline=30.0)
    slow = settings.of_index(mirror(settings, "slow"))
    assert (slow.soft_deadline, slow.retries) == (30.0, 0)


def test_every_setting_of_an_upstream_is_a_setting_of_all_that_is_inherited_if_unset() -> None:
    for name, field in UpstreamSettings.model_fields.items():
        assert name in Settings.model_fields
        assert field.default is None


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"page_ttl": -1}, "page_ttl"),
        ({"page_ttl_min": 700}, "page_ttl_min"),
        ({"page_ttl": 5, "page_ttl_min": 6}, "page_ttl_min"),
        ({"ca_bundle": "no.pem"}, "ca_bundle"),
        ({"client_certificate": "no.pem"}, "client_certificate"),
        ({"client_key": __file__}, "client_key"),
        ({"speculate": "all"}, "speculate"),
        ({"retries": 11}, "retries"),
        ({"cache_dir": "x"}, "cache_dir"),
        ({"offline": True}, "offline"),
    ],
)
def test_a_wrong_value_is_reported_with_its_key(more: dict[str, Any], key: str) -> None:
    assert problem(indexes={"main": {**MIRROR, **more}}).key == f"indexes.main.{key}"


def test_paths_in_tables_are_relative_to_the_file(tmp_path: Path) -> None:
    config = tmp_path / "conf" / "waystation.toml"
    config.parent.mkdir()
    (config.parent / "ca.pem").touch()
    config.write_text('[indexes.main]\nkind = "mirror"\nca_bundle = "ca.pem"\n')
    settings = load_settings({}, config).settings
    assert mirror(settings, "main").ca_bundle == config.parent / "ca.pem"
