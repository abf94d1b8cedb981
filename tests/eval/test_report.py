"""The judge that comes along, on real renders that it was not trained on, and the report on models of known worth."""

from __future__ import annotations

import json

import pytest
import torch

from minisora.bundle import Bundle, Sampling
from minisora.dit.model import DiT, DiTConfig
from minisora.eval.judge import load_judge
from minisora.eval.report import FIRST_SEED, ROWS, SECONDS, evaluate, prompts, render_all
from minisora.eval.score import ATTRIBUTES, marks
from minisora.eval.segment import wear
from minisora.eval.train import FIRST_SEED as JUDGE_SEED
from minisora.text.encoder import TextTokens
from minisora.vae.model import VAEConfig, VideoVAE
from minisora.video import Video

SIDE = 96


class Words:
    """Stands in for the text encoder."""

    def encode(self, texts):
        return TextTokens(torch.zeros(2 * len(texts), 8), [2] * len(texts))


class Faithful:
    """A model that shows what is asked for in every prompt, in order: real renders of the prompts' own scenes."""

    def __init__(self, count):
        torch.manual_seed(0)
        vae = VideoVAE(VAEConfig(widths=(8, 8, 8), latent_width=8, latent_channels=4)).eval()
        dit = DiT(DiTConfig(width=16, depth=1, num_heads=2, mlp_width=16, text_width=8, latent_channels=4)).eval()
        self.bundle = Bundle(name="faithful", vae=vae, dit=dit, text=Words(), sampling=Sampling(size=(SIDE, SIDE)))
        self.clips = render_all(prompts(count)[0], (SIDE, SIDE))
        self.asked = []

    def generate(self, prompt, *, seconds, seed):
        assert seconds == SECONDS
        self.asked.append(prompt)
        return Video(self.clips[seed], 8.0)


@pytest.fixture(scope="module")
def judged():
    scenes, asked = prompts(40)
    clips = render_all(scenes, (SIDE, SIDE))
    generator = torch.Generator().manual_seed(1)
    judge = load_judge()
    return {
        name: torch.tensor([marks(d, a) for d, a in zip(judge.describe(seen), asked, strict=True)]).nanmean(0)
        for name, seen in (("real", clips), ("worn", [wear(clip, generator) for clip in clips]))
    }


@pytest.mark.parametrize("seen", ["real", "worn"])
def test_the_judge_reads_real_renders(judged, seen):
    told = dict(zip(ATTRIBUTES, judged[seen].tolist(), strict=True))
    # with 40 clips one mistake is 1.2 to 2.5 %: the bars are those of 200 clips less two mistakes
    assert min(told[name] for name in ("colour", "shape", "count", "size")) > 0.90, told
    assert min(told[name] for name in ("motion", "camera")) > 0.85, told


def test_seeds_of_the_judge_and_of_the_report_lie_apart():
    assert abs(FIRST_SEED - JUDGE_SEED) > 10_000_000 and min(FIRST_SEED, JUDGE_SEED) > 10_000_000


def test_the_report_of_a_faithful_model(tmp_path):
    count, steps = 6, []
    model = Faithful(count)
    report = evaluate(model, tmp_path, count=count, on_step=lambda done, total: steps.append((done, total)))
    assert steps == [(n + 1, count) for n in range(count)] and len(set(model.asked)) == count
    assert report.rows[ROWS[2]] == pytest.approx(report.rows[ROWS[0]], nan_ok=True)
    assert report.normalised["colour"].value == pytest.approx(1)
    assert report.rows[ROWS[3]]["colour"] < report.rows[ROWS[2]]["colour"]
    assert report.motion_energy["model"] == report.motion_energy["real"] > 0
    assert len(report.loss_by_noise) == 10 and "playroom" in report.vae
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["count"] == count and set(written["rows"]) == set(ROWS)
    assert str(report) in (tmp_path / "report.md").read_text() and (tmp_path / "sheet.png").stat().st_size > 10_000
