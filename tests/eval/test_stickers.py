"""What is asked of stickers, what the judge says, and the table, on cases that are known on paper.

The last tests need the stickers in the cache and the judge's weights, and are skipped where either is missing.
"""

from __future__ import annotations

import json
import math
from dataclasses import astuple
from random import Random

import pytest
import torch

from minisora.bundle import Bundle, Sampling
from minisora.dit.model import DiT, DiTConfig
from minisora.errors import WeightsError
from minisora.eval.stickers import (
    ATTRIBUTES,
    ROWS,
    SECONDS,
    StickerReport,
    _normalised,
    left_out,
    marks,
    marks_of,
    prompts,
    sticker_report,
)
from minisora.judge import stickers as sticker_judge
from minisora.judge.stickers import (
    CLIPS,
    NUM_FRAMES,
    PICTURES,
    SIDE,
    TONES_TOLD,
    WEIGHTS,
    Reading,
    StickerJudge,
    accuracies,
    examples,
    load_sticker_judge,
    looks,
    losses,
    reading,
    save_sticker_judge,
    singles,
    words,
)
from minisora.progress import Event
from minisora.text.encoder import TextTokens
from minisora.vae.model import VAEConfig, VideoVAE
from minisora.video import Video
from minisora.worlds import stickers
from minisora.worlds.seeds import STICKER_JUDGE, STICKER_REPORT


@pytest.fixture(scope="module")
def judge():
    """Of the shape of the real one, not fitted."""
    torch.manual_seed(0)
    return StickerJudge().eval().requires_grad_(False)


def actor(asked):
    (one,) = asked.facts["actors"]
    return one


def faithful(asked, forward=0.99):
    """What a judge without mistakes would say of the prompt's own clip."""
    one = actor(asked)
    others = [name for name in words()[:9] if name != one["words"]]
    names = (*others[:4], one["words"])
    return Reading(names, one["person"] or "man", one["activity"] or "golfing", one["tone"] or "none", forward)


def test_the_network_answers_for_every_name_and_is_small(judge):
    clips = torch.randint(0, 256, (2, NUM_FRAMES, SIDE, SIDE, 3), dtype=torch.uint8)
    names, tones, order = judge(clips)
    assert len(set(words())) == len(words()) == 734
    assert names.shape == (2, len(words())) and tones.shape == (2, len(TONES_TOLD)) and order.shape == (2,)
    assert sum(value.numel() for value in judge.parameters()) * 2 < 4_000_000  # bytes in half precision


def test_a_clip_backward_is_read_the_other_way_and_a_still_one_neither_way(judge):
    clip = torch.randint(0, 256, (1, NUM_FRAMES, SIDE, SIDE, 3), dtype=torch.uint8)
    *_, forward = judge(clip)
    *_, backward = judge(clip.flip(1))
    assert forward.abs() > 1e-5
    torch.testing.assert_close(forward, -backward, rtol=1e-3, atol=1e-7)
    (still,) = judge.read([clip[0, :1].expand(NUM_FRAMES, -1, -1, -1)])
    assert still.forward == pytest.approx(0.5, abs=1e-5)


def test_weights_come_back_and_missing_ones_are_said(judge, tmp_path):
    path = tmp_path / "judge.safetensors"
    with pytest.raises(WeightsError, match=r"python -m minisora\.judge\.stickers"):
        load_sticker_judge(path)
    save_sticker_judge(judge, path)
    assert path.stat().st_size < 4_000_000
    clip = torch.randint(0, 256, (1, NUM_FRAMES, SIDE, SIDE, 3), dtype=torch.uint8)
    for ours, theirs in zip(judge(clip), load_sticker_judge(path)(clip), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)


def test_person_and_activity_are_of_the_best_name_that_has_them():
    names, tones = torch.zeros(len(words())), torch.zeros(len(TONES_TOLD))
    for height, name in enumerate(("man golfing", "firefighter", "woman rowing boat", "owl"), start=1):
        names[words().index(name)] = height
    tones[TONES_TOLD.index("medium-dark")] = 1
    told = reading(names, tones, 0.8)
    assert told.names[:4] == ("owl", "woman rowing boat", "firefighter", "man golfing") and len(told.names) == 5
    assert (told.person, told.activity, told.tone, told.forward) == ("woman", "rowing boat", "medium-dark", 0.8)
    names[words().index("firefighter")] = 9
    told = reading(names, tones, 0.8)
    assert (told.person, told.activity) == ("person", "firefighter")


def test_the_judge_looks_at_the_nearest_frames_at_its_own_size():
    frames = torch.arange(33, dtype=torch.uint8)[:, None, None, None].expand(33, 96, 128, 3)
    assert looks(frames, 16.0)[:, 0, 0, 0].tolist() == list(range(0, 33, 2))
    assert looks(frames[:5], 8.0)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, *[4] * 13]  # what is short stands still
    assert looks(frames, 16.0).shape == (NUM_FRAMES, SIDE, SIDE, 3)


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


def test_singles_are_drawn_from_a_seed_on():
    assert all(seed in STICKER_REPORT for seed, _ in singles(STICKER_REPORT.start, 3, split="train"))


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
    table = marks_of(dict(zip(ROWS, (real, real, made), strict=False)), asked)
    assert all(values.shape == (64, len(ATTRIBUTES)) for values in table.values())
    told = _normalised(table, asked, ("train", "held_out"))
    floor = dict(zip(ATTRIBUTES, table[ROWS[3]].nanmean(0).tolist(), strict=True))
    for name in ("name", "person", "activity", "tone"):
        assert floor[name] < 0.5
        assert told[name].value == pytest.approx((0.5 - floor[name]) / (1 - floor[name]), abs=0.02), name
        assert told[name].low < told[name].value < told[name].high
    assert floor["name"] < 0.1 < floor["person"]  # a shuffled prompt has one of three persons, one of many names
    assert floor["order"] == 0.5 and told["order"].value == pytest.approx(0, abs=0.05)
    assert table[ROWS[0]].isfinite().sum(0).tolist() == [40, 30, 24, 24, 24]


