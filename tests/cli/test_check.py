"""``waystation check``, ``--version`` and where settings come from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pydantic_settings import ForceDecode

from proxy import __version__
from proxy.config.settings import Settings
from tests.support.advisories import osv, write_archive
from tests.support.distributions import make_wheel
from tests.support.fork_server import ROOT
from tests.support.running import Done, command, environment, running, waystation

SECRET = "hunter2"


async def check(*arguments: str, cwd: Path, **variables: str) -> Done:
    """Run ``check`` without a connection."""
    return await waystation("check", "--no-network", *arguments, cwd=cwd, **variables)


def printed_settings(done: Done) -> dict[str, str]:
    """The settings as printed."""
    assert done.status == 0, done.err
    settings = done.out.partition("\nSettings:\n")[2].partition("\n\nTried:")[0]
    lines = settings.splitlines()
    return {line.split(" = ")[0].strip(): line.split(" = ", 1)[1] for line in lines}


async def test_every_setting_is_shown_with_where_it_comes_from(tmp_path: Path) -> None:
    shown = printed_settings(await check(cwd=tmp_path))
    assert list(shown) == list(Settings.model_fields)
    assert all(value.endswith("  (default)") for value in shown.values())


async def test_a_default_directory_may_be_missing_unless_a_link_names_it(tmp_path: Path) -> None:
    done = await check(cwd=tmp_path)
    assert done.status == 0
    assert f"directory {tmp_path / 'packages'} (does not exist yet" in done.out
    (tmp_path / "packages").symlink_to("share")
    done = await check(cwd=tmp_path)
    assert done.status == 1
    assert f"directory {tmp_path / 'packages'}: cannot be read" in done.out


async def test_flags_override_variables_and_variables_override_the_file(tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text(
        'port = 1\npage_ttl = 1\nlog_format = "json"\nreserved = ["a-*"]'
    )
    shown = printed_settings(
        await waystation(
            *(
                "check",
                "--no-network",
                "--config",
                "w.toml",
                "--upstream",
                "https://flag.example.com/simple/",
            ),
            cwd=tmp_path,
            WAYSTATION_PAGE_TTL="2",
            WAYSTATION_UPSTREAM="https://env.example.com/simple/",
            WAYSTATION_OFFLINE="true",
            WAYSTATION_RESERVED="b-*, c",
            WAYSTATION_LOG_LEVEL="",
        )
    )
    assert shown["port"] == "1  (w.toml)"
    assert shown["page_ttl"] == "2  (environment)"
    assert shown["upstream"] == "https://flag.example.com/simple/  (flag)"
    assert shown["offline"] == "true  (environment)"
    assert shown["reserved"] == "['b-*', 'c']  (environment)"
    assert shown["log_format"] == "json  (w.toml)"
    assert shown["log_level"] == "info  (default)"  # an empty variable counts as not set


async def test_the_file_can_be_named_by_the_environment(tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text("port = 1")
    shown = printed_settings(await check(cwd=tmp_path, WAYSTATION_CONFIG="w.toml"))
    assert shown["port"] == "1  (w.toml)"


async def test_online_on_the_command_line_overrides_offline(tmp_path: Path) -> None:
    shown = printed_settings(await check("--online", cwd=tmp_path, WAYSTATION_OFFLINE="1"))
    assert shown["offline"] == "false  (flag)"


async def test_the_tree_is_shown_in_the_order_of_resolution(tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    given = ("--upstream", "https://index.example.org/simple/")
    done = await waystation(
        "check", "--no-network", *given, cwd=tmp_path, WAYSTATION_RESERVED="acme-*"
    )
    assert done.out.splitlines()[:4] == [
        "Indexes, in the order of resolution:",
        "  main: the first of these that has the project",
        f"    private: directory {tmp_path / 'packages'}",
        "    upstream: mirror of https://index.example.org/simple/, never asked for acme-*",
    ]


async def test_named_indexes_make_their_own_tree(tmp_path: Path) -> None:
    tables = {
        "one": {"kind": "mirror", "url": "https://one.example.org/", "password": SECRET},
        "two": {"kind": "mirror", "url": f"https://user:{SECRET}@two.example.org/"},
        "main": {"kind": "fallthrough", "of": ["one", "two"]},
    }
    done = await waystation(
        "check", "--no-network", cwd=tmp_path, WAYSTATION_INDEXES=json.dumps(tables)
    )
    assert "    two: mirror of https://***@two.example.org/" in done.succeeded().out.splitlines()
    assert SECRET not in done.out + done.err


async def test_no_secret_is_shown(tmp_path: Path) -> None:
    done = await waystation(
        "check",
        "--no-network",
        cwd=tmp_path,
        WAYSTATION_UPSTREAM=f"https://user:{SECRET}@index.example.org/simple/",
        WAYSTATION_UPSTREAM_USERNAME="builder",
        WAYSTATION_UPSTREAM_PASSWORD=SECRET,
        WAYSTATION_OUTGOING_PROXY=f"http://me:{SECRET}@proxy.example.org:3128",
        WAYSTATION_PUBLIC_URL=f"https://me:{SECRET}@packages.example.org/",
    )
    assert SECRET not in done.out + done.err
    shown = printed_settings(done)
    assert shown["upstream"] == "https://***@index.example.org/simple/  (environment)"
    assert shown["upstream_username"] == "builder  (environment)"
    assert shown["upstream_password"] == "**********  (environment)"
    assert shown["outgoing_proxy"] == "http://***@proxy.example.org:3128/  (environment)"


WRONG = [
    ("port = 99999", "port: "),
    ("port = 'x'", "port: "),
    ("workers = 0", 'workers: 0 is neither a whole number from 1 on nor "auto" (from w.toml)'),
    ("workers = 'many'", "workers: "),
    ("page_ttl = -1", "page_ttl: "),
    ("page_ttl = inf", "page_ttl: "),
    ("page_ttl = 5\npage_ttl_min = 6", "page_ttl_min: "),
    ("upstream = 'nothing'", "upstream: "),
    ("upstream = 'ftp://x.example.org/'", "upstream: "),
    ("prefix = 'no-slash'", "prefix: "),
    ("prefix = '/trailing/'", "prefix: "),
    ("prefix = '//evil.example'", "prefix: "),
    ("max_size = 'much'", "max_size: "),
    ("log_level = 'loud'", "log_level: "),
    ("reserved = ['Not A Pattern!']", "reserved: "),
    ("tls_certificate = 'x.pem'", "tls_certificate: "),
    ("tls_key = 'x.key'", "tls_key: "),
    ("ca_bundle = 'nowhere.pem'", "ca_bundle: "),
    ("upstream_username = 'x'", "upstream_username: "),
    ("packages = 'nowhere'", "packages: "),
    ("unknown_key = 1", "unknown_key: "),
    ("[unknown]\nx = 1", "unknown: "),
    ("index = 'nothing'", "index: "),
    (
        "upstream = 'https://x.example.org/'\n[indexes.main]\nkind = 'local'\npath = '.'",
        "upstream: ",
    ),
    ("[indexes.main]\nkind = 'mirror'\nurl = 'x'", "indexes.main.url: "),
    ("[indexes.main]\nkind = 'fallthrough'", "indexes.main.of: "),
    ("[indexes.main]\nkind = 'mystery'", "indexes.main: "),
    ("[indexes.main]\nkind = 'local'\npath = '.'\nextra = 1", "indexes.main.extra: "),
    ("[indexes.main]\nkind = 'local'\npath = 'nowhere'", "indexes.main.path: "),
    ("[indexes.main]\nkind = 'fallthrough'\nof = []", "indexes.main.of: "),
    ("[indexes.main]\nkind = 'fallthrough'\nof = ['main']", "indexes.main.of: "),
    ("[indexes.main]\nkind = 'fallthrough'\nof = ['other']", "indexes.main.of: "),
    ("not toml", "config: "),
    ("port = 1\nport = 2", "config: "),
]


@pytest.mark.parametrize(("text", "expected"), WRONG, ids=[text for text, _ in WRONG])
async def test_a_wrong_setting_ends_with_2_the_key_and_the_remedy(
    tmp_path: Path, text: str, expected: str
) -> None:
    (tmp_path / "w.toml").write_text(text)
    done = await check("--config", "w.toml", cwd=tmp_path)
    assert done.status == 2
    assert done.err.startswith(f"waystation: {expected}")
    assert all(line.startswith("waystation: ") for line in done.err.splitlines())
    assert ";" in done.err or expected == "config: "  # problem; remedy
    assert "Traceback" not in done.err


TABLES = [
    f"WAYSTATION_{name.upper()}"
    for name, field in Settings.model_fields.items()
    if ForceDecode in field.metadata
]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"WAYSTATION_PRT": "1"}, "waystation: WAYSTATION_PRT: there is no such setting"),
        ({"waystation_prt": "1"}, "waystation: waystation_prt: there is no such setting"),
        ({"WAYSTATION_PORT": "x"}, "waystation: port: "),
        ({"WAYSTATION_INDEXES": "{"}, "waystation: WAYSTATION_INDEXES: it is not JSON"),
        *(({name: "{"}, f"waystation: {name}: it is not JSON") for name in TABLES),
        ({"WAYSTATION_CONFIG": "nowhere.toml"}, "waystation: config: nowhere.toml cannot be read"),
    ],
)
async def test_a_wrong_variable_ends_with_2_and_its_name(
    tmp_path: Path, variables: dict[str, str], expected: str
) -> None:
    done = await check(cwd=tmp_path, **variables)
    assert done.status == 2
    assert done.err.startswith(expected)


async def test_a_wrong_secret_is_not_in_the_message(tmp_path: Path) -> None:
    for wrong in (f"https://user:{SECRET}@", f"//user:{SECRET}@x/", f"ftp://u:{SECRET}@x/"):
        done = await check(cwd=tmp_path, WAYSTATION_UPSTREAM=wrong)
        assert done.status == 2
        assert SECRET not in done.out + done.err


async def test_the_version_and_the_help_cost_no_imports(tmp_path: Path) -> None:
    done = (await waystation("--version", cwd=tmp_path)).succeeded()
    assert done.out == f"waystation, version {__version__}\n"
    env = environment(tmp_path / "home", PYTHONPATH=str(ROOT), PYTHONPROFILEIMPORTTIME="1")
    for flag in ("--version", "--help"):
        done = await command("python", "-m", "proxy", flag, env=env, cwd=tmp_path)
        assert done.status == 0
        assert "aiohttp" not in done.err and "pydantic" not in done.err


async def test_help_names_every_command(tmp_path: Path) -> None:
    done = (await waystation("-h", cwd=tmp_path)).succeeded()
    for name in ("serve", "check", "cache"):
        assert f"\n  {name} " in done.out
        assert (await waystation(name, "-h", cwd=tmp_path)).status == 0


async def test_an_unknown_command_or_flag_ends_with_2(tmp_path: Path) -> None:
    for arguments in (["nothing"], ["serve", "--nothing"], ["check", "--port"]):
        assert (await waystation(*arguments, cwd=tmp_path)).status == 2


async def test_an_archive_is_opened(tmp_path: Path) -> None:
    make_wheel(tmp_path / "made", "foo", "1.0")
    made = shutil.make_archive(str(tmp_path / "wheels"), "zip", tmp_path / "made")
    done = await check("--packages", made, cwd=tmp_path)
    assert f"archive {made} (1 entry)" in done.out
    Path(made).write_bytes(b"no archive")
    done = await check("--packages", made, cwd=tmp_path)
    assert done.status == 1
    assert f"archive {made}: cannot be read: it has no end record" in done.out


async def test_advisories_are_shown_with_their_age(tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text('advisories = { source = "osv.zip" }')
    done = await check("--config", "w.toml", cwd=tmp_path)
    assert done.status == 1
    assert "osv.zip (none yet): there is no such folder or archive" in done.out
    write_archive(tmp_path / "osv.zip", osv())
    options = ("--config", "w.toml", "--cache-dir", str(tmp_path / "cache"))
    async with running(tmp_path, *options):
        pass
    done = await check(*options, cwd=tmp_path)
    assert done.status == 0
    assert "osv.zip (1 record, checked 0 hours ago): ok" in done.out


async def test_each_of_several_directories_has_to_exist(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "w.toml").write_text(
        '[indexes.main]\nkind = "local"\npaths = ["one", "two", "three.zip"]\n'
    )
    done = await check("--config", str(tmp_path / "w.toml"), cwd=tmp_path)
    assert done.status == 2
    for name in ("two", "three.zip"):
        assert f"indexes.main.paths: {tmp_path / name} is not a directory" in done.err
    (tmp_path / "w.toml").write_text('[indexes.main]\nkind = "local"\n')
    done = await check("--config", str(tmp_path / "w.toml"), cwd=tmp_path)
    assert done.status == 2 and "give it a path, paths, or packages" in done.err
