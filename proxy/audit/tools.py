"""The facts about installers and their machines in the header ``User-Agent``.

pip and uv send a JSON object after their name; other tools send names and versions. Clients can
send anything: no right may depend on these facts.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

MAX_USER_AGENT = 4096
"""Characters of a header that is read; the rest of a longer one is ignored."""
MAX_VALUE = 64
"""Characters of a single fact."""
MAX_USER_DATA = 200
"""Characters of the free text that pip's users can add (``PIP_USER_AGENT_USER_DATA``)."""

_PRODUCT = re.compile(r"([A-Za-z][\w.+-]{0,40})/([\w.+!-]{1,40})", re.ASCII)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa1-\u2027\u202a-\ud7ff\ue000-\uffff]")


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """The facts; each is empty if the client does not say."""

    tool: str = ""
    tool_version: str = ""
    python: str = ""
    implementation: str = ""
    system: str = ""
    distro: str = ""
    cpu: str = ""
    ci: bool | None = None
    """True: the client runs in continuous integration; pip and uv never say that they do not."""
    user_data: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.tool, self.tool_version))) or "-"


class _Named(msgspec.Struct, frozen=True):
    name: str | None = None
    version: str | None = None
    release: str | None = None


class _UserAgentData(msgspec.Struct, frozen=True):
    python: str | None = None
    implementation: _Named | None = None
    system: _Named | None = None
    distro: _Named | None = None
    cpu: str | None = None
    ci: bool | None = None
    user_data: str | None = None


_DATA = msgspec.json.Decoder(_UserAgentData)


@lru_cache(maxsize=1024)
def tool_of(user_agent: str) -> Tool:
    """The facts of a header; never raises."""
    head = _PRODUCT.match(user_agent)
    if head is None:
        return Tool()
    data = _data(user_agent[:MAX_USER_AGENT])
    return Tool(
        head[1],
        head[2],
        python=_short(data.python),
        implementation=_named(data.implementation),
        system=_named(data.system),
        distro=_named(data.distro),
        cpu=_short(data.cpu),
        ci=data.ci,
        user_data=_short(data.user_data, MAX_USER_DATA),
    )


def _data(user_agent: str) -> _UserAgentData:
    """Empty where the header has no such object: one that is too long or too deep is none."""
    start = user_agent.find("{")
    try:
        return _DATA.decode(user_agent[start:]) if start >= 0 else _UserAgentData()
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return _UserAgentData()


def _named(value: _Named | None) -> str:
    parts = (value.name, value.version or value.release) if value else ()
    return " ".join(filter(None, map(_short, parts)))


def _short(value: str | None, limit: int = MAX_VALUE) -> str:
    """Without characters that end a line or control a terminal."""
    return _UNPRINTABLE.sub("?", (value or "")[:limit])
