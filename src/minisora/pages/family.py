"""A family tree as SVG: time runs down, a row for each box, families side by side.

A line leads from each box to those that it builds upon, unless another of them builds upon the same
already. Its style goes along, since the picture stands alone on pages of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

_COLUMN, _ROW, _TOP = 220, 36, 64  # pixels
_WIDTH, _HEIGHT = 160, 26  # of a box


@dataclass(frozen=True, kw_only=True)
class Box:
    """column: number of its family; after: names of the boxes that it builds upon"""

    name: str
    title: str
    column: int
    year: int
    after: tuple[str, ...] = ()


def family_tree(boxes: Sequence[Box], heads: Sequence[str]) -> Markup:
    """The drawing. boxes: the oldest first; heads: names of the families"""
    places = {box.name: (90 + _COLUMN * box.column, _TOP + _ROW * row) for row, box in enumerate(boxes)}
    lines, drawn, year = Markup(), Markup(), 0
    for box in boxes:
        x, y = places[box.name]
        for parent in _direct(box, boxes):
            lines += _line(places[parent], (x, y))
        drawn += Markup('<g class="f{}"><rect x="{}" y="{}" width="{}" height="{}" rx="6"/>').format(
            box.column, x, y, _WIDTH, _HEIGHT
        )
        drawn += Markup('<text x="{}" y="{}">{}</text></g>').format(x + _WIDTH // 2, y + 17, box.title)
        if box.year != year:
            drawn += Markup('<text class="head" x="30" y="{}">{}</text>').format(y + 17, box.year)
            year = box.year
    titles = Markup().join(
        Markup('<text class="head" x="{}" y="36">{}</text>').format(90 + _WIDTH // 2 + _COLUMN * column, head)
        for column, head in enumerate(heads)
    )
    width, height = 90 + _COLUMN * len(heads), _TOP + _ROW * len(boxes) + 10
    opening = Markup('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" width="{}"><style>{}</style>')
    return opening.format(width, height, width, Markup(_STYLE)) + lines + titles + drawn + Markup("</svg>\n")


def _direct(box: Box, boxes: Sequence[Box]) -> list[str]:
    """Those that a box builds upon, without what it has through another of them."""
    after = {each.name: each.after for each in boxes}

    def above(name: str) -> set[str]:
        return {name}.union(*(above(parent) for parent in after[name]))

    return [parent for parent in box.after if not any(parent in above(other) for other in box.after if other != parent)]


def _line(parent: tuple[int, int], child: tuple[int, int]) -> Markup:
    """Within a family an arc to the left of it; else from side to side."""
    (x, y), (to_x, to_y) = ((at_x, at_y + _HEIGHT // 2) for at_x, at_y in (parent, child))
    if x == to_x:
        bend = x - 14 - min(40, (to_y - y) // 12)
        return Markup('<path d="M{} {}C{} {} {} {} {} {}"/>').format(x, y, bend, y, bend, to_y, to_x, to_y)
    if to_x > x:
        x += _WIDTH
    else:
        to_x += _WIDTH
    middle = (x + to_x) // 2
    return Markup('<path d="M{} {}C{} {} {} {} {} {}"/>').format(x, y, middle, y, middle, to_y, to_x, to_y)


_STYLE = """
text { font: 13px system-ui, sans-serif; text-anchor: middle; fill: #1d2630 }
.head { font-size: 14px; font-weight: 600 }
path { fill: none; stroke: #8b96a3; stroke-width: 1.3 }
rect { stroke: #4a5560; fill: #eef1f4 }
.f0 rect { fill: #dbe7f5 } .f1 rect { fill: #dff0e2 } .f2 rect { fill: #f7e6d4 }
.f3 rect { fill: #ece0f3 } .f4 rect { fill: #f3f3ee }
@media (prefers-color-scheme: dark) {
  text { fill: #e8ebee } rect { stroke: #8b96a3 }
  .f0 rect { fill: #23374f } .f1 rect { fill: #234230 } .f2 rect { fill: #4d3a22 }
  .f3 rect { fill: #3e2d49 } .f4 rect { fill: #34342e }
}
"""
