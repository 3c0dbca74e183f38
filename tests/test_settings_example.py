"""The example file explains every setting, with its true default."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from proxy.config.access_table import (
    AccessTable,
    CertificatesTable,
    FrontProxyTable,
    LdapTable,
    OidcRuleTable,
    OidcTable,
)
from proxy.config.fact_tables import POLICY_TABLES, AdvisoriesTable
from proxy.config.index_tables import INDEX_TABLES
from proxy.config.keep_table import KeepTable
from proxy.config.loading import load_settings
from proxy.config.operation_tables import AuditTable, LimitsTable, TracesTable, WebhookTable
from proxy.config.policy_tables import ExemptTable
from proxy.config.settings import Settings
from proxy.config.storage_table import StorageTable
from proxy.config.upstream_settings import UpstreamSettings
from proxy.errors import ConfigurationError

EXAMPLE = Path(__file__).parent.parent / "settings.example.toml"
TEXT = EXAMPLE.read_text(encoding="utf-8")
KEEP = TEXT.split("# [[keep]]")[1].split("\n\n")[0]
INDEXES = TEXT.split("# indexes = {}")[1].split("# --- ")[0]
POLICIES = TEXT.split("# policies = {}")[1].split("\n\n")[0]
ADVISORIES = TEXT.split("# advisories = unset")[1].split("\n\n")[0]
LIMITS = TEXT.split("# limits = unset")[1].split("\n\n")[0]
TRACES = TEXT.split("# traces = unset")[1].split("\n\n")[0]
WEBHOOKS = TEXT.split("# webhooks = {}")[1].split("\n\n")[0]
AUDIT = TEXT.split("# audit = unset")[1].split("\n\n")[0]
ACCESS = TEXT.split("# access = unset")[1].split("\n# --- ")[0]
STORAGE = TEXT.split("# storage = unset")[1].split("\n\n")[0]
EXEMPT = TEXT.split("# exempt = []")[1].split("\n\n")[0]
TOP = TEXT
for tables in (
    *(INDEXES, POLICIES, ADVISORIES, AUDIT, TRACES, LIMITS, ACCESS, EXEMPT, KEEP),
    *(STORAGE, WEBHOOKS),
):
    TOP = TOP.replace(tables, "")
SHOWN = dict(re.findall(r"^# ([a-z_]+) = (.+?)(?:  +#.*)?$", TOP, re.MULTILINE))


def test_the_example_itself_changes_nothing() -> None:
    assert load_settings({}, EXAMPLE).origins == {}


def test_every_default_is_a_valid_value() -> None:
    defaults = Settings()  # validates no default: that would take time at every start
    assert Settings(**{name: getattr(defaults, name) for name in Settings.model_fields}) == defaults


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


@pytest.mark.parametrize("table", list(INDEX_TABLES.values()))
def test_the_example_mentions_every_key_of_an_index(table: type[Any]) -> None:
    given = uncommented(INDEXES) | uncommented(POLICIES) | uncommented(ADVISORIES)
    kind = table.model_fields["kind"].annotation.__args__[0]
    shown = next(each for each in given["indexes"].values() if each["kind"] == kind)
    inherited = set(UpstreamSettings.model_fields) & set(table.model_fields)
    assert set(shown) == set(table.model_fields) - inherited
    assert load_settings(given).settings.indexes


def uncommented(tables: str) -> dict[str, Any]:
    return tomllib.loads(re.sub(r"^# ?", "", tables, flags=re.MULTILINE))


DEFAULTS_SHOWN = (
    *("mode", "batch", "unknown", "locked", "sdists", "prereleases", "legacy"),
    *("security_fixes", "fix_severity", "fix_sources", "fix_loose", "severity", "only_if_fixed"),
    *("scope", "on_failure", "require"),
)


def test_the_example_mentions_every_key_of_advisories() -> None:
    given = uncommented(ADVISORIES)
    assert set(given["advisories"]) == set(AdvisoriesTable.model_fields)
    table = load_settings(given).settings.advisories
    assert table is not None
    assert (table.every, table.max_age) == (3600.0, 3 * 86400.0)


def test_the_example_mentions_every_key_of_the_audit_with_its_default() -> None:
    given = uncommented(AUDIT)
    assert set(given["audit"]) == set(AuditTable.model_fields)
    table = load_settings(given).settings.audit
    assert table is not None
    shown = table.model_copy(update={"folder": None, "lines": None})
    assert shown == AuditTable()


def test_the_example_mentions_every_key_of_traces() -> None:
    given = uncommented(TRACES)
    assert set(given["traces"]) == set(TracesTable.model_fields)
    table = load_settings(given).settings.traces
    assert table
    assert table.sample == 1.0


def test_the_example_mentions_every_key_of_a_webhook() -> None:
    given = uncommented(WEBHOOKS)
    (table,) = given["webhooks"].values()
    assert set(table) == set(WebhookTable.model_fields)
    assert load_settings(given).settings.webhooks["ci"].timeout == 10.0


def test_the_example_mentions_every_key_of_the_limits() -> None:
    given = uncommented(LIMITS)
    assert set(given["limits"]) == set(LimitsTable.model_fields)
    assert load_settings(given).settings.limits


def test_the_example_mentions_every_key_of_storage_with_its_default() -> None:
    given = uncommented(STORAGE)
    assert set(given["storage"]) == set(StorageTable.model_fields)
    table = load_settings(given).settings.storage
    assert table
    assert (table.redirect, table.evict_every) == (False, 3600.0)


@pytest.mark.parametrize("kind", sorted(POLICY_TABLES))
def test_the_example_mentions_every_key_of_a_policy_with_its_look(kind: str) -> None:
    table = POLICY_TABLES[kind]
    shown = [each for each in uncommented(POLICIES)["policies"].values() if each["kind"] == kind]
    assert [set(each) for each in shown] == [set(table.model_fields)]
    assert shown[0]["show"] == table.default_look
    for key in DEFAULTS_SHOWN:
        if key in table.model_fields:
            assert shown[0][key] == table.model_fields[key].default


def test_the_example_mentions_every_key_of_an_exemption() -> None:
    given = uncommented(EXEMPT)
    (row,) = given["exempt"]
    assert set(row) == set(ExemptTable.model_fields)
    given |= uncommented(POLICIES) | uncommented(ADVISORIES)
    assert load_settings(given).settings.exempt[0].until


ACCESS_TABLES: dict[str, Any] = {
    "proxy": FrontProxyTable,
    "certificates": CertificatesTable,
    "ldap": LdapTable,
}


def test_the_example_mentions_every_key_of_access_with_its_default() -> None:
    given = uncommented(ACCESS)
    shown = given["access"]
    assert set(shown) == set(AccessTable.model_fields)
    for name in ("token_max_age", "hide_names", "anonymous"):
        assert shown[name] == AccessTable.model_fields[name].default
    for name, table in ACCESS_TABLES.items():
        fields = table.model_fields
        assert set(shown[name]) == {field.alias or name for name, field in fields.items()}
    (issuer,) = shown["oidc"].values()
    assert set(issuer) == set(OidcTable.model_fields)
    assert set(issuer["allow"][0]) == set(OidcRuleTable.model_fields)
    del shown["certificates"], shown["ldap"]["ca"]  # these files do not exist
    assert load_settings(given).settings.access


def test_the_example_names_every_setting_that_an_upstream_may_have_of_its_own() -> None:
    listed = TEXT.split("that are explained below: ")[1].split(".")[0]
    assert listed.replace("#", "").replace(",", "").split() == list(UpstreamSettings.model_fields)


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
