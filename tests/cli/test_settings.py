"""Settings: names, times, paths, error messages, and the printed values in force."""

from __future__ import annotations

import json
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from proxy.config.loading import load_settings
from proxy.errors import ConfigurationError
from tests.support.fork_server import ROOT
from tests.support.pki import Authority
from tests.support.running import Done, command, environment, running, waystation

SECRET = "hunter2"


async def check(folder: Path, text: str, *flags: str, **variables: str) -> Done:
    (folder / "w.toml").write_text(text)
    return await waystation(
        "check", "--no-network", "--config", "w.toml", *flags, cwd=folder, **variables
    )


async def in_force(folder: Path, text: str, *flags: str, **variables: str) -> dict[str, object]:
    done = (await check(folder, text, "--toml", *flags, **variables)).succeeded()
    return tomllib.loads(done.out)


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("PORT = 9999", "PORT", "port"),
        ("Port = 9999", "Port", "port"),
        ("prot = 9999", "prot", "port"),
        ("page-ttl = 1", "page-ttl", "page_ttl"),
        ("[index.main]\nkind = 'local'\npath = '.'", "index", None),
        ("[indexes.main]\nkind = 'local'\nPATH = '.'", "indexes.main.PATH", "path"),
        ("[indexes.main]\nkind = 'local'\npath = '.'\nlegacy_file = 1", "indexes.main.l", "legacy"),
        ("[[keep]]\nsources = ['x']\nPython = ['3.12']", "keep.0.Python", "python"),
    ],
)
async def test_an_unknown_setting_is_refused_with_a_suggestion(
    tmp_path: Path, text: str, key: str, meant: str | None
) -> None:
    done = await check(tmp_path, text)
    assert done.status == 2
    assert done.err.startswith(f"waystation: {key}")
    assert meant is None or f"did you mean {meant}" in done.err


async def test_a_variable_may_be_in_capitals_or_not_and_is_named_as_its_origin(
    tmp_path: Path,
) -> None:
    for name in ("WAYSTATION_PORT", "waystation_port", "Waystation_Port"):
        done = (await check(tmp_path, "", **{name: "9999"})).succeeded()
        assert "  port = 9999  (environment)" in done.out.splitlines()
    done = await check(tmp_path, "", WAYSTATION_PORT="1", waystation_port="2")
    assert done.status == 2 and "it is set twice" in done.err
    done = await check(tmp_path, "", WAYSTATION_PROT="1")
    assert done.status == 2 and "did you mean WAYSTATION_PORT?" in done.err


async def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    text = "prot = 1\nworkers = 0\nca_bundle = 'nowhere.pem'\npackages = 'nowhere'"
    done = await check(tmp_path, text, "--page-ttl", "soon", WAYSTATION_MAX_SIZE="much")
    keys = [line.split(": ")[1] for line in done.err.splitlines()]
    assert done.status == 2
    assert sorted(keys) == ["ca_bundle", "max_size", "packages", "page_ttl", "prot", "workers"]


WRONG: dict[str, list[Any]] = {
    "port": ["x", 1.5, 70000, -1, [], {}, "", "80 80"],
    "host": [1, []],
    "watch": ["perhaps", 7, []],
    "workers": [0, -1, "many", 1.5, []],
    "page_ttl": [-1, "soon", "10 minutes", "10y", float("inf"), float("nan"), True, [], ""],
    "connect_timeout": [0, "0s", "-1"],
    "max_size": ["much", "20 GX", -1, []],
    "upstream": ["nothing", "ftp://x.example.org/", 5, "https://"],
    "outgoing_proxy": ["https://proxy.example.org/", "proxy"],
    "log_level": ["loud", 1],
    "reserved": [["Not A Name!"], [1], 5],
    "packages": [1, []],
    "trusted_keys": [[1], 5],
    "upstream_missing_statuses": [[200], ["x"], 404],
    "prefix": ["pypi", "/pypi/", 1],
    "indexes": ["x", {"main": {}}, {"main": {"kind": "x"}}, {"main": 1}, {"main": {"kind": 1}}],
    "keep": ["x", [1], [{}], [{"sources": "x"}], [{"sources": []}]],
    "tls_key": [1],
}
PYDANTIC = ("Input", "input", "valid string", "Value error", "pydantic", "Url", "instance of")


