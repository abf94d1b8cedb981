"""The distance against closed forms and SciPy, and what features are given and give."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from minisora.errors import UsageError, WeightsError
from minisora.eval.frechet import (
    I3D_SIDE,
    clip_features,
    frechet_distance,
    i3d_input,
    load_i3d,
    playroom_features,
)
from minisora.worlds import playroom


def normal(count, mean, scale, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.as_tensor(scale, dtype=torch.float64)
    return torch.randn(count, len(scale), generator=generator, dtype=torch.float64) * scale + mean


def test_the_distance_is_that_of_a_general_matrix_root():
    mixed = torch.randn(5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    one, other = normal(40, 0.0, torch.ones(5)), normal(60, 0.5, torch.arange(1, 6), seed=2) @ mixed
    covs = [np.cov(each.numpy(), rowvar=False) for each in (one, other)]
    root = sqrtm(covs[0] @ covs[1])
    mean = ((one.mean(0) - other.mean(0)) ** 2).sum().item()
    expected = mean + np.trace(covs[0] + covs[1] - 2 * root.real)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(other, one) == pytest.approx(expected, rel=1e-9)


def test_the_distance_in_one_dimension():
    """There it is (m1 - m2)^2 + (s1 - s2)^2."""
    one = torch.tensor([[1.0], [3.0]])  # mean 2, variance 2
    other = torch.tensor([[0.0], [10.0]])  # mean 5, variance 50
    assert frechet_distance(one, other) == pytest.approx(9 + (50**0.5 - 2**0.5) ** 2)


def test_a_shift_and_a_scale_of_the_same_features():
    one = normal(30, 0.0, [1.0, 2.0, 3.0])
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(one, one + 2) == pytest.approx(3 * 4)
    traces = (one - one.mean(0)).square().sum().item() / 29
    grown = one.mean(0) + 3 * (one - one.mean(0))
    assert frechet_distance(one, grown) == pytest.approx((3 - 1) ** 2 * traces)


def test_fewer_clips_than_features():
    """The covariance has no inverse, and a general matrix root fails or turns complex."""
    few = normal(4, 0.0, torch.ones(50))
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-5)
    still = torch.zeros(8, 50)
    assert frechet_distance(still, still + 1) == pytest.approx(50)


def test_what_has_no_distance_is_refused():
    with pytest.raises(UsageError, match="2 or more"):
        frechet_distance(torch.zeros(1, 4), torch.zeros(8, 4))
    with pytest.raises(UsageError, match="same features"):
        frechet_distance(torch.zeros(8, 4), torch.zeros(8, 5))
    clips = [torch.zeros(count, 16, 16, 3, dtype=torch.uint8) for count in (17, 16)]
    with pytest.raises(UsageError, match="17 and of 16"):
        clip_features(clips, lambda clip: clip.float().mean((0, 1, 2)))
    with pytest.raises(UsageError, match="no clips"):
        clip_features([], lambda clip: clip)


def test_features_of_the_playroom_see_what_is_shown_and_in_which_order():
    frames = playroom.render([playroom.draw(3)], height=64, width=64, fps=8.0, num_frames=9).frames[0]
    features = playroom_features()
    real = features(frames)
    shuffled = features(frames[[4, 0, 7, 2, 8, 1, 5, 3, 6]])
    assert real.shape == (128,) and real.isfinite().all()
    assert torch.allclose(real[:64], shuffled[:64], atol=1e-4)  # looks: the same frames
    assert shuffled[64:96].sum() > 1.5 * real[64:96].sum()  # change between neighbours
    empty = features(torch.full((2, 40, 72, 3), 90, dtype=torch.uint8))  # no thing, another size
    assert empty.shape == real.shape and empty.isfinite().all() and empty[64:96].abs().max() == 0
    with pytest.raises(UsageError, match="does not move"):
        features(frames[:1])


class Stub(torch.nn.Module):
    """The signature of the file, and logits that can be worked out."""

    def forward(self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False):
        assert not rescale and not resize and return_features
        return x.mean((3, 4)).flatten(1)


def test_i3d_is_given_what_it_was_published_with(tmp_path):
    torch.jit.script(Stub()).save(tmp_path / "i3d.pt")
    features = load_i3d(tmp_path / "i3d.pt")
    frames = torch.zeros(12, 30, 40, 3, dtype=torch.uint8)
    frames[6:, ..., 1] = 255
    told = features(frames).view(3, 12)
    assert told[1].tolist() == [-1.0] * 6 + [1.0] * 6 and told[0].tolist() == [-1.0] * 12
    with pytest.raises(UsageError, match="10 frames or more"):
        features(frames[:9])
    (tmp_path / "damaged.pt").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="i3d_torchscript"):
        load_i3d(tmp_path / "damaged.pt")


@pytest.mark.parametrize("size", [(64, 64), (90, 160), (160, 91)])
def test_i3d_sees_the_middle_of_a_frame(size):
    frames = torch.zeros(2, *size, 3, dtype=torch.uint8)
    height, width = size
    side = min(size)
    top, left = (height - side) // 2, (width - side) // 2
    frames[:, top : top + side, left : left + side] = 255
    x = i3d_input(frames)
    assert x.shape == (3, 2, I3D_SIDE, I3D_SIDE) and x[..., 4:-4, 4:-4].min() == 1
    assert (x == 1).float().mean() > 0.97


@pytest.mark.skipif("MINISORA_I3D" not in os.environ, reason="MINISORA_I3D does not name i3d_torchscript.pt")
def test_fvd_is_the_published_value():
    """8 videos of 30 frames, all 0 against all 1: 151.26, within 1, as torch versions differ."""
    features = load_i3d(Path(os.environ["MINISORA_I3D"]))
    sides = [features(torch.full((30, 64, 64, 3), value, dtype=torch.uint8)) for value in (0, 255)]
    assert len(sides[0]) == 400
    zeros, ones = (side.expand(8, -1) for side in sides)
    assert frechet_distance(zeros, ones) == pytest.approx(151.26, abs=1)
