"""The page says what the ledger says, shows the thresholds, and needs nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from minisora.curate.decide import decide
from minisora.curate.ledger import Ledger
from minisora.curate.look import PLACES, Look
from minisora.curate.recipe import Input, Recipe, scores_of
from minisora.curate.report import chosen, write_report
from minisora.video import write_video
from tests.helpers.html import parsed

THRESHOLDS = {"duration": (2.0, 20.0), "sharpness": (3.0, None)}


@pytest.fixture
def page(tmp_path) -> Path:
    write_video(tmp_path / "a<b>.mp4", torch.randint(0, 256, (48, 32, 32, 3), dtype=torch.uint8), fps=24)
    draw = np.random.default_rng(0)
    count = 40
    recipe = Recipe(out=tmp_path / "out & about", input=Input(media=tmp_path), thresholds=THRESHOLDS)
    columns = {name: draw.uniform(0, 30, count) for name in scores_of(recipe)}
    clips = pa.table(
        {
            "key": [f"k{n}" for n in range(count)],
            "source": ["a<b>.mp4", *["gone.mp4"] * (count - 1)],
            "start": [0.0] * count,
            "stop": [2.0] * count,
            "captions": [["<script>alert(1)</script>"]] * count,
            **columns,
        }
    )
    decided = decide(clips, THRESHOLDS)
    kept = int(decided.keep.sum())
    ledger = Ledger(
        rows=count + 2,
        cut=0,
        joined=0,
        missing=1,
        quarantined={"reading": {"empty": 1}},
        dropped={"thresholds": {"all reasons": count - kept}},
        kept=kept,
        files=count + 1,
        samples=kept,
        seconds_in=80.0,
        seconds_kept=2.0 * kept,
    )
    lost = [{"source": "e.mp4", "stage": "reading", "error": "empty", "message": "e.mp4 is empty"}]
    missing = [{"origin": "t.csv:3", "source": "z.mp4", "reason": "there is no file called z.mp4."}]

    def engine(stage, rows):
        yield stage(rows)

    write_report(tmp_path / "report.html", recipe, ledger, clips, decided, lost, missing, engine)
    return tmp_path / "report.html"


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(page):
    read = parsed(page)
    assert read.addresses and all(address.startswith("data:image/jpeg;base64,") for address in read.addresses)
    for words in ("out & about", "a<b>.mp4", "<script>alert(1)</script>", "there is no file called z.mp4."):
        assert words in read.text, words


def test_thresholds_are_drawn_where_they_are(page):
    """A line of x = 2 on the axis that the labels of its ends give."""
    figure = next(part for part in page.read_text().split("<figure>") if "<b>duration</b>" in part)
    low, high = map(float, re.findall(r"<text[^>]*>([-\d.e]+)</text>", figure))
    lines = {float(title): float(at) for at, title in re.findall(r'd="M([\d.]+) 0V\d+"><title>([\d.]+)<', figure)}
    assert set(lines) == {2.0, 20.0}
    for value, at in lines.items():
        assert at / 336 == pytest.approx((value - low) / (high - low), abs=0.01)


def test_shown_clips_are_spread_over_their_kind():
    stage = ["", "thresholds"] * 50
    decided = decide(pa.table({"key": [str(n) for n in range(100)], "a": [float(n % 2) for n in range(100)]}), {})
    assert len(chosen(decided)[("kept", "")]) == 12
    decided.stage[:], decided.reason[:] = stage, ["", "a > 0"] * 50
    groups = chosen(decided)
    assert groups[("kept", "")][::11] == [0, 98] and groups[("thresholds", "a > 0")][::5] == [1, 99]


def test_what_cannot_be_seen_costs_its_picture_alone(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    places = pa.Table.from_pylist([{"source": "text.mp4", "start": 0.0, "stop": 1.0}], schema=PLACES)
    assert Look(Path(tmp_path))(places).to_pylist() == [{"jpeg": None}]