@pytest.mark.parametrize(
    ("name", "value"), [(name, each) for name, values in WRONG.items() for each in values]
)
def test_a_mistake_is_reported_without_words_of_libraries(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({name: value})
    assert caught.value.key.split(".")[0] == name
    assert not [each for each in PYDANTIC if each in str(caught.value)]
    assert "wrong value" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("10m", 600), ("1h", 3600), ("7d", 604800), ("90s", 90), ("1h30m", 5400), ("1w", 604800)),
        *(("1H", 3600), (" 2 d ", 172800), ("0.5h", 1800), ("600", 600), ("1.5", 1.5), ("0", 0)),
    ],
)
async def test_times_may_have_units(text: str, seconds: float) -> None:
    assert load_settings({"page_ttl": text}).settings.page_ttl == seconds
    assert (
        load_settings({"keep": [{"sources": ["x"], "every": "1h"}]}).settings.keep[0].every == 3600
    )


async def test_times_with_units_are_taken_from_file_environment_and_flag(tmp_path: Path) -> None:
    given = 'stale_if_error = "2d"'
    shown = await in_force(tmp_path, given, "--page-ttl", "1h", WAYSTATION_ABSENCE_TTL="1m")
    assert (shown["stale_if_error"], shown["page_ttl"], shown["absence_ttl"]) == (172800, 3600, 60)


async def test_paths_in_a_file_begin_at_its_folder_and_others_where_one_is(tmp_path: Path) -> None:
    etc, here = tmp_path / "etc", tmp_path / "here"
    for folder in (etc / "ours", here / "theirs"):
        folder.mkdir(parents=True)
    (etc / "key.pub").write_text("")
    (etc / "requirements.txt").write_text("")
    (etc / "w.toml").write_text(
        "packages = 'ours'\ncache_dir = '~/cache'\ntrusted_keys = ['key.pub']\n"
        "[[keep]]\nsources = ['requirements.txt', 'flask', './x', '~/y.txt', 'uv.lock']\n"
    )
    done = await waystation("check", "--toml", "--config", "../etc/w.toml", cwd=here)
    shown = tomllib.loads(done.succeeded().out)
    assert shown["packages"] == "../etc/ours"
    assert shown["cache_dir"] == str(here / "home" / "cache")
    assert shown["trusted_keys"] == ["../etc/key.pub"]
    sources = ["../etc/requirements.txt", "flask", "../etc/x", "HOME/y.txt", "../etc/uv.lock"]
    home = str(here / "home")
    assert shown["keep"][0]["sources"] == [each.replace("HOME", home) for each in sources]
    given = ("--config", "../etc/w.toml", "--packages", "theirs")
    done = await waystation("check", "--toml", *given, cwd=here)
    assert tomllib.loads(done.succeeded().out)["packages"] == "theirs"


async def test_a_tilde_means_the_home_directory_everywhere(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "p").mkdir(parents=True)
    certificate, key = Authority(home).issue("127.0.0.1")
    (home / "s.toml").write_text(f"tls_certificate = '~/{certificate.relative_to(home)}'")
    done = await waystation(
        *("check", "--toml", "--packages=~/p", f"--tls-key=~/{key.relative_to(home)}"),
        cwd=tmp_path,
        WAYSTATION_CACHE_DIR="~/c",
        WAYSTATION_CONFIG="~/s.toml",
    )
    shown = tomllib.loads(done.succeeded().out)
    assert shown["packages"] == str(home / "p")
    assert shown["tls_certificate"] == str(certificate)
    assert shown["tls_key"] == str(key)
    assert shown["cache_dir"] == str(home / "c")
    tables = json.dumps({"main": {"kind": "local", "path": "~/p"}})
    done = await waystation("check", "--no-network", cwd=tmp_path, WAYSTATION_INDEXES=tables)
    assert f"directory {home / 'p'}" in done.succeeded().out
    done = await waystation("check", "--packages=~nobody-here/p", cwd=tmp_path)
    assert done.status == 2 and "home directory" in done.err


