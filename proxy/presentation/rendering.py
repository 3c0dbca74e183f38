"""Templates of pages for people: everything is escaped, and hostile texts stay what they are.

jinja2 is imported with the first page.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from proxy.runtime import count_text, size_text

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_TEMPLATES = Path(__file__).with_name("templates")
_STATIC = Path(__file__).with_name("static")
"""Pages that load nothing contain the style."""
_NO_XML = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")
_CONTROLS = re.compile(r"[\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
"""Characters without a shape: they reorder or hide their neighbours."""
WEEK = 7 * 86400.0
_UNITS_OF_TIME = ((60.0, "second"), (3600.0, "minute"), (86400.0, "hour"), (WEEK, "day"))


class FileLine(NamedTuple):
    """A file in a table of files."""

    filename: str
    link: str
    """Empty: it is shown, and not offered."""
    what: str
    """Its kind in words."""
    uploaded: str
    """A time as of PEP 700; empty: unknown."""
    size: int | None
    """Bytes."""
    sha256: str
    badges: Sequence[tuple[str, str]]
    """Kinds, which are classes of the style, and texts."""
    notes: Sequence[str]


def render(template: str, **values: Any) -> bytes:
    """The page that the template makes of the values, in UTF-8."""
    text = _environment().get_template(template).render(**values)
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text).encode("utf-8", "replace")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([_TEMPLATES, _STATIC]),
        autoescape=True,
        auto_reload=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "size_text": size_text,
        "count_text": count_text,
        "day": day,
        "moment": moment,
        "iso": iso,
        "ago": ago,
        "foreign": foreign,
        "number": number,
    }
    return environment


def day(unix: float) -> str:
    """``2026-11-30``, of a Unix time in seconds."""
    return datetime.fromtimestamp(unix, UTC).date().isoformat()


def moment(unix: float) -> str:
    """``2026-11-30 12:03 UTC``, of a Unix time in seconds."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M UTC")


def iso(unix: float) -> str:
    """``2026-11-30T12:03Z``, for attributes, of a Unix time in seconds."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%MZ")


def ago(unix: float, now: float | None = None) -> str:
    """``3 minutes ago``; empty for what is a week old, or lies ahead."""
    passed = (time.time() if now is None else now) - unix
    if not 0 <= passed < WEEK:
        return ""
    size, before = 1.0, "second"
    for limit, unit in _UNITS_OF_TIME:
        before = unit
        if passed < limit:
            break
        size = limit
    return f"{count_text(int(passed / size), before)} ago"


def number(value: float) -> str:
    """``12,345``, and ``0.4`` for small fractions."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def foreign(text: object) -> Markup:
    """Text from outside, isolated; characters that have no shape become visible marks."""
    from markupsafe import Markup

    words, pieces, at = str(text), Markup(), 0
    for found in _CONTROLS.finditer(words):
        shown = Markup('{}<span class="control">U+{}</span>')
        pieces += shown.format(words[at : found.start()], f"{ord(found[0]):04X}")
        at = found.end()
    return Markup("<bdi>{}{}</bdi>").format(pieces, words[at:])
