"""Figures of clips with known motion: a world that slides, jerks, flickers, and stands still."""

from __future__ import annotations

import sys

import pytest
import torch
from torch.nn import functional as F

from minisora.errors import UsageError
from minisora.eval.no_reference import (
    dis_flow,
    distances_to_nearest,
    diversity,
    dynamic_degree,
    flicker,
    motion_smoothness,
    warping_error,
)
from minisora.eval.quality import frame_metrics
from minisora.video import Video

_SOFT = F.interpolate(
    torch.rand(1, 3, 16, 32, generator=torch.Generator().manual_seed(0)), scale_factor=8, mode="bicubic"
)
WORLD = (_SOFT.clamp(0, 1)[0].permute(1, 2, 0) * 255).to(torch.uint8)


def sliding(step, count=9, side=64):
    """The view moves right, so what is seen moves left by `step` pixels a frame."""
    return torch.stack([WORLD[20 : 20 + side, 10 + step * n : 10 + step * n + side] for n in range(count)])


def uniform(step):
    """The true flow of `sliding`, where both frames show it, for a clip that goes on or back."""

    def flow(one, other):
        forward = (other[:, :-step].int() - one[:, step:].int()).abs().sum() < (
            other[:, step:].int() - one[:, :-step].int()
        ).abs().sum()
        return torch.tensor([-float(step) if forward else float(step), 0.0]).expand(*one.shape[:2], 2)

    return flow


def still(one, other):
    return torch.zeros(*one.shape[:2], 2)


def test_flicker_by_hand():
    frames = torch.zeros(3, 4, 4, 3, dtype=torch.uint8)
    frames[1] = 51
    assert flicker(frames) == pytest.approx(1 - 51 / 255)
    assert flicker(frames[:1].expand(5, -1, -1, -1)) == 1
    with pytest.raises(UsageError, match="2 or more"):
        flicker(frames[:1])


def test_smoothness_with_the_true_flow():
    """Even motion says where the frames between are, but for the edges; a still guess does not."""
    clip = sliding(4)
    assert motion_smoothness(clip, uniform(8)) > 0.99 > motion_smoothness(clip, still)
    jerked = clip.clone()
    jerked[1::2] = clip[1::2].roll(5, 2)
    assert motion_smoothness(jerked, uniform(8)) < 0.97
    # without any flow it is the mean of the neighbours: 0, 90, 100 has 50 in the middle
    steps = torch.tensor([0, 90, 100]).to(torch.uint8).view(3, 1, 1, 1).expand(3, 4, 4, 3)
    assert motion_smoothness(steps, still) == pytest.approx(1 - 40 / 255)
    # an even number of frames: the last has no neighbour after it
    assert motion_smoothness(torch.cat([steps, 255 - steps[:1]]), still) == pytest.approx(1 - 40 / 255)


def test_motion_counts_by_its_fastest_pixels_and_by_pairs():
    frames = torch.zeros(16, 64, 64, 3, dtype=torch.uint8)
    least = 6 * 64 / 256
    moved = []

    def flow(one, other, pairs, share, speed):
        told = torch.zeros(64 * 64, 2)
        if len(moved) < pairs:
            told[: int(64 * 64 * share), 1] = speed
        moved.append(1)
        return told.view(64, 64, 2)

    def degree(pairs, share, speed, fps=8.0):
        moved.clear()
        return dynamic_degree(Video(frames, fps), lambda one, other: flow(one, other, pairs, share, speed))

    assert degree(4, 0.05, least + 0.01) and not degree(3, 0.05, least + 0.01)  # 4 pairs of 16 frames
    assert not degree(15, 0.05, least) and not degree(15, 0.02, least + 0.01)  # more than, of 5 % of the pixels
    assert degree(2, 0.05, 9.0, fps=16.0) and len(moved) == 7  # every second frame: 8, and 2 pairs of them
    moved.clear()
    assert not dynamic_degree(Video(frames[:2], 8.0), still)  # two frames, nothing moves


def test_warping_error_of_a_still_world_by_hand():
    frames = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
    frames[1] = 51
    assert warping_error(frames, still) == pytest.approx(3 * 0.2**2)  # over three channels
    # flow that does not come back: all is hidden, the error is 0 and no division by 0
    assert warping_error(frames, lambda one, other: torch.full((16, 16, 2), 3.0)) == 0


def test_warping_error_with_the_true_flow():
    clip = sliding(4)
    assert warping_error(clip, uniform(2)) < 0.2 * warping_error(clip, still)


def test_dis_flow_finds_a_shift_and_figures_carry_its_name():
    pytest.importorskip("cv2")
    clip = sliding(4, count=5)
    flow = dis_flow()(clip[0], clip[1])
    assert flow[16:-16, 16:-16].mean((0, 1)).tolist() == pytest.approx([-4, 0], abs=0.1)
    told = frame_metrics(Video(clip, 8.0))
    assert list(told) == ["flicker", "motion_smoothness[dis]", "dynamic_degree[dis]", "warping_error[dis]"]
    assert told["dynamic_degree[dis]"] == 1 and told["motion_smoothness[dis]"] > 0.95
    with pytest.raises(UsageError, match="12 pixels"):
        frame_metrics(Video(clip[:, :16, :16], 8.0))


def test_without_opencv_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UsageError, match=r"pip install 'minisora\[eval\]'"):
        dis_flow()


def colours(clip):
    return clip.float().mean((0, 1, 2))


def painted(*rgb):
    return torch.tensor(rgb, dtype=torch.uint8).expand(3, 4, 4, 3)


def test_diversity_is_the_mean_of_all_pairs():
    clips = [painted(0, 0, 0), painted(3, 4, 0), painted(0, 0, 0)]
    assert diversity(clips, colours) == pytest.approx((5 + 0 + 5) / 3)
    with pytest.raises(UsageError, match="2 or more seeds"):
        diversity(clips[:1], colours)


def test_the_nearest_training_clip_is_found_in_a_stream():
    training = [painted(200, 0, 0), painted(0, 6, 8), painted(0, 200, 0)]
    told = distances_to_nearest([painted(0, 0, 0), painted(0, 200, 0)], iter(training), colours)
    assert told == pytest.approx([10, 0])  # from the second; from the third, a copy
    with pytest.raises(UsageError, match="Cut and resize"):
        distances_to_nearest([painted(0, 0, 0)], [painted(0, 0, 0)[:2]], colours)
    with pytest.raises(UsageError, match="no training clip"):
        distances_to_nearest([painted(0, 0, 0)], [], colours)
