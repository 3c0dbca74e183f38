"""``waystation bundle``: its output, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.bundle_fixtures import Near, run, seen
from tests.support.bundle_tampering import altered

WHEEL = "alpha-1.0-py3-none-any.whl"


def of(near: Near, cache: Path | None = None) -> tuple[str | Path, ...]:
    return "--cache-dir", cache or near.cache, "--upstream", near.upstream


def test_create_show_verify_import(near: Near, tmp_path: Path) -> None:
    file = tmp_path / "b"
    made = run("create", file, "--all", *of(near)).stdout
    assert f"archive    sha256:{near.created.archive_digest}" in made
    assert f"manifest   sha256:{near.created.digest}" in made
    assert "lists      3 pages and 6 files of 3 projects" in made
    shown = run("show", file).stdout
    assert f"index      {near.upstream}" in shown
    assert f"  {WHEEL}  2024-01-02T03:04:05.000000Z\n" in shown
    digest = f"sha256:{near.created.archive_digest}"
    assert run("verify", file, "--expect", digest).stdout.startswith(f"sound\narchive    {digest}")
    done = run("import", file, "--expect", digest, *of(near, tmp_path / "far"))
    assert done.stdout == (
        "pages  3 new, 0 changed, 0 same, 0 older than here\nfiles  6 new, 0 same, 0 conflicting\n"
    )
    assert done.stderr == ""
    again = run("import", file, *of(near, tmp_path / "far")).stdout
    assert "files  0 new, 6 same, 0 conflicting" in again


def test_show_prints_a_manifest_that_is_a_base_for_deltas(near: Near, tmp_path: Path) -> None:
    manifest = run("show", near.bundle, "--manifest").stdout
    assert {each["filename"] for each in json.loads(manifest)["files"]} >= {WHEEL}
    (tmp_path / "last.json").write_text(manifest)
    made = run("create", tmp_path / "d", "--all", "--since", tmp_path / "last.json", *of(near))
    assert f"since      sha256:{near.created.digest}" in made.stdout
    assert "carries    0 pages or provenance and 0 files" in made.stdout
    done = run("import", tmp_path / "d", *of(near, tmp_path / "far"), status=1)
    assert f"sha256:{near.created.digest}" in done.stderr
    assert "import that one first" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "b"),
        ("create", "b", "--all", "--project", "alpha"),
        ("create", "b", "alpha", "--all"),
        ("create", "b", "--all", "--python", "3.12"),
        ("create", "b", "--project", "../alpha"),
        ("create", "b", "--all", "--since", "nothing"),
        ("create", "b", "--all", "--sign", "nothing"),
        ("show", "nothing"),
        ("verify", "nothing"),
        ("import", "nothing"),
        ("verify", "README.md", "--expect", "0000"),
        ("verify", "README.md", "--trust", "README.md"),
    ],
)
def test_contradictory_options_are_status_2(
    near: Near, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    given = [tmp_path / each if each == "b" else each for each in arguments]
    run(*given, *(of(near) if arguments[0] == "create" else ()), status=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
async def test_refusals_are_status_1_and_say_why(near: Near, tmp_path: Path) -> None:
    wrong = bytearray(near.data)
    wrong[-1100] ^= 1
    (tmp_path / "wrong").write_bytes(wrong)
    for command in ("verify", "import"):
        options = of(near, tmp_path / "far") if command == "import" else ()
        for file in (tmp_path / "wrong", Path("README.md").absolute()):
            done = run(command, file, *options, status=1)
            assert "this bundle is refused: " in done.stderr
        done = run(command, near.bundle, "--expect", "sha256:" + "0" * 64, *options, status=1)
        assert f"its digest is sha256:{near.created.archive_digest}" in done.stderr
    assert run("show", "README.md", status=1).stderr
    assert run("create", tmp_path / "b", "--project", "delta", *of(near), status=1).stderr
    assert await seen(tmp_path / "far") == {}


def test_a_bundle_larger_than_the_cache_is_status_2(near: Near, tmp_path: Path) -> None:
    done = run("import", near.bundle, *of(near, tmp_path), status=2, WAYSTATION_MAX_SIZE="1000")
    assert "and the files of this bundle are" in done.stderr


def test_files_of_indexes_outside_these_settings_are_reported(near: Near, tmp_path: Path) -> None:
    upstream = "https://index.example.com/simple/"
    done = run("import", near.bundle, "--cache-dir", tmp_path, "--upstream", upstream)
    assert f"set upstream to {near.upstream}" in done.stderr


@pytest.mark.slow
def test_keys_by_option_and_by_setting(near: Near, tmp_path: Path) -> None:
    run("key", tmp_path / "key")
    assert "cannot be written: File exists" in run("key", tmp_path / "key", status=1).stderr
    run("key", tmp_path / "other")
    signed = tmp_path / "signed"
    run("create", signed, "--all", "--sign", tmp_path / "key", *of(near))
    assert "signed     by ed25519:" in run("show", signed).stdout
    run("verify", signed, "--trust", tmp_path / "other.pub", "--trust", tmp_path / "key.pub")
    run("verify", signed, "--trust", tmp_path / "other.pub", status=1)
    far = of(near, tmp_path / "far")
    trusted = {"WAYSTATION_TRUSTED_KEYS": f"{tmp_path}/key.pub,{tmp_path}/other.pub"}
    unsigned = run("import", near.bundle, *far, status=1, **trusted)
    assert (
        "it is not signed, and only bundles signed by a trusted key are accepted" in unsigned.stderr
    )
    run("import", signed, *far, status=0, **trusted)
    (tmp_path / "c.toml").write_text(f'trusted_keys = ["{tmp_path}/other.pub"]')
    run("import", signed, *far, "--config", tmp_path / "c.toml", status=1)


def test_sources_choose_what_they_need(near: Near, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("alpha\n")
    file = tmp_path / "b"
    run("create", file, tmp_path / "requirements.txt", "--no-sdists", *of(near))
    shown = run("show", file).stdout
    assert WHEEL in shown and "beta-1.0-py3-none-any.whl" in shown
    assert "alpha-1.0.tar.gz" not in shown and "gamma" not in shown


def test_sources_with_files_that_are_not_cached_make_no_bundle(near: Near, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("alpha\nepsilon\n")
    file = tmp_path / "b"
    done = run("create", file, tmp_path / "requirements.txt", *of(near), status=1)
    assert "epsilon" in done.stdout
    assert not file.exists()


def test_a_source_with_a_requirement_outside_indexes_makes_no_bundle(
    near: Near, tmp_path: Path
) -> None:
    """`ready` reports it, too. A bundle without it would look complete."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("alpha\ndelta @ git+https://example.com/delta.git\n")
    file = tmp_path / "b"
    done = run("create", file, requirements, *of(near), status=1)
    assert "cannot be fetched from an index: " in done.stderr and "delta" in done.stderr
    assert not file.exists()


def test_a_full_disk_is_reported(near: Near) -> None:
    done = run("create", "/dev/full", "--all", *of(near), status=1)
    assert "/dev/full cannot be written: No space left on device" in done.stderr


async def test_the_upload_time_in_a_bundle_is_kept(near: Near, tmp_path: Path) -> None:
    def change(manifest: dict[str, list[dict[str, object]]]) -> None:
        manifest["files"][0]["uploaded"] = "2020-01-01T00:00:00Z"

    (tmp_path / "b").write_bytes(altered(near.bundle, change))
    run("import", tmp_path / "b", *of(near, tmp_path / "far"))
    records = [value for key, value in (await seen(tmp_path / "far")).items() if "held/" in key]
    assert any(b'"uploaded":"2020-01-01T00:00:00Z"' in each for each in records)
