"""Intervals of figures that only a set has, against what is known of the mean."""

from __future__ import annotations

import json
import math

import pytest
import torch

from minisora.eval.rows import figure_of, figure_of_set, write_rows


def test_halves_of_a_set_spread_as_the_whole_does():
    """The mean of N numbers of deviation s has an interval of 2 x 1.96 s / sqrt(N)."""
    rows = torch.randn(400, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    figure = figure_of_set("a", "mean", "higher", lambda part: float(part.mean()), rows, floor=0.0, ceiling=1.0)
    assert figure.mean == pytest.approx(float(rows.mean())) and figure.n == 400
    width = 2 * 1.96 * float(rows.std()) / 20
    assert figure.high - figure.low == pytest.approx(width, rel=0.2) and figure.low < figure.mean < figure.high
    few = figure_of_set("a", "mean", "higher", lambda part: float(part.mean()), rows[:3], floor=0.0, ceiling=1.0)
    assert math.isnan(few.low) and math.isfinite(few.mean)


def test_a_measure_of_no_clip_is_nothing_of_none(tmp_path):
    nan = math.nan
    figure = figure_of("a", "way", [{"way": ("lower", nan, nan, 0.0)}])
    assert figure.n == 0 and math.isnan(figure.mean) and "nan" in figure.row()
    write_rows([figure], tmp_path / "new", "some")
    assert json.loads((tmp_path / "new" / "some.json").read_text())[0]["n"] == 0
    assert figure.row() in (tmp_path / "new" / "some.md").read_text()
