"""``waystation doctor``: what installers on this machine would really ask, and what to change."""

from __future__ import annotations

from urllib.parse import urlsplit

import click

from proxy.cli.doctor_checks import SetupFinding, judge
from proxy.cli.doctor_settings import Machine, Setting, find_settings
from proxy.cli.doctor_trial import try_address
from proxy.errors import ConfigurationError, mask_credentials

_SIGNS = {"ok": "ok     ", "note": "note   ", "wrong": "WRONG  "}


@click.command("doctor")
@click.option("--via", metavar="URL", help="The address of the server that should be asked.")
def command(via: str | None) -> None:
    """Say what pip, uv and Poetry on this machine would ask, try it, and print what to change.

    Reads their configuration files, the environment, netrc and keyring; looks for further indexes,
    which let public projects replace private ones, for certificates and proxies. Run it where
    installers run: on a developer's machine or in a CI job. Exit status 1 if something is wrong.
    """
    machine = Machine.this()
    wanted = _address(via) if via else None
    settings = find_settings(machine)
    findings: list[SetupFinding] = []
    for tool in ("pip", "uv", "Poetry"):
        click.echo(f"{tool}")
        own = [each for each in settings if each.tool == tool]
        for each in own:
            click.echo(f"  {each.name} = {mask_credentials(each.value)}  ({each.source})")
        if not own:
            used = machine.has(tool)
            click.echo("  no settings: it asks PyPI" if used else "  neither installed nor set")
        if own or machine.has(tool):
            findings += judge(tool, own, wanted, machine)
    addresses = [wanted] if wanted else _asked(settings)
    for address in dict.fromkeys(filter(None, addresses)):
        findings += try_address(address, machine)
    _print(findings)


def _print(findings: list[SetupFinding]) -> None:
    click.echo("")
    for each in sorted(findings, key=lambda finding: list(_SIGNS).index(finding.weight)):
        click.echo(f"{_SIGNS[each.weight]}{mask_credentials(each.text)}")
        if each.remedy:
            click.echo(f"         -> {mask_credentials(each.remedy)}")
    if any(each.weight == "wrong" for each in findings):
        raise SystemExit(1)
    click.echo("nothing has to be changed")


def _asked(settings: list[Setting]) -> list[str]:
    """The main indexes that the tools are set to."""
    return [each.value for each in settings if each.is_index]


def _address(text: str) -> str:
    """The address of the index below that of a server. Raises ``ConfigurationError``."""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError("--via", f"{text!r} is no HTTP address", "give that of a server")
    path = parts.path.rstrip("/")
    path = path if path.endswith("/simple") else f"{path}/simple"
    return parts._replace(path=f"{path}/", query="", fragment="").geturl()
