"""The judge of the playroom that comes along, on real renders that it was not trained on."""

from __future__ import annotations

import pytest
import torch

from minisora.eval.report import prompts, render_all
from minisora.eval.score import ATTRIBUTES, marks
from minisora.judge.network import load_judge
from minisora.judge.playroom import PlayroomJudge
from minisora.worlds.wear import wear

SIDE = 96


@pytest.fixture(scope="module")
def judged():
    scenes, asked = prompts(40)
    clips = render_all(scenes, (SIDE, SIDE))
    generator = torch.Generator().manual_seed(1)
    judge = load_judge(PlayroomJudge)
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
