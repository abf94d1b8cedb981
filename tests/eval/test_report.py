"""The judge that comes along, on real renders that it was not trained on, and the report on models of known worth."""

from __future__ import annotations

import json

import pytest
import torch

from minisora.bundle import Bundle, Sampling
from minisora.dit.model import DiT, DiTConfig
from minisora.errors import WeightsError
from minisora.eval import report
from minisora.eval.report import ROWS, SECONDS, evaluate, prompts, render_all
from minisora.eval.score import ATTRIBUTES, marks
from minisora.judge import playroom as judge
from minisora.judge.playroom import Judge, load_judge, save_judge
from minisora.progress import Event
from minisora.text.encoder import TextTokens
from minisora.vae.model import VAEConfig, VideoVAE
from minisora.video import Video
from minisora.video.files import save_tensors
from minisora.worlds.wear import wear

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


def test_a_judge_of_another_world_is_refused_with_that_reason(tmp_path, monkeypatch):
    path = tmp_path / "judge.safetensors"
    monkeypatch.setattr(judge, "WORLD_VERSION", 7)
    save_judge(Judge(), path)
    load_judge(path)
    monkeypatch.setattr(judge, "WORLD_VERSION", 8)
    with pytest.raises(WeightsError, match=r"reads world 7, this minisora draws world 8: train it with"):
        load_judge(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="missing or damaged"):
        load_judge(path)
    save_tensors(dict(Judge().named_parameters()), path)  # it does not say, as the first ones did not
    with pytest.raises(WeightsError, match="reads world 1,"):
        load_judge(path)


def test_the_report_of_a_faithful_model(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "WORLD_VERSION", 3)  # as if it had been trained on the first one
    count, steps = 6, []
    model = Faithful(count)
    told = evaluate(model, tmp_path, count=count, on_event=steps.append)
    assert steps == [Event("prompts", n + 1, count) for n in range(count)] and len(set(model.asked)) == count
    assert told.rows[ROWS[2]] == pytest.approx(told.rows[ROWS[0]], nan_ok=True)
    assert told.normalised["colour"].value == pytest.approx(1)
    assert told.rows[ROWS[3]]["colour"] < told.rows[ROWS[2]]["colour"]
    assert told.motion_energy["model"] == told.motion_energy["real"] > 0
    assert len(told.loss_by_noise) == 10 and "playroom" in told.vae
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["count"] == count and set(written["rows"]) == set(ROWS)
    assert str(told) in (tmp_path / "report.md").read_text() and (tmp_path / "sheet.png").stat().st_size > 10_000
    assert written["world"] == {"trained": 1, "judged": 3}
    assert (
        "was trained on world 1; what it is asked for, and the judge, are of world 3."
        in (tmp_path / "report.md").read_text()
    )
