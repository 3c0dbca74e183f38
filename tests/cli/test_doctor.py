"""``waystation doctor``: the settings of installers on a machine, and what to change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.running import Done, Running, running, waystation

OURS = "https://packages.example.com/simple/"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    (tmp_path / "server").mkdir()
    async with running(tmp_path / "server", "--offline") as started:
        yield started


async def doctor(folder: Path, *arguments: str, **variables: str) -> Done:
    folder.mkdir(exist_ok=True)
    return await waystation("doctor", *arguments, cwd=folder, **variables)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


async def test_a_machine_that_is_set_up_needs_nothing(tmp_path: Path, server: Running) -> None:
    done = await doctor(
        tmp_path / "client",
        *("--via", server.address),
        PIP_INDEX_URL=server.index,
        UV_DEFAULT_INDEX=server.index,
    )
    done.succeeded()
    assert f"{server.index} is a Waystation, and answers" in done.out
    assert "nothing has to be changed" in done.out


async def test_tools_that_ask_pypi_are_named_with_the_command_that_changes_it(
    tmp_path: Path, server: Running
) -> None:
    done = await doctor(tmp_path / "client", "--via", server.address)
    assert done.status == 1
    assert f"pip config set global.index-url {server.index}" in done.out
    assert f"export UV_DEFAULT_INDEX={server.index}" in done.out


async def test_a_second_index_is_found_wherever_it_is_set(tmp_path: Path, server: Running) -> None:
    """In a variable, pip's file, uv's file and the project: each reopens dependency confusion."""
    client = tmp_path / "client"
    write(
        client / "home/.config/pip/pip.conf",
        f"[global]\nindex-url = {server.index}\nextra-index-url =\n  https://a.example.com/s\n",
    )
    write(
        client / "pyproject.toml",
        f'[[tool.uv.index]]\nurl = "{server.index}"\ndefault = true\n'
        '[[tool.uv.index]]\nname = "b"\nurl = "https://b.example.com/s"\n'
        '[[tool.poetry.source]]\nname = "c"\nurl = "https://c.example.com/s"\n'
        'priority = "supplemental"\n',
    )
    done = await doctor(
        client, "--via", server.address, UV_EXTRA_INDEX_URL="https://user:secret@d.example.com/s"
    )
    assert done.status == 1
    for host in "abcd":
        assert f"{host}.example.com/s" in done.out
    assert done.out.count("can replace a private one") == 4
    assert "secret" not in done.out and "***" in done.out


async def test_a_variable_that_overrides_a_file_is_said(tmp_path: Path, server: Running) -> None:
    client = tmp_path / "client"
    write(client / "home/.config/pip/pip.conf", f"[global]\nindex-url = {server.index}\n")
    done = await doctor(client, "--via", server.address, PIP_INDEX_URL="http://127.0.0.1:1/simple")
    assert "pip asks http://127.0.0.1:1/simple (PIP_INDEX_URL), not" in done.out
    assert "pip.conf, [global] names" in done.out


async def test_plain_http_certificates_and_netrc(tmp_path: Path, server: Running) -> None:
    client = tmp_path / "client"
    write(client / "home/.netrc", "machine 127.0.0.1 login a password b\n")
    (client / "home/.netrc").chmod(0o644)
    done = await doctor(
        client,
        *("--via", server.address),
        PIP_INDEX_URL="http://packages.example.com/simple/",
        PIP_CERT="/nowhere/ca.pem",
    )
    assert "pip config set global.trusted-host packages.example.com" in done.out
    assert "/nowhere/ca.pem" in done.out
    assert "chmod 600" in done.out


async def test_a_server_that_does_not_answer_and_a_proxy(tmp_path: Path) -> None:
    address = "http://127.0.0.1:1"
    done = await doctor(tmp_path / "client", "--via", address)
    assert done.status == 1 and f"{address}/simple/ cannot be reached" in done.out
    proxied = await doctor(
        tmp_path / "client", "--via", "http://packages.example.com", http_proxy=address
    )
    assert f"is asked through the proxy {address}" in proxied.out
    assert "NO_PROXY=packages.example.com" in proxied.out


async def test_a_wrong_address_is_a_wrong_option(tmp_path: Path) -> None:
    done = await doctor(tmp_path / "client", "--via", "ftp://x")
    assert done.status == 2 and "--via" in done.err