def test_the_report_is_written_with_what_was_not_asked_as_null():
    _, asked = prompts(2)
    table = marks_of({row: [faithful(one, forward=0.6) for one in asked] for row in ROWS[:3]}, asked)
    report = StickerReport(
        model="toy",
        count=2,
        asked=dict.fromkeys(ATTRIBUTES, 1),
        rows={row: dict(zip(ATTRIBUTES, values.nanmean(0).tolist(), strict=True)) for row, values in table.items()},
        normalised=_normalised(table, asked, ("train", "held_out")),
        by_phrasing={phrasing: _normalised(table, asked, (phrasing,)) for phrasing in ("train", "held_out")},
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
def batch():
    if stickers.missing([each.key for each in stickers.names()]):
        pytest.skip("the stickers are not in the cache")
    return examples(STICKER_JUDGE.start)


def test_examples_are_the_same_every_time_and_half_of_the_clips_run_backward(batch):
    again = examples(STICKER_JUDGE.start)
    assert all(map(torch.equal, astuple(batch), astuple(again)))
    assert batch.pictures.shape == (PICTURES, SIDE, SIDE, 3) and len(batch.names) == len(batch.tones)
    assert batch.clips.shape == (CLIPS, NUM_FRAMES, SIDE, SIDE, 3) and len(batch.names) == PICTURES + CLIPS
    assert set(batch.forward.tolist()) == {-1, 1}
    assert len(set(batch.names.tolist())) > 100 and len(set(batch.tones.tolist())) == len(TONES_TOLD)


def test_a_picture_is_its_backdrop_but_where_the_sticker_is(batch):
    ground = torch.full((1, 3, 2 * SIDE, 2 * SIDE), 128.0)
    random = Random(0)
    for shown in random.sample(stickers.names(), 20):
        picture, alpha = sticker_judge._picture(shown, ground, random)
        changed = (picture[0] != 128).any(-1)
        assert not changed[alpha[0] == 0].any()
        assert changed[alpha[0] > 0.99].float().mean() > 0.9
        assert 0.01 < alpha.mean() < 0.9 and alpha.max() < 1.001


def test_losses_begin_at_chance_and_fall_on_a_batch_that_is_seen_again(batch):
    torch.manual_seed(0)
    judge = StickerJudge()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=2e-3)
    told = []
    for _ in range(8):
        told.append(losses(judge, batch))
        optimizer.zero_grad()
        told[-1].sum().backward()
        optimizer.step()
    chance = torch.tensor([len(words()), len(TONES_TOLD), 2, 2]).log()
    torch.testing.assert_close(told[0].detach(), chance, atol=0.35, rtol=0.0)
    assert (told[-1][:3] < 0.8 * told[0][:3]).all(), told


@pytest.fixture(scope="module")
def ready():
    if reason := left_out():
        pytest.skip(reason)


@pytest.mark.long
@pytest.mark.parametrize("worn", [False, True])
def test_the_judge_reads_real_stagings(ready, worn):
    told = accuracies(load_sticker_judge(), number=100, worn=worn)
    assert min(told["name in 5"], told["person"], told["activity"]) > 0.97 and told["tone"] > 0.95, told
    assert told["order sure"] < 0.02 or told["order"] > 0.85, told


class Words:
    """Stands in for the text encoder."""

    def encode(self, texts):
        return TextTokens(torch.zeros(2 * len(texts), 8), [2] * len(texts))


class Faithful:
    """A model that shows what is asked for in every prompt, in order: real clips of the prompts' own stagings."""

    def __init__(self, count):
        torch.manual_seed(0)
        vae = VideoVAE(VAEConfig(widths=(8, 8, 8), latent_width=8, latent_channels=4)).eval()
        dit = DiT(DiTConfig(width=16, depth=1, num_heads=2, mlp_width=16, text_width=8, latent_channels=4)).eval()
        self.bundle = Bundle(name="faithful", vae=vae, dit=dit, text=Words(), sampling=Sampling(size=(SIDE, SIDE)))
        self.clips = stickers.render(prompts(count)[0], height=SIDE, width=SIDE, num_frames=NUM_FRAMES)

    def generate(self, prompt, *, seconds, seed):
        assert seconds == SECONDS
        return Video(self.clips[seed], 8.0)


def test_the_report_of_a_faithful_model(ready, tmp_path):
    count, steps = 16, []
    (tmp_path / "report.md").write_text("# faithful: prompt following\n")
    for _ in range(2):
        report = sticker_report(Faithful(count), tmp_path, count=count, on_event=steps.append)
    assert steps == 2 * [Event("stickers", n + 1, count) for n in range(count)]
    assert report.rows["model"] == pytest.approx(report.rows["real clips"], nan_ok=True)
    assert report.normalised["name"].value == pytest.approx(1)
    assert report.motion_energy["model"] == report.motion_energy["real clips"] > 0
    assert json.loads((tmp_path / "stickers.json").read_text())["count"] == count
    assert (tmp_path / "stickers.png").stat().st_size > 10_000
    whole = (tmp_path / "report.md").read_text()
    assert whole.startswith("# faithful: prompt following") and whole.count("# faithful: stickers") == 1
    assert (tmp_path / "stickers.md").read_text() in whole


def test_the_weights_that_come_along_are_small():
    if not WEIGHTS.exists():
        pytest.skip("the judge's weights are not there")
    assert WEIGHTS.stat().st_size < 4_000_000
