"""Problems in the settings of installers on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from proxy.cli.doctor_settings import Machine, Setting
from proxy.simple import is_loopback

_TRUE = ("1", "true", "yes", "on")


class SetupFinding(NamedTuple):
    weight: str
    """ok, note or wrong."""
    text: str
    remedy: str = ""


def judge(
    tool: str, settings: Sequence[Setting], wanted: str | None, machine: Machine
) -> Iterator[SetupFinding]:
    """Problems in the settings of one tool."""
    indexes = [each for each in settings if each.is_index]
    extra = [each for each in settings if each.name in ("extra-index-url", "index")]
    extra += [each for each in settings if each.name == "supplemental source"]
    main = indexes[0] if indexes else None
    if wanted and main is None:
        yield SetupFinding("wrong", f"{tool} asks PyPI, not {wanted}", _how_to_set(tool, wanted))
    elif wanted and main and main.value.rstrip("/") != wanted.rstrip("/"):
        text = f"{tool} asks {main.value} ({main.source}), not {wanted}"
        yield SetupFinding("wrong", text, _how_to_set(tool, wanted))
    elif main:
        yield SetupFinding("ok", f"{tool} asks {main.value}")
    for other in indexes[1:]:
        if main and other.value != main.value:
            text = f"{tool}: {other.source} names {other.value}, which {main.source} overrides"
            yield SetupFinding("note", text)
    for each in extra:
        yield SetupFinding(
            "wrong",
            f"{tool} has a further index, {each.value} ({each.source}): a public project can"
            " replace a private one of the same name",
            f"remove {each.name} from {each.source}; one address serves both",
        )
    yield from _trust(tool, main, settings)
    yield from _besides(tool, settings, machine)


def _besides(tool: str, settings: Sequence[Setting], machine: Machine) -> Iterator[SetupFinding]:
    """Files beside the index, no index at all, an unsafe choice, proxies and keyrings."""
    for each in settings:
        where = f"({each.source})"
        if each.name == "find-links":
            text = f"{tool} also takes files from {each.value} {where}, whatever the index shows"
            yield SetupFinding("wrong", text, f"remove find-links from {each.source}")
        if each.name == "proxy":
            yield SetupFinding("note", f"{tool} connects through the proxy {each.value} {where}")
        if each.name == "no-index" and each.value.lower() in _TRUE:
            yield SetupFinding("note", f"no-index is set {where}: {tool} asks no index at all")
        if each.name == "index-strategy" and each.value.startswith("unsafe"):
            text = f"{tool} takes the best version of all its indexes: {each.value} {where}"
            yield SetupFinding("wrong", text, f"remove index-strategy from {each.source}")
        if each.name == "keyring-provider" and each.value == "subprocess":
            found = machine.program("keyring")
            yield (
                SetupFinding("ok", f"{tool} asks {found} for passwords {where}")
                if found
                else SetupFinding(
                    "wrong",
                    f"{tool} is set to ask keyring for passwords {where}, which is not installed",
                    "uv tool install keyring",
                )
            )


def _trust(tool: str, main: Setting | None, settings: Sequence[Setting]) -> Iterator[SetupFinding]:
    """Plain HTTP, and certificates that are not there."""
    trusted = {each.value for each in settings if each.name == "trusted-host"}
    parts = urlsplit(main.value) if main else None
    if tool == "pip" and main and parts and parts.scheme == "http":
        host = parts.hostname or ""
        if not is_loopback(host) and not trusted & {host, parts.netloc}:
            yield SetupFinding(
                "wrong",
                f"pip refuses {main.value}: it is plain HTTP, and {host} is no trusted host",
                f"pip config set global.trusted-host {host}",
            )
    for each in settings:
        is_file = each.name == "cert" or each.source == "SSL_CERT_FILE"
        if is_file and not Path(each.value).expanduser().is_file():
            text = f"{tool}: the certificates {each.value} ({each.source}) are not there"
            yield SetupFinding("wrong", text, "name an existing PEM file, or unset it")


def _how_to_set(tool: str, wanted: str) -> str:
    return {
        "pip": f"pip config set global.index-url {wanted}",
        "uv": f"export UV_DEFAULT_INDEX={wanted}",
        "Poetry": f"poetry source add --priority=primary waystation {wanted}",
    }[tool]


def netrc_of(machine: Machine) -> Path | None:
    path = Path(machine.environ.get("NETRC") or machine.home / ".netrc")
    return path if path.is_file() else None
