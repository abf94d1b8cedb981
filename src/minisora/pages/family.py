"""A family tree as SVG: time runs down, a row for each box, families side by side.

A line leads from each box to those that it builds upon, unless another of them builds upon the same
already.

Here: coordinates. Not here: the drawing, whose style goes along (templates/family.svg).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minisora.pages import rendered

_LEFT, _TOP = 90, 64  # pixels: room for years and heads
_COLUMN, _ROW = 220, 36
_WIDTH, _HEIGHT = 160, 26  # of a box
_TEXT = 17  # from the top of a box to the line that its text stands on


@dataclass(frozen=True, kw_only=True)
class Box:
    """column: number of its family; after: names of the boxes that it builds upon"""

    name: str
    title: str
    column: int
    year: int
    after: tuple[str, ...] = ()


def family_tree(boxes: Sequence[Box], heads: Sequence[str]) -> str:
    """The drawing. boxes: the oldest first; heads: names of the families"""
    places = {box.name: (_LEFT + _COLUMN * box.column, _TOP + _ROW * row) for row, box in enumerate(boxes)}
    years = {box.year: places[box.name][1] for box in reversed(boxes)}  # where each begins
    return rendered(
        "family.svg",
        width=_LEFT + _COLUMN * len(heads),
        height=_TOP + _ROW * len(boxes) + 10,
        wide=_WIDTH,
        high=_HEIGHT,
        lines=[_line(places[parent], places[box.name]) for box in boxes for parent in _direct(box, boxes)],
        heads=[
            *((_LEFT + _COLUMN * n + _WIDTH // 2, _TOP // 2, head) for n, head in enumerate(heads)),
            *((_LEFT // 3, y + _TEXT, year) for year, y in years.items()),
        ],
        placed=[(*places[box.name], box) for box in boxes],
    )


def _direct(box: Box, boxes: Sequence[Box]) -> list[str]:
    """Those that a box builds upon, without what it has through another of them."""
    after = {each.name: each.after for each in boxes}

    def above(name: str) -> set[str]:
        return {name}.union(*(above(parent) for parent in after[name]))

    return [parent for parent in box.after if not any(parent in above(other) for other in box.after if other != parent)]


def _line(parent: tuple[int, int], child: tuple[int, int]) -> tuple[int, int, int, int, int]:
    """Both ends and where it bends: within a family to the left of it, else from side to side."""
    (x, y), (to_x, to_y) = ((at_x, at_y + _HEIGHT // 2) for at_x, at_y in (parent, child))
    if x == to_x:
        return x, y, x - 14 - min(40, (to_y - y) // 12), to_x, to_y
    x, to_x = (x + _WIDTH, to_x) if to_x > x else (x, to_x + _WIDTH)
    return x, y, (x + to_x) // 2, to_x, to_y
