"""Commands go through an index with its rules: reports give the reasons, bundles the verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.distributions import make_wheel
from tests.support.running import waystation
from tests.support.upstream import Upstream

OLD, NEW, BAD = (f"aaa-{each}-py3-none-any.whl" for each in ("1.0", "2.0", "1.5"))


@pytest.fixture
def site(tmp_path: Path, upstream: Upstream) -> tuple[str | Path, ...]:
    """Three releases: one that passes by an exemption, one that is hidden, one that is yanked.

    They may all be had at another index of the same cache.
    """
    for version in ("1.0", "1.5", "2.0"):
        upstream.add(make_wheel(tmp_path / "world", "aaa", version))
    upstream.add(make_wheel(tmp_path / "world", "bbb", "1.0", requires=["aaa>=2"]))
    upstream.add(make_wheel(tmp_path / "world", "ccc", "1.0"))
    config = tmp_path / "waystation.toml"
    config.write_text(
        f"""
        index = "strict"
        [indexes.strict]
        kind = "mirror"
        url = "{upstream.url}"
        reserved = ["ccc"]
        policies = ["young", "banned", "watched"]
        [indexes.open]
        kind = "mirror"
        url = "{upstream.url}"
        [policies.young]
        kind = "deny"
        versions = {{ aaa = ["==2.0"] }}
        show = "hide"
        reason = "too young"
        [policies.banned]
        kind = "deny"
        versions = {{ aaa = ["<2"] }}
        reason = "see wiki"
        [policies.watched]
        kind = "deny"
        projects = ["bbb"]
        mode = "observe"
        reason = "to be replaced"
        [[exempt]]
        policy = ["banned"]
        project = "aaa"
        version = "==1.0"
        forever = true
        reason = "no other works"
        """
    )
    return "--config", config, "--cache-dir", tmp_path / "near"


async def test_warm_and_ready_say_which_rule_refuses_what_is_missing(
    tmp_path: Path, site: tuple[str | Path, ...], upstream: Upstream
) -> None:
    for command in ("warm", "ready"):
        for wanted, said in (
            ("aaa==2.0", "refused by rule young: aaa 2.0"),  # hidden: a resolver cannot say why
            ("bbb", "refused by rule young: aaa 2.0"),
            ("aaa==1.5", "Refused by rule banned: aaa 1.5"),  # yanked
        ):
            done = await waystation(command, wanted, *site, cwd=tmp_path)
            assert (done.status, said in done.err) == (1, True), (command, wanted, done.err)
    assert upstream.count(f"/files/{NEW}") == upstream.count(f"/files/{BAD}") == 0


async def test_a_bundle_has_what_rules_let_pass_with_their_verdicts(
    tmp_path: Path, site: tuple[str | Path, ...]
) -> None:
    other = (*site, "--index", "open")
    for wanted in ("aaa==1.0", "aaa==1.5", "bbb", "ccc"):
        (await waystation("warm", wanted, *other, cwd=tmp_path)).succeeded()
    bundle = tmp_path / "bundle"
    made = (await waystation("bundle", "create", bundle, "--all", *site, cwd=tmp_path)).succeeded()
    assert f"refused, not in the bundle: {NEW}: rule young: " in made.err
    assert "rules      banned, watched, young of strict: 1 exempted, 1 observed, 2 refused" in (
        made.out
    )
    shown = await waystation("bundle", "show", bundle, "--manifest", cwd=tmp_path)
    manifest = json.loads(shown.succeeded().out)
    names = {each["filename"] for each in manifest["files"]}
    assert {each for each in names if each.endswith(".whl")} == {OLD, "bbb-1.0-py3-none-any.whl"}
    assert not [name for name in names if name.startswith((NEW, BAD))]
    assert {each["project"] for each in manifest["pages"]} == {"aaa", "bbb"}
    verdicts = {each["filename"]: each for each in manifest["rules"]["verdicts"]}
    assert {name: each["outcome"] for name, each in verdicts.items()} == {
        OLD: "exempted",
        NEW: "refused",
        BAD: "refused",
        "bbb-1.0-py3-none-any.whl": "observed",
    }
    assert verdicts[OLD]["exemption"] == "no other works"
    assert verdicts[NEW]["kind"] == "deny"
    assert "see wiki" in verdicts[BAD]["reason"]
    text = (await waystation("bundle", "show", bundle, cwd=tmp_path)).succeeded().out
    assert f"exempted  {OLD}: rule banned: " in text
    far = (*site[:-1], tmp_path / "far")
    (await waystation("bundle", "import", bundle, *far, cwd=tmp_path)).succeeded()
    (await waystation("ready", "aaa==1.0", *far, "--index", "open", cwd=tmp_path)).succeeded()
    lacking = await waystation("ready", "aaa==2.0", *far, "--index", "open", cwd=tmp_path)
    assert lacking.status == 1


async def test_a_bundle_of_an_index_without_rules_has_no_verdicts(
    tmp_path: Path, site: tuple[str | Path, ...]
) -> None:
    other = (*site, "--index", "open")
    (await waystation("warm", "aaa", *other, cwd=tmp_path)).succeeded()
    bundle = tmp_path / "bundle"
    (await waystation("bundle", "create", bundle, "aaa", *other, cwd=tmp_path)).succeeded()
    shown = await waystation("bundle", "show", bundle, "--manifest", cwd=tmp_path)
    assert "rules" not in json.loads(shown.succeeded().out)
