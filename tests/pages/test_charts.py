"""Marks stand where the numbers are: read back from the SVG, on axes that its labels give."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from minisora.pages import charts


def numbers(text: str, name: str) -> list[float]:
    return [float(value) for value in re.findall(rf' {name}="([-\d.]+)"', text)]


@pytest.mark.parametrize(
    ("value", "begin", "end"), [(1.0, 0, 1), (-9.0, charts.LEFT, 0), (0.5, 0, 0.5), (9.0, 0, charts.RIGHT)]
)
def test_a_bar_goes_from_the_floor_to_the_value(value, begin, end):
    """What lies beyond the axis ends in its edge."""
    svg = str(charts.bar(value, value - 0.1, value + 0.1))
    (x,), (width,) = numbers(svg, "x"), numbers(svg, "width")
    places = [200 * (at - charts.LEFT) / (charts.RIGHT - charts.LEFT) for at in (begin, end)]
    assert (x, x + width) == pytest.approx(places, abs=0.1)


def test_what_is_unknown_has_no_bar():
    assert charts.bar(None, None, None) is charts.bar(math.nan, 0.0, 1.0) is None


def test_the_bars_of_a_histogram_hold_all_values():
    values = np.random.default_rng(0).normal(size=1000)
    svg = charts.histogram(values, values > 0, [0.0])
    heights = [
        [float(height) for height in re.findall(r"v-([\d.]+)", path)] for path in re.findall(r' d="([^"]*h[^"]*)"', svg)
    ]
    every, front = map(sum, heights)
    assert front / every == pytest.approx((values > 0).mean(), abs=0.01)
    assert max(heights[0]) == 96
    low, high = map(float, re.findall(r">([-\d.]+)</text>", svg))
    (limit,) = map(float, re.findall(r'class="mark" d="M([\d.]+) 0V', svg))
    assert limit / 336 == pytest.approx(-low / (high - low), abs=0.001)
    assert (low, high) == pytest.approx(np.percentile(values, [0.5, 99.5]), rel=0.001)


def test_a_histogram_of_one_value():
    assert "<path" in charts.histogram(np.ones(3), np.zeros(3, bool), [])


def test_curves_share_their_axes_and_leave_out_what_is_not_finite():
    one = charts.Curve(0, [0, 10, 20], [1.0, math.nan, 3.0])
    two = charts.Curve(3, [20, 40], [math.inf, 2.0])
    svg = charts.curves([one, two], "loss <of two>")
    lines = re.findall(r'points="([^"]*)"', svg)
    lines = [[tuple(map(float, point.split(","))) for point in points.split()] for points in lines]
    (start, end), (last,) = lines
    assert start[0] < end[0] < last[0] and end[0] - start[0] == pytest.approx(last[0] - end[0])
    assert end[1] < last[1] < start[1]  # SVG's y grows downwards
    assert charts.colour(0) in svg and charts.colour(3) in svg
    assert 'aria-label="loss &lt;of two&gt;"' in svg
    assert charts.curves([charts.Curve(0, [1], [math.nan])], "loss") == ""


def test_a_burst_does_not_flatten_a_curve():
    values = [1.0] * 100 + [2.0] * 100 + [1000.0]
    svg = charts.curves([charts.Curve(0, range(201), values)], "norm")
    assert ">2</text>" in svg and "1000" not in svg


def test_columns_are_as_high_as_their_values():
    svg = charts.columns([1.0, 2.0, 0.0], "loss")
    assert numbers(svg, "height") == [30, 60, 0]


@pytest.mark.parametrize(
    ("value", "text"), [(0.12345, "0.1234"), (763.72, "763.7"), (4.3034e9, "4.303 G"), (-2e6, "-2 M")]
)
def test_labels_are_short(value, text):
    assert charts._short(value) in (text, text.replace("1234", "1235"))
