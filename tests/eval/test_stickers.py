"""What is asked of stickers, and the table, on cases that are known on paper.

The last test needs the stickers in the cache and the judge's weights, and is skipped where either
is missing.
"""

from __future__ import annotations

import json
import math

import pytest

from minisora.eval.following import MODEL, SHUFFLED, THROUGH, Outcome
from minisora.eval.stickers import (
    ATTRIBUTES,
    REAL,
    SECONDS,
    StickerReport,
    _subject,
    left_out,
    marks,
    marks_of,
    prompts,
    sticker_report,
)
from minisora.judge.stickers import NUM_FRAMES, SIDE, Reading, words
from minisora.progress import Event, Watch
from minisora.worlds import stickers
from tests.helpers.faithful import Faithful


def actor(asked):
    (one,) = asked.facts["actors"]
    return one


def faithful(asked, forward=0.99):
    """What a judge without mistakes would say of the prompt's own clip."""
    one = actor(asked)
    others = [name for name in words()[:9] if name != one["words"]]
    names = (*others[:4], one["words"])
    return Reading(names, one["person"] or "man", one["activity"] or "golfing", one["tone"] or "none", forward)


def followed(asked, table):
    return Outcome(subject=_subject(), asked=asked, clips={}, table=table, watch=Watch())


def test_prompts_are_the_same_every_time_and_keep_to_their_split():
    stagings, asked = prompts(48)
    assert (stagings, asked) == prompts(48)
    assert [one.facts["split"] for one in asked] == ["train"] * 30 + ["held_out"] * 18
    for staging, one in zip(stagings, asked, strict=True):
        shown = stickers.sticker(staging.actors[0].key)
        assert len(staging.actors) == 1
        assert stickers.is_held_out(shown) == actor(one)["held_out"] == (one.facts["split"] == "held_out")
        assert shown.noun in one.prompt
        assert shown.tone is None or f"{shown.tone} skin tone" in one.prompt
    for split in ("train", "held_out"):
        assert {one.phrasing for one in asked if one.facts["split"] == split} == {"train", "held_out"}


def test_marks_ask_names_of_the_training_set_and_parts_of_what_is_held_out():
    _, asked = prompts(16)
    known, held_out = asked[0], asked[-1]
    assert marks(faithful(known), known, sure=True)[:2] == [1, 1]
    assert marks(faithful(known, forward=0.2), known, sure=True)[1] == 0
    assert marks(faithful(known, forward=0.5), known, sure=True)[1] == 0.5
    assert math.isnan(marks(faithful(known), known, sure=False)[1])
    assert all(map(math.isnan, marks(faithful(known), known, sure=True)[2:]))
    assert all(map(math.isnan, marks(faithful(held_out), held_out, sure=True)[:2]))
    assert marks(faithful(held_out), held_out, sure=True)[2:] == [1, 1, 1]
    wrong = Reading(("owl",), "nobody", "nothing", "none", 0.9)
    assert marks(wrong, known, sure=True)[0] == 0 and marks(wrong, held_out, sure=True)[2:] == [0, 0, 0]


def test_the_table_of_a_model_that_is_right_every_second_time():
    _, asked = prompts(64)
    real = [faithful(one, forward=0.99 if n % 4 else 0.6) for n, one in enumerate(asked)]
    wrong = Reading(("none of them",), "nobody", "nothing", "nowhere", 0.1)
    made = [faithful(one) if n % 8 < 4 else wrong for n, one in enumerate(asked)]
    table = marks_of({REAL: real, THROUGH: real, MODEL: made}, asked)
    assert all(values.shape == (64, len(ATTRIBUTES)) for values in table.values())
    told = followed(asked, table).normalised()
    floor = dict(zip(ATTRIBUTES, table[SHUFFLED].nanmean(0).tolist(), strict=True))
    for name in ("name", "person", "activity", "tone"):
        assert floor[name] < 0.5
        assert told[name].value == pytest.approx((0.5 - floor[name]) / (1 - floor[name]), abs=0.02), name
        assert told[name].low < told[name].value < told[name].high
    assert floor["name"] < 0.1 < floor["person"]  # a shuffled prompt has one of three persons, one of many names
    assert floor["order"] == 0.5 and told["order"].value == pytest.approx(0, abs=0.05)
    assert table[REAL].isfinite().sum(0).tolist() == [40, 30, 24, 24, 24]


def test_the_report_is_written_with_what_was_not_asked_as_null():
    _, asked = prompts(2)
    table = marks_of({row: [faithful(one, forward=0.6) for one in asked] for row in (REAL, THROUGH, MODEL)}, asked)
    found = followed(asked, table)
    report = StickerReport(
        model="toy",
        count=2,
        asked=dict.fromkeys(ATTRIBUTES, 1),
        rows=found.means(),
        normalised=found.normalised(),
        by_phrasing=found.by_phrasing(),
        motion_energy={"real clips": 4.0, "VAE round trip": 3.9, "model": 3.0},
        seconds={"generating": 1.0},
    )
    written = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert written["rows"]["model"]["name"] == 1 and written["rows"]["model"]["order"] is None
    assert len(str(report).splitlines()) == 2 + len(ATTRIBUTES)
    assert str(report) in report.to_markdown() and "75 % of the real clips'" in report.to_markdown()


def test_stickers_that_were_not_fetched_are_said(monkeypatch, tmp_path):
    monkeypatch.setenv("MINISORA_CACHE", str(tmp_path))
    assert "2109 of 2109" in left_out() and "prepare()" in left_out()


@pytest.fixture(scope="module")
def ready():
    if reason := left_out():
        pytest.skip(reason)


def test_the_report_of_a_faithful_model(ready, tmp_path):
    count, steps = 16, []
    model = Faithful(
        stickers.render(prompts(count)[0], height=SIDE, width=SIDE, num_frames=NUM_FRAMES), seconds=SECONDS
    )
    (tmp_path / "report.md").write_text("# faithful: prompt following\n")
    for _ in range(2):
        report = sticker_report(model, tmp_path, count=count, on_event=steps.append)
    assert steps == 2 * [Event("stickers", n + 1, count) for n in range(count)]
    assert report.rows["model"] == pytest.approx(report.rows["real clips"], nan_ok=True)
    assert report.normalised["name"].value == pytest.approx(1)
    assert report.motion_energy["model"] == report.motion_energy["real clips"] > 0
    assert json.loads((tmp_path / "stickers.json").read_text())["count"] == count
    assert (tmp_path / "stickers.png").stat().st_size > 10_000
    whole = (tmp_path / "report.md").read_text()
    assert whole.startswith("# faithful: prompt following") and whole.count("# faithful: stickers") == 1
    assert (tmp_path / "stickers.md").read_text() in whole
