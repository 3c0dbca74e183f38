"""Style and templates: contrast in both themes, nothing unescaped, nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxy.presentation.rendering import foreign, moment

ROOT = Path(__file__).parents[2] / "proxy"
STYLE = (ROOT / "presentation/static/style.css").read_text(encoding="utf-8")
TEMPLATES = sorted((ROOT / "presentation/templates").iterdir())
COLOURS = {
    name: (light, dark)
    for name, light, dark in re.findall(
        r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", STYLE
    )
}
TEXT, EDGE = 4.5, 3.0
"""The least contrast of text, and of edges and lines of plots (WCAG 2.2, 1.4.3 and 1.4.11)."""
WORDS = (
    *("text", "soft", "link", "visited", "ok", "warn", "bad"),
    *("keyword", "string", "number", "name"),
)
PAIRS = [
    *(
        (name, back, TEXT)
        for name in ("text", "soft", "link", "visited")
        for back in ("back", "card")
    ),
    *(
        (name, "card", TEXT)
        for name in ("ok", "warn", "bad", "keyword", "string", "number", "name")
    ),
    *(
        (name, "back", TEXT)
        for name in ("ok", "warn", "bad", "keyword", "string", "number", "name")
    ),
    *(("text", back, TEXT) for back in ("ok-back", "warn-back", "bad-back", "mark")),
    *(("link", "mark", TEXT), ("link", "warn-back", TEXT), ("card", "link", TEXT)),
    *(("edge", "card", EDGE), ("edge", "back", EDGE)),
    *((f"s{number}", "card", EDGE) for number in range(1, 6)),
]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("one", "other", "least"), PAIRS)
def test_colours_have_contrast_in_both_themes(one: str, other: str, least: float) -> None:
    for theme in (0, 1):
        pair = sorted((luminance(COLOURS[one][theme]), luminance(COLOURS[other][theme])))
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= least


def test_nothing_but_a_sanitized_readme_is_written_as_it_is() -> None:
    unescaped = []
    for path in TEMPLATES:
        text = path.read_text(encoding="utf-8")
        unescaped += re.findall(r"[\w.]+ *\| *safe", text)
        assert not re.search(r"autoescape|\son\w+=|\sstyle=", text), path
    assert unescaped == ["readme | safe"]
    users = [path.name for path in ROOT.rglob("*.py") if "Markup(" in path.read_text()]
    assert sorted(users) == ["graph.py", "plots.py", "rendering.py"]


def test_templates_and_style_name_no_other_server() -> None:
    for path in (*TEMPLATES, ROOT / "presentation/static/style.css"):
        found = re.findall(r"""(?:src|href|url\()=?["']?(https?:)?//[^"')]+""", path.read_text())
        assert not found, path


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<b>", "<bdi>&lt;b&gt;</bdi>"),
        ("a\u202eb", '<bdi>a<span class="control">U+202E</span>b</bdi>'),
        ("\u200b\ufeff", '<bdi><span class="control">U+200B</span><span class="control">U+FEFF'),
        (5, "<bdi>5</bdi>"),
    ],
)
def test_texts_of_strangers_are_isolated(text: object, shown: str) -> None:
    assert str(foreign(text)).startswith(shown)


def test_times_are_in_utc() -> None:
    assert moment(0) == "1970-01-01 00:00 UTC"
