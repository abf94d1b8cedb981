"""What counts as a change, on reports in the form that `evaluate` writes."""

from __future__ import annotations

import json
import math

import pytest

from minisora.errors import UsageError
from minisora.eval.compare import SAME, UNKNOWN, Measured, compare, read_report, verdict


def score(value, half=0.05):
    return {"value": value, "low": value - half, "high": value + half}


def report(**scores):
    return {
        "model": "toybox",
        "count": 200,
        "normalised": {name: score(value) for name, value in scores.items()}
        | {"size": {"value": None, "low": None, "high": None}},
        "vae": {"playroom": {"psnr_db": 30.0, "ssim": 0.9, "clips": 16}},
        "loss_by_noise": [0.5, 0.3],
    }


def verb(name, mean, better, half=0.1):
    low, high = (mean - half, mean + half) if not math.isnan(mean) else (mean, mean)
    return {"verb": "extend", "name": name, "better": better, "n": 24, "mean": mean, "low": low, "high": high}


def written(path, data):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")  # NaN as Python writes it
    return path


@pytest.mark.parametrize(
    ("change", "better", "said"),
    [(0.06, "higher", SAME), (0.08, "higher", "better"), (0.08, "lower", "worse"), (-0.08, "lower", "better")],
)
def test_half_widths_add_in_quadrature(change, better, said):
    """0.05 and 0.05 make 0.0707."""
    assert verdict(Measured(0.5, 0.45, 0.55, better), Measured(0.5 + change, 0.45, 0.55, better)) == said


def test_without_an_interval_nothing_is_said():
    assert (
        verdict(Measured(30.0, math.nan, math.nan, "higher"), Measured(40.0, math.nan, math.nan, "higher")) == UNKNOWN
    )


def test_exact_figures_are_the_same_or_changed():
    exact = Measured(1.0, 1.0, 1.0, "higher")
    assert verdict(exact, exact) == SAME and verdict(exact, Measured(0.9, 0.9, 0.9, "higher")) == "worse"


def test_two_results(tmp_path):
    a = written(tmp_path / "a" / "results.json", report(colour=0.8, shape=0.1, count=0.3))
    b = written(tmp_path / "b" / "results.json", report(colour=0.82, shape=0.5, count=0.1))
    text = compare(a, b)
    assert "better: shape\n" in text and "worse: count\n" in text
    assert "| shape | 0.100 [0.050, 0.150] | 0.500 [0.450, 0.550] | +0.400 ± 0.071 | better |" in text
    assert "1 within noise, 3 without an interval" in text and "size" not in text
    assert "| VAE, playroom: psnr_db | 30.000 | 30.000 | +0.000 | no interval |" in text


def test_two_folders_and_a_figure_that_only_one_has(tmp_path):
    for name, join in (("a", 3.0), ("b", 1.5)):
        written(tmp_path / name / "results.json", report(colour=0.8))
        written(tmp_path / name / "verbs.json", [verb("join", join, "lower"), verb("way", math.nan, "lower")])
        written(tmp_path / name / "stickers.json", {**report(person=0.4), "asked": {"person": 60}})
    written(tmp_path / "b" / "verbs.json", [verb("join", 1.5, "lower"), verb("seam", 1.0, "lower")])
    text = compare(tmp_path / "a", tmp_path / "b")
    assert "better: extend: join\n" in text and "| stickers: person | 0.400" in text
    assert f"only in {tmp_path / 'b'}: extend: seam" in text and "way" not in text
    assert set(read_report(tmp_path / "a" / "verbs.json").figures) == {"extend: join"}


def test_what_cannot_be_compared_is_refused(tmp_path):
    results = written(tmp_path / "results.json", report(colour=0.8))
    verbs = written(tmp_path / "verbs.json", [verb("join", 3.0, "lower")])
    with pytest.raises(UsageError, match="no figure in common"):
        compare(results, verbs)
    with pytest.raises(UsageError, match="cannot be read"):
        compare(results, tmp_path / "none.json")
    for wrong in ({"rows": {}}, [1, 2], {"normalised": {"colour": 1}, "model": "m", "count": 1}):
        with pytest.raises(UsageError, match="is not what"):
            compare(results, written(tmp_path / "wrong.json", wrong))
    (tmp_path / "text.json").write_text("{")
    with pytest.raises(UsageError, match="not JSON"):
        compare(results, tmp_path / "text.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no"):
        compare(tmp_path / "empty", results)
