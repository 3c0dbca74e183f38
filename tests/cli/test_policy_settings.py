"""Wrong tables of policies are reported with their key, and the values in force are printed."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.settings import as_toml
from proxy.composition import describe, policy_remarks, resolve_tree
from proxy.config import MirrorTable, load_settings
from proxy.errors import ConfigurationError

WEEK = {"kind": "cooldown", "age": "7d"}
URL = "https://index.example.com/simple/"
MAIN = {"kind": "mirror", "url": URL}
ROW = {"policy": ["week"], "project": "certifi", "forever": True, "reason": "time-critical"}


@pytest.mark.parametrize(
    ("given", "key", "said"),
    [
        ({"policies": {"Week": WEEK}}, "policies.Week", "not a name of a policy"),
        ({"policies": {"w" * 41: WEEK}}, "policies." + "w" * 41, "at most 40"),
        ({"policies": {"week": {"age": "7d"}}}, "policies.week", "kinds are 'deny', 'allow'"),
        ({"policies": {"week": {"kind": "age"}}}, "policies.week", "none of 'deny', 'allow'"),
        ({"policies": {"week": {**WEEK, "ages": 1}}}, "policies.week.ages", "did you mean age?"),
        ({"policies": {"week": {**WEEK, "age": 7}}}, "policies.week.age", "with its unit"),
        ({"policies": {"week": {**WEEK, "age": "7"}}}, "policies.week.age", "with its unit"),
        ({"policies": {"week": {**WEEK, "age": "0d"}}}, "policies.week.age", "with its unit"),
        ({"policies": {"week": {**WEEK, "age": "P"}}}, "policies.week.age", "with its unit"),
        ({"policies": {"week": {**WEEK, "age": "999999d"}}}, "policies.week.age", "100 years"),
        ({"policies": {"week": {**WEEK, "mode": "try"}}}, "policies.week.mode", "'observe'"),
        (
            {"policies": {"no": {"kind": "deny", "versions": {"a": "1.0"}}}},
            "policies.no.versions.a.0",
            "not a version specifier",
        ),
        (
            {"policies": {"no": {"kind": "deny", "versions": {"a b": "==1.0"}}}},
            "policies.no.versions",
            "not a project name",
        ),
        (
            {"policies": {"no": {"kind": "deny", "digests": ["sha256:12"]}}},
            "policies.no.digests.0",
            "digest",
        ),
        ({"policies": {"x": {**WEEK, "projects": ["a b"]}}}, "policies.x.projects", "pattern"),
        (
            {"indexes": {"main": {**MAIN, "policies": ["week"]}}},
            "indexes.main.policies",
            "there is no policy 'week'",
        ),
        (
            {"indexes": {"main": {**MAIN, "policies": ["weak"]}}, "policies": {"week": WEEK}},
            "indexes.main.policies",
            "the policies are: week",
        ),
        ({"cooldown": "3d", "indexes": {"main": MAIN}}, "cooldown", "beside [indexes]"),
        ({"cooldown": "3"}, "cooldown", "with its unit"),
        ({"cooldown": "3d", "policies": {"cooldown": WEEK}}, "policies.cooldown", "already"),
        ({"exempt": [ROW]}, "exempt.0.policy", "there is no policy 'week'"),
        ({"exempt": [{**ROW, "policy": ["*"]}]}, "exempt.0.policy", "there is no policy '*'"),
    ],
)
def test_a_wrong_policy_is_reported_with_its_key(
    given: dict[str, Any], key: str, said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(given, None, resolve_tree)
    (problem,) = caught.value.parts
    assert problem.key == key
    assert said in str(problem)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"forever": False}, "it has no end"),
        ({"until": "2026-12-24"}, "it has an end and lasts forever"),
        ({"project": None}, "name a project or a digest"),
        ({"until": "soon", "forever": False}, "date"),
        ({"reason": ""}, "reason"),
        ({"version": "2"}, "not a version specifier"),
    ],
)
def test_a_wrong_exemption_is_reported(fields: dict[str, Any], said: str) -> None:
    row = {key: value for key, value in {**ROW, **fields}.items() if value is not None}
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"policies": {"week": WEEK}, "exempt": [row]})
    assert caught.value.key.startswith("exempt.0")
    assert said in str(caught.value)


MALWARE = {"policies": {"bad": {"kind": "malware"}}, "advisories": {"source": "osv"}}
DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("fields", "accepted"),
    [
        ({"project": "certifi"}, False),
        ({"digest": DIGEST}, False),
        ({"project": "certif*", "version": "==1"}, False),
        ({"project": "*", "digest": DIGEST}, False),
        ({"project": "certifi", "version": "==1"}, True),
        ({"project": "certifi", "digest": DIGEST}, True),
    ],
)
def test_exemptions_from_malware_are_narrow(
    fields: dict[str, str], accepted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "osv").mkdir()
    monkeypatch.chdir(tmp_path)
    row = {"policy": ["bad"], "forever": True, "reason": "false alarm", **fields}
    if accepted:
        assert load_settings({**MALWARE, "exempt": [row]}).settings.exempt
        return
    with pytest.raises(ConfigurationError, match="too broad for bad, which refuses malware"):
        load_settings({**MALWARE, "exempt": [row]})


def test_check_names_what_has_no_effect() -> None:
    given = {
        "policies": {"week": WEEK, "month": WEEK},
        "indexes": {"main": {**MAIN, "policies": ["week"], "as_of": "2026-05-01"}},
        "exempt": [
            {**ROW, "until": "2026-12-24", "forever": False},
            {**ROW, "until": "2026-12-25", "forever": False},
        ],
    }
    settings = load_settings(given, None, resolve_tree).settings
    end = datetime(2026, 12, 24, tzinfo=UTC).timestamp()
    unused = "policies.month: no index has it in its policies"
    assert list(policy_remarks(settings, end - 1)) == [unused]
    ended = "exempt.0: it ended at 2026-12-24T00:00:00Z"
    assert list(policy_remarks(settings, end)) == [unused, ended]
    lines = list(describe(resolve_tree(settings)))
    assert lines[1].strip() == "(as of 2026-05-01T00:00:00Z; policies: week)"


@pytest.mark.parametrize("age", ["7d", "P7D", "168h", "1w", "P1W", "PT168H", "P6DT24H", "604800s"])
def test_an_age_has_a_unit(age: str) -> None:
    from proxy.config import age_seconds

    table = load_settings({"policies": {"week": {**WEEK, "age": age}}}).settings.policies["week"]
    assert age_seconds(table.age) == 7 * 86400  # type: ignore[union-attr]


def test_the_short_form_is_a_policy_on_the_upstream_and_may_have_exemptions() -> None:
    given = {"cooldown": "3d", "exempt": [{**ROW, "policy": ["cooldown"]}], "upstream": URL}
    loaded = load_settings(given, None, resolve_tree)
    named = resolve_tree(loaded.settings).named
    tables = {name: node.table for name, node in named.items()}
    assert isinstance(tables["upstream"], MirrorTable)
    assert tables["upstream"].policies == ["cooldown"]
    assert tables["private"].policies == []
    assert loaded.settings.all_policies["cooldown"].age == "3d"  # type: ignore[union-attr]


def test_the_values_in_force_are_printed_as_a_file_with_the_same_meaning() -> None:
    given = {
        "policies": {
            "week": WEEK,
            "banned": {"kind": "deny", "versions": {"litellm": ["==1.82.7", "==1.82.8"]}},
            "wheels": {"kind": "files", "sdists": False, "max_size": "500MB"},
        },
        "exempt": [ROW, {**ROW, "until": "2026-12-24T12:00:00+01:00", "forever": False}],
        "indexes": {"main": {**MAIN, "policies": ["banned", "week"]}},
    }
    settings = load_settings(given).settings
    again = load_settings(tomllib.loads("\n".join(as_toml(settings)))).settings
    for name in ("policies", "exempt", "indexes"):
        assert getattr(again, name) == getattr(settings, name)
