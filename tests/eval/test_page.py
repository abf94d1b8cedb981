"""The page parses, holds everything itself, and shows what the files say."""

from __future__ import annotations

import base64
import json
import math

import pytest
from PIL import Image

from minisora.errors import UsageError
from minisora.eval.page import write_page
from tests.helpers.html import parsed


def score(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def folder_of(path, colour=0.8, model="toybox", stickers=True):
    path.mkdir()
    rows = ("real renders", "VAE round trip", "model", "captions shuffled")
    unknown = {"value": None, "low": None, "high": None}
    report = {
        "model": model,
        "count": 200,
        "rows": {row: {"colour": 0.9 - n / 10, "size": None} for n, row in enumerate(rows)},
        "normalised": {"colour": score(colour), "size": unknown},
        "by_phrasing": {name: {"colour": score(colour), "size": unknown} for name in ("train", "held_out")},
        "vae": {"playroom": {"psnr_db": 30.46, "ssim": 0.8971, "clips": 16}},
        "loss_by_noise": [0.55, 0.36],
        "motion_energy": {"real": 2.17, "model": 3.26},
        "versions": {"torch": "2.13"},
        "device": "cpu, 2 threads",
        "seconds": {"judging": 26.0},
    }
    (path / "results.json").write_text(json.dumps(report))
    if stickers:
        (path / "stickers.json").write_text(json.dumps({**report, "asked": {"colour": 100, "size": 0}}))
    figure = {"verb": "extend", "better": "lower", "n": 24, "mean": 2.0, "low": 1.5, "high": 2.5}
    verbs = [
        {**figure, "name": "join", "floor": 3.0, "ceiling": 1.0},
        {**figure, "name": "exact", "floor": 1.0, "ceiling": 1.0},
        {
            **figure,
            "name": "way",
            "mean": math.nan,
            "low": math.nan,
            "high": math.nan,
            "floor": math.nan,
            "ceiling": 0.0,
        },
    ]
    (path / "verbs.json").write_text(json.dumps(verbs))
    Image.new("RGB", (32, 16), "red").save(path / "sheet.png")
    return path


def test_one_folder(tmp_path):
    path = write_page(folder_of(tmp_path / "a", model="<b>&co"))
    page = parsed(path)
    assert path == tmp_path / "a" / "page.html"
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    assert report["results"] == json.loads((tmp_path / "a" / "results.json").read_text())
    for words in (
        "<b>&co",
        "0.800 [0.700, 0.900]",
        "2.000 [1.500, 2.500]",
        "30.46",
        "not measured",
        "seen words",
        "0.55",
    ):
        assert words in page.text, words
    assert page.addresses == [
        "data:image/png;base64," + base64.b64encode((tmp_path / "a" / "sheet.png").read_bytes()).decode()
    ]
    assert "input" not in page.tags and page.tags.count("table") == 4 and "prefers-color-scheme: dark" in page.text


def test_two_folders_have_a_slider_and_changes(tmp_path):
    was, now = folder_of(tmp_path / "was", colour=0.3, stickers=False), folder_of(tmp_path / "now")
    page = parsed(write_page(now, was))
    assert page.tags.count("input") == 1 and len(page.addresses) == 2
    assert "1 of 3 figures changed" in page.text and "+0.500 ± 0.141" in page.text and "better" in page.text


def test_only_verbs(tmp_path):
    folder = folder_of(tmp_path / "a")
    for name in ("results.json", "stickers.json", "sheet.png"):
        (folder / name).unlink()
    page = parsed(write_page(folder))
    assert page.tags.count("table") == 1 and page.addresses == []


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no"):
        write_page(tmp_path)
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(UsageError, match="did not write"):
        write_page(tmp_path)
    assert not (tmp_path / "page.html").exists()
