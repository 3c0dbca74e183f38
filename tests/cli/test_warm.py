"""``waystation warm`` and ``waystation ready`` as processes: options, output, exit status."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.faults import Fault
from tests.support.fork_server import ROOT, run_forked
from tests.support.running import Done, environment, start, waystation
from tests.support.running import command as run_command
from tests.support.waiting import until
from tests.support.warm_site import LIMIT, WarmSite, warm_site

LINUX = ("--python", "3.12", "--platform", "linux")


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[WarmSite]:
    async with warm_site(tmp_path) as made:
        yield made


def options(here: WarmSite) -> tuple[str, ...]:
    return "--upstream", here.upstream.url, "--cache-dir", str(here.cache)


async def run(here: WarmSite, name: str, *arguments: str, given: str = "", **more: str) -> Done:
    command = (name, *options(here), *arguments)
    return await waystation(*command, cwd=here.folder, given=given, **more)


@pytest.mark.slow
async def test_warm_reads_the_list_that_ready_prints(here: WarmSite) -> None:
    here.wheel("top", requires=["dep", "mac ; sys_platform == 'darwin'"])
    here.wheel("dep")
    here.wheel("dep", "2.0")
    here.wheel("mac")
    here.source("constraints.txt", "dep<2\n")
    source = here.source("requirements.txt", "-c constraints.txt\ntop\n")
    asked = (source, "--python", "3.10", "--python", "3.12", "--platform", "macos")
    lacking = await run(here, "ready", *asked)
    head = "--python 3.10 --python 3.12 --platform macosx_14_0_arm64 --constrain 'dep<2'"
    assert (lacking.status, lacking.out) == (1, f"{head}\ntop\n")
    done = await run(here, "warm", "-", given=lacking.out)
    assert done.status == 0, done.err
    assert "fetched 6 (" in done.out and "missing 0" in done.out
    here.store.path(sorted(here.stored_digests())[0]).unlink()
    lacking = await run(here, "ready", *asked)
    assert lacking.status == 1 and lacking.out.count("\n") == 1 and "#" in lacking.out
    assert (await run(here, "warm", "-", given=lacking.out)).status == 0
    await here.upstream.stop()
    done = await run(here, "ready", *asked)
    assert (done.status, done.out) == (0, "")
    done = await run(here, "warm", "-", given=done.out)
    assert done.status == 0, "nothing was missing, and nothing is to be done"


async def test_totals_come_first_and_then_one_line_for_each_thing(here: WarmSite) -> None:
    here.wheel("top")
    source = here.source("requirements.txt", "top\nnone>=1\n")
    for command in ("ready", "warm", "ready"):
        done = await run(here, command, source, *LINUX)
        printed = (done.err if command == "ready" else done.out + done.err).splitlines()
        totals = [
            line for line in printed if line.startswith(("not ready: ", "1 project, 2 files"))
        ]
        missing = [line for line in printed if line.startswith("missing: none>=1: ")]
        assert (done.status, len(totals), len(missing)) == (1, 1, 1)
        assert printed.index(totals[0]) < printed.index(missing[0])
        note = "note: linux means manylinux_2_28_x86_64 (Linux with glibc 2.28 or newer"
        assert note in done.err
    done = await run(here, "ready", "top", *LINUX)
    assert "ready: 2 files, " in done.err


async def test_ready_prints_no_list_for_warm_to_a_terminal(here: WarmSite) -> None:
    ours, theirs = os.openpty()
    command, env = ("ready", *options(here), "none", *LINUX), environment(here.root / "home")
    done = await asyncio.to_thread(run_forked, command, env, here.folder, stdout=theirs)
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as terminal, suppress(OSError):
        assert terminal.read(1) == b""
    assert "missing: none: " in done.stderr and "`waystation warm`" in done.stderr


async def test_latest_without_a_named_project_is_an_error(here: WarmSite) -> None:
    source = here.source("requirements.txt", "top\n")
    done = await run(here, "warm", source, "--latest", "2")
    assert (done.status, "no SOURCE is a name" in done.err) == (2, True)


async def test_files_that_failed_are_not_counted_as_fetched(here: WarmSite) -> None:
    here.wheel("good")
    bad = here.wheel("bad")
    here.upstream.fault(".metadata", Fault())
    here.upstream.fault(bad.name, Fault(corrupt=True))
    done = await run(here, "warm", "good", "bad", *LINUX)
    assert done.status == 1
    assert "4 files" in done.out and "fetched 3 (" in done.out and "missing 1" in done.out


async def test_an_absent_file_hides_no_other_failure(here: WarmSite) -> None:
    bad = here.wheel("bad")
    here.wheel("good")
    here.upstream.fault(bad.name, Fault(status=404))
    source = here.source("requirements.txt", "good\nbad\n")
    done = await run(here, "warm", source, "good>=2", *LINUX, "--json", "-q")
    lines = {each["line"].partition("#")[0] for each in json.loads(done.out)["missing"]}
    assert lines == {f"bad/{bad.name}.metadata", "good>=2"}
    assert (await run(here, "ready", "good", *LINUX)).status == 0


async def test_each_missing_name_has_its_own_reason_and_the_others_are_fetched(
    here: WarmSite,
) -> None:
    for name in ("one", "two", "three"):
        here.wheel(name)
    here.wheel("asks", requires=["for-what-is-not"])
    source = here.source("requirements.txt", "one\nunheard-of>=1\ntwo\nasks\nthree\n")
    done = await run(here, "warm", source, *LINUX, "--json", "--quiet")
    report = json.loads(done.out)
    reasons = {each["line"]: each["reason"] for each in report["missing"]}
    assert reasons.keys() == {"unheard-of>=1", "asks"}
    assert reasons["unheard-of>=1"] == "no such project: unheard-of"
    assert "for-what-is-not was not found" in reasons["asks"]
    assert (await run(here, "ready", "one", "two", "three", *LINUX)).status == 0
    lacking = await run(here, "ready", source, *LINUX)
    assert "missing: asks" in lacking.err and "missing: one" not in lacking.err


async def test_an_upstream_that_cannot_be_reached_is_the_reason(here: WarmSite) -> None:
    here.wheel("top", requires=["dep"])
    here.wheel("dep")
    here.upstream.fault("/simple/dep/", Fault(status=500))
    report = json.loads((await run(here, "warm", "top", *LINUX, "--json", "-q")).out)
    (lack,) = report["missing"]
    assert lack["line"] == "top" and lack["reason"].endswith(
        ": it answered 500 Internal Server Error"
    )
    await here.upstream.stop()
    names = here.source("requirements.txt", "".join(f"name{n}\n" for n in range(30)))
    report = json.loads((await run(here, "warm", names, *LINUX, "--json", "-q")).out)
    assert {each["reason"] for each in report["missing"]} == {"upstream: cannot be reached"}
    assert len(report["missing"]) == 30


async def test_a_waystation_that_cannot_be_reached_is_named_without_its_password(
    here: WarmSite,
) -> None:
    origin = here.upstream.origin
    await here.upstream.stop()
    via = origin.replace("http://", "http://user:secret@")
    done = await run(here, "warm", "top", *LINUX, "--via", via)
    shown = origin.replace("http://", "http://***@")
    assert done.status == 1 and f"upstream {shown}/simple/: cannot be reached" in done.err
    assert "secret" not in done.out + done.err


async def test_the_report_for_machines(here: WarmSite) -> None:
    here.wheel("top")
    done = await run(here, "warm", "top", "unheard-of", *LINUX, "--json", "--quiet")
    report = json.loads(done.out)
    assert done.status == 1
    assert not report["complete"]
    assert report["targets"] == ["Python 3.12 on manylinux_2_28_x86_64"]
    assert [each["line"] for each in report["missing"]] == ["unheard-of"]
    done = await run(here, "ready", "top", *LINUX, "--json")
    assert json.loads(done.out)["complete"] and not json.loads(done.out)["missing"]


async def test_wrong_input_is_status_2(here: WarmSite) -> None:
    broken = here.source("uv.lock", "version = 1\n[[package]")
    for arguments in (
        ("warm",),
        ("warm", "top", "--python", "2.7"),
        ("warm", "top", "--platform", "amiga"),
        ("warm", "top", "--no-sdists", "--only-sdists"),
        ("warm", "top", "--offline"),
        ("warm", "top", "--via", "nowhere"),
        ("warm", broken),
        ("warm", "no-such-file.txt"),
        ("ready", "top", "--platform", "windows", "--install"),
    ):
        done = await run(here, *arguments)
        assert done.status == 2, (arguments, done)
        assert "Traceback" not in done.err


async def test_without_uv_the_message_says_how_to_install_it(
    here: WarmSite, tmp_path: Path
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "uv.py").write_text("raise ImportError\n")
    env = environment(here.root / "home", PYTHONPATH=f"{hidden}:{ROOT}", PATH="/nowhere")
    given = (sys.executable, "-m", "proxy", "warm", *options(here), "top", *LINUX)
    done = await run_command(*given, env=env, cwd=here.folder)
    assert done.status == 2
    assert "pip install '.[warm]'" in done.err


async def test_an_interrupted_warm_says_how_to_continue(here: WarmSite) -> None:
    path = here.wheel("top")
    here.upstream.fault(path.name, Fault(hang=True))
    given = ("warm", *options(here), "top", *LINUX)
    process, _, err = await start(given, environment(here.root / "home"), here.folder)
    await until(lambda: here.upstream.count(path.name) > 0, LIMIT)
    async with asyncio.timeout(LIMIT):
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        printed = (await err.read()).decode()
    assert "run the command again to continue" in printed
    assert "Traceback" not in printed
