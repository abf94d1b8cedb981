"""Things at the edge of the frame are seen to be cut off, and in the real frames hardly ever."""

from __future__ import annotations

import torch

from minisora.eval.aspects import _cropped, cut_off
from minisora.eval.report import prompts, render_all
from minisora.judge.network import load_judge
from minisora.judge.playroom import PlayroomJudge


def test_a_crop_cuts_more_than_the_frame():
    segmenter = load_judge(PlayroomJudge).segmenter
    scenes, asked = prompts(4, aspect=88 / 48)
    clips = render_all(scenes, (48, 88))
    whole, cropped = (
        torch.tensor([cut_off(change(clip), one, segmenter) for clip, one in zip(clips, asked, strict=True)])
        for change in (lambda clip: clip, _cropped)
    )
    assert _cropped(clips[0]).shape == (17, 48, 48, 3)
    assert whole.nanmean() <= cropped.nanmean()
    pushed = clips[0].roll(44, 2)  # what was in the middle is now at both sides
    assert cut_off(pushed, asked[0], segmenter) >= cut_off(clips[0], asked[0], segmenter)