FULL = f"""
host = "0.0.0.0"
workers = "auto"
public_url = "https://packages.example.com/py\\u00e4pi"
change_lists = 'a "quoted" \\ folder'
page_ttl = 0.5
max_size = "1.5GB"
outgoing_proxy = "http://me:{SECRET}@proxy.example.org:3128"
[indexes.private]
kind = "local"
path = "p"
[indexes."odd-name"]
kind = "mirror"
url = "https://user:{SECRET}@index.example.com/simple/"
[indexes.two]
kind = "mirror"
url = "https://two.example.com/simple/"
username = "builder"
password = "{SECRET}"
reserved = ["acme-*"]
[indexes.main]
kind = "fallthrough"
of = ["private", "odd-name", "two"]
[[keep]]
sources = ["demo", "git+https://user:{SECRET}@git.example.com/x"]
every = "2h"
[[keep]]
sources = ["other"]
latest = 3
"""


@pytest.mark.parametrize(
    "text", ["", FULL, f"upstream_username = 'x'\nupstream_password = '{SECRET}'"]
)
async def test_printed_values_can_be_read_back_and_show_no_secret(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "packages").mkdir()
    first = (await check(tmp_path, text, "--toml")).succeeded()
    assert SECRET not in first.out
    again = (await check(tmp_path, first.out, "--toml")).succeeded()
    assert again.out == first.out
    if not text:
        assert tomllib.loads(first.out)["packages"] == str(tmp_path / "packages")


async def test_the_example_is_printed_whole_from_a_checkout_and_from_a_wheel(
    tmp_path: Path,
) -> None:
    example = (ROOT / "settings.example.toml").read_text()
    assert (await waystation("settings", cwd=tmp_path)).succeeded().out == example
    env = environment(tmp_path / "home", PIP_CONFIG_FILE="/dev/null")
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = await command("python", "-c", build, tmp_path, env=env, cwd=ROOT)
    wheel = tmp_path / done.succeeded().out.split()[-1]
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
        assert "proxy/presentation/templates/tree_project.html" in archive.namelist()
    env |= {"PYTHONPATH": str(tmp_path / "installed")}
    done = await command("python", "-m", "proxy", "settings", env=env, cwd=tmp_path)
    assert done.succeeded().out == example


async def test_settings_that_change_often_are_flags_of_serve(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue("127.0.0.1")
    given = (
        *("--reserved", "acme-*", "--reserved", "a, b", "--workers", "2", "--max-size", "3GB"),
        *("--log-level", "warning", "--public-url", "https://packages.example.com/"),
        *("--tls-certificate", str(certificate), "--tls-key", str(key)),
    )
    shown = await in_force(tmp_path, "", *given)
    assert shown["reserved"] == ["acme-*", "a", "b"]
    assert (shown["workers"], shown["max_size"]) == (2, 3_000_000_000)
    assert (shown["log_level"], shown["tls_key"]) == ("warning", str(key))
    async with running(tmp_path, "--offline", *given) as server:
        assert server.address.startswith("https://127.0.0.1:")
        assert any("https://packages.example.com/simple/" in line for line in server.out.lines)
        assert any("up to 3.0GB" in line for line in server.out.lines)


async def test_a_mistyped_command_gets_a_suggestion(tmp_path: Path) -> None:
    done = await waystation("serv", cwd=tmp_path)
    assert done.status == 2 and "Did you mean 'serve'?" in done.err


async def test_the_module_and_the_console_command_agree(tmp_path: Path) -> None:
    env = environment(tmp_path / "home", PYTHONPATH=str(ROOT))
    for arguments in (["--version"], ["serve", "--help"], ["nothing"]):
        one = await command("python", "-m", "proxy", *arguments, env=env, cwd=tmp_path)
        other = await command("waystation", *arguments, env=env, cwd=tmp_path)
        assert one == other
