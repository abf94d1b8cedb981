"""Weights of judges: they come back, and those that cannot be read are refused with the reason."""

from __future__ import annotations

import pytest
import torch

from minisora.errors import WeightsError
from minisora.judge.network import load_judge, save_judge
from minisora.judge.playroom import PlayroomJudge
from minisora.judge.stickers import NUM_FRAMES, SIDE, StickerJudge
from minisora.video.files import save_tensors


def test_a_judge_of_another_world_is_refused_with_that_reason(tmp_path, monkeypatch):
    path = tmp_path / "judge.safetensors"
    monkeypatch.setattr(PlayroomJudge, "world", 7)
    save_judge(PlayroomJudge(), path)
    load_judge(PlayroomJudge, path)
    monkeypatch.setattr(PlayroomJudge, "world", 8)
    with pytest.raises(WeightsError, match=r"reads world 7, this minisora draws world 8: train it with"):
        load_judge(PlayroomJudge, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="missing or damaged"):
        load_judge(PlayroomJudge, path)
    save_tensors(dict(PlayroomJudge().named_parameters()), path)  # it does not say, as the first ones did not
    with pytest.raises(WeightsError, match="reads world 1,"):
        load_judge(PlayroomJudge, path)


def test_weights_come_back_and_missing_ones_are_said(tmp_path):
    judge, path = StickerJudge().eval(), tmp_path / "judge.safetensors"
    with pytest.raises(WeightsError, match=r"python -m minisora\.judge stickers"):
        load_judge(StickerJudge, path)
    save_judge(judge, path)
    clip = torch.randint(0, 256, (1, NUM_FRAMES, SIDE, SIDE, 3), dtype=torch.uint8)
    with torch.inference_mode():
        for ours, theirs in zip(judge(clip), load_judge(StickerJudge, path)(clip), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("kind", [PlayroomJudge, StickerJudge])
def test_the_weights_that_come_along_are_small_and_load(kind):
    assert kind.file().stat().st_size < 4_000_000
    judge = load_judge(kind)
    assert not judge.training and not any(each.requires_grad for each in judge.parameters())
