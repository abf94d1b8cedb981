"""Curves of a benchmark as a picture. No more than `curve` is for others."""

from __future__ import annotations

import math
from collections.abc import Callable

from PIL import ImageDraw, ImageFont

from minisora.runs.plan import si

WIDE, HIGH, EDGE = 300, 200, 46  # pixels of a curve, and of the space around it for words
Point = tuple[float, float, float, float]
INK, PAPER, LINE = (30, 30, 30), (255, 255, 255), (205, 205, 205)


def curve(
    draw: ImageDraw.ImageDraw,
    left: int,
    top: int,
    title: str,
    points: list[Point],
    words: Callable[[float], str],
    *,
    even: bool = False,
) -> None:
    """One curve into a picture, both axes in powers of two, or even and from 0 on.

    left, top: of its frame, in pixels
    points:    (x, value, lowest, highest), all above 0
    words:     how a value is written beside its point
    """
    font = ImageFont.load_default(11)

    def along(value: float) -> float:
        return value if even else math.log2(max(value, 1e-9))

    xs, ys = [along(x) for x, *_ in points], [along(y) for _, *values in points for y in values]
    x_low, y_low = (0.0, 0.0) if even else (min(xs), min(ys))
    x_span, y_span = max(1e-9, max(xs) - x_low), max(1.0, max(ys) - y_low)

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (along(x) - x_low) / x_span, (along(y) - y_low) / y_span
        return left + 56 + across * (WIDE - 80), top + HIGH - 10 - up * (HIGH - 34)

    draw.text((left, top - 18), title, INK, font=font)
    draw.rectangle((left, top, left + WIDE, top + HIGH), outline=LINE)
    places = [at(x, y) for x, y, *_ in points]
    draw.line(places, INK, width=2)
    for (x, y, low, high), (across, up) in zip(points, places, strict=True):
        draw.line([at(x, low), at(x, high)], INK)
        draw.ellipse((across - 3, up - 3, across + 3, up + 3), INK)
        draw.text((across - 5, up - 4), words(y), INK, font=font, anchor="rs")
        draw.text((across, top + HIGH + 3), si(x).strip(), INK, font=font, anchor="ma")
