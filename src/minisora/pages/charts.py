"""Charts as SVG: a histogram, curves, a bar with its interval, columns.

Their colours are in style.css.

Here: coordinates and SVG. Not here: the data, and the text around a chart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

BINS = 48
TAIL_PERCENT = 0.5  # of a histogram's values at each end, which share the outermost bins
LEFT, RIGHT = -0.25, 1.25  # ends of a bar's axis; the floor is 0 and the ceiling 1


@dataclass(frozen=True)
class Curve:
    """One line of a chart. Values that are not finite are left out.

    number: of its colour; the same for the same run in every chart
    """

    number: int
    x: Sequence[float]
    y: Sequence[float]


def histogram(values: npt.NDArray[np.float64], marked: npt.NDArray[np.bool_], limits: Sequence[float]) -> Markup:
    """A histogram of all values, in front of it that of the marked ones, and a line at each limit.

    values, marked: (N,), values finite, N at least 1
    """
    width, height = 336, 96
    low, high = (float(end) for end in np.percentile(values, [TAIL_PERCENT, 100 - TAIL_PERCENT]))
    low, high = min([low, *limits]), max([high, *limits])
    if high <= low:
        low, high = low - 0.5, high + 0.5
    inside = np.clip(values, low, high)
    every, _ = np.histogram(inside, BINS, (low, high))
    front, _ = np.histogram(inside[marked], BINS, (low, high))
    most, step = every.max(), width / BINS
    drawn = Markup()
    for kind, counts in (("behind", every), ("front", front)):
        path = "".join(
            f"M{n * step:.1f} {height}v{-height * count / most:.1f}h{step - 1:.1f}V{height}z"
            for n, count in enumerate(counts.tolist())
            if count
        )
        drawn += Markup('<path class="{}" d="{}"/>').format(kind, path)
    for limit in limits:
        x = width * (limit - low) / (high - low)
        drawn += Markup('<path class="mark" d="M{:.1f} 0V{}"><title>{:g}</title></path>').format(x, height, limit)
    drawn += _text(0, height + 14, _short(low)) + _text(width, height + 14, _short(high), anchor="end")
    listed = ", ".join(f"{limit:g}" for limit in limits) or "none"
    label = f"histogram of {len(values)} values from {low:.4g} to {high:.4g}, limits {listed}"
    return _svg("histogram", width, height + 18, label, drawn)


def curves(lines: Sequence[Curve], label: str) -> Markup:
    """Lines over one pair of axes; empty where no value is finite.

    The first steps and a burst would flatten all the rest: the highest hundredth is cut off.
    """
    width, height, left, top = 360, 142, 54, 6
    points = [(line.number, _finite(line)) for line in lines]
    xs = [x for _, line in points for x, _ in line]
    ys = sorted(y for _, line in points for _, y in line)
    if not ys:
        return Markup()
    low, high = ys[0], ys[max(0, round(0.99 * len(ys)) - 1)]
    high = high if high > low else low + (abs(low) or 1.0)
    first, last = min(xs), max(xs)

    def place(x: float, y: float) -> str:
        across = left + (width - left - 4) * (x - first) / max(1, last - first)
        down = top + (height - top) * (high - min(y, high)) / (high - low)
        return f"{across:.1f},{down:.1f}"

    drawn = Markup('<path class="axis" d="M{} 2V{}H{}"/>').format(left, height, width)
    drawn += _text(left - 4, 10, _short(high), anchor="end") + _text(left - 4, height, _short(low), anchor="end")
    drawn += _text(left, height + 14, f"{first:,.0f}") + _text(width, height + 14, f"{last:,.0f}", anchor="end")
    for number, line in points:
        path = " ".join(place(x, y) for x, y in line)
        drawn += Markup('<polyline style="stroke: {}" points="{}"/>').format(colour(number), path)
    return _svg("curves", width, height + 18, label, drawn)


def bar(value: float | None, low: float | None, high: float | None) -> Markup | None:
    """A bar from the floor, 0, to the value, with its interval; None if any of them is unknown.

    The ceiling is 1. Values beyond the axis end at its edge.
    """
    if value is None or low is None or high is None or not all(map(math.isfinite, (value, low, high))):
        return None

    def x(at: float) -> float:
        return 200 * (min(max(at, LEFT), RIGHT) - LEFT) / (RIGHT - LEFT)

    start, end = sorted((x(0), x(value)))
    drawn = Markup('<rect class="front" x="{:.1f}" y="4" width="{:.1f}" height="10"/>').format(start, end - start)
    drawn += Markup('<path class="mark" d="M{0:.1f} 0V18M{1:.1f} 0V18"/>').format(x(0), x(1))
    drawn += Markup('<path class="interval" d="M{0:.1f} 9H{1:.1f}M{0:.1f} 6V12M{1:.1f} 6V12"/>').format(x(low), x(high))
    return _svg("bar", 200, 18, f"{value:.2f} of the way, {low:.2f} to {high:.2f}", drawn)


def columns(values: Sequence[float], label: str) -> Markup:
    """A column for each value, from 0, with its number under it."""
    most = max(values) or 1.0
    drawn = Markup()
    for n, value in enumerate(values):
        height = 60 * value / most
        drawn += Markup('<rect class="front" x="{}" y="{:.1f}" width="28" height="{:.1f}"/>').format(
            36 * n + 4, 64 - height, height
        )
        drawn += _text(36 * n + 18, 76, f"{value:.2f}", anchor="middle")
    return _svg("columns", 36 * len(values), 80, label, drawn)


def colour(number: int) -> str:
    """A CSS colour; the golden angle keeps any number of hues apart."""
    return f"hsl({(210 + 137.5 * number) % 360:.0f} 60% 50%)"


def _finite(line: Curve) -> list[tuple[float, float]]:
    return [(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]


def _svg(kind: str, width: float, height: float, label: str, drawn: Markup) -> Markup:
    return Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        kind, width, height, label, drawn
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(x, y, anchor, text)


def _short(value: float) -> str:
    """At most eight characters: four digits, and a letter where there are millions or more."""
    for power, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= power:
            return f"{value / power:.4g} {letter}"
    return f"{value:.4g}"
