"""A small graph of dependencies as SVG: a column for each level, a box for each project.

Graphs stop being readable at about 15 boxes, so larger ones are not drawn. The lists of the page
say the same, also to people who do not see the picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from markupsafe import Markup

MAX_BOXES = 15
LETTER, PADDING, HEIGHT = 7.3, 10, 28
"""Of a box, in user units: the width of a letter, the room beside the text, and its height."""
ROW, COLUMN = 44, 56
"""Between the tops of two boxes, and between two columns."""
MAX_LETTERS = 28


class _Box(NamedTuple):
    name: str
    x: float
    y: float
    width: float


def need_graph(
    title: str, levels: Sequence[Sequence[str]], edges: Iterable[tuple[str, str]]
) -> Markup | None:
    """``levels``: from the left; ``edges`` lead from a name to one that it needs.

    None if there are too many names, or there is no edge. ``title`` says what is shown.
    """
    from markupsafe import Markup

    boxes, width, height = _placed(levels)
    if len(boxes) > MAX_BOXES:
        return None
    lines = [
        _line(boxes[name], boxes[needed])
        for name, needed in edges
        if name in boxes and needed in boxes and name != needed
    ]
    if not lines:
        return None
    shown = Markup().join([*lines, *(_drawn(box) for box in boxes.values())])
    return Markup(
        '<svg class="graph" role="img" aria-label="{}" viewBox="0 0 {:.0f} {:.0f}"'
        ' width="{:.0f}" height="{:.0f}">{}</svg>'
    ).format(title, width, height, width, height, shown)


def _placed(levels: Sequence[Sequence[str]]) -> tuple[dict[str, _Box], float, float]:
    """All boxes by name, and the size of the picture; columns are centred."""
    height = max((len(level) for level in levels), default=0) * ROW + 2
    boxes, x = {}, 1.0
    for level in levels:
        longest = max((min(len(name), MAX_LETTERS) for name in level), default=0)
        width = longest * LETTER + 2 * PADDING
        y = (height - len(level) * ROW) / 2 + (ROW - HEIGHT) / 2
        for name in level:
            boxes[name] = _Box(name, x, y, width)
            y += ROW
        x += width + COLUMN
    return boxes, x - COLUMN + 1, height


def _drawn(box: _Box) -> Markup:
    from markupsafe import Markup

    name = box.name
    text = name if len(name) <= MAX_LETTERS else f"{name[: MAX_LETTERS - 1]}…"
    return Markup(
        '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{}" rx="6"/>'
        '<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>'
    ).format(box.x, box.y, box.width, HEIGHT, box.x + box.width / 2, box.y + 18.5, text)


def _line(start: _Box, end: _Box) -> Markup:
    """A curve to the left edge of a later column, or around if the column is not later."""
    from markupsafe import Markup

    middle = HEIGHT / 2
    x1, y1 = start.x + start.width, start.y + middle
    x2, y2 = (end.x, end.y + middle) if end.x > start.x else (end.x + end.width, end.y + middle)
    bend1 = x1 + COLUMN / 2
    bend2 = x2 - COLUMN / 2 if end.x > start.x else x2 + COLUMN / 2
    return Markup('<path d="M{:.1f} {:.1f}C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}"/>').format(
        x1, y1, bend1, y1, bend2, y2, x2, y2
    )
