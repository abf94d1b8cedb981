"""Our figures of pixels against scikit-image's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from minisora.eval.metrics import motion_energy, psnr, ssim


@pytest.fixture
def clips():
    generator = torch.Generator().manual_seed(0)
    smooth = torch.rand(3, 3, 8, 9, generator=generator)
    one = torch.nn.functional.interpolate(smooth, (40, 45), mode="bicubic").clamp(0, 1).permute(0, 2, 3, 1) * 255
    other = one + 12 * torch.randn(one.shape, generator=generator)
    return one.to(torch.uint8), other.clamp(0, 255).to(torch.uint8)


def test_psnr_is_that_of_another_library(clips):
    one, other = clips
    theirs = [peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=255) for a, b in zip(one, other, strict=True)]
    assert psnr(one, other) == pytest.approx(np.mean(theirs), abs=1e-9)


def test_ssim_is_that_of_another_library(clips):
    one, other = clips
    theirs = [
        structural_similarity(
            a.numpy(),
            b.numpy(),
            data_range=255,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(one, other, strict=True)
    ]
    assert ssim(one, other) == pytest.approx(np.mean(theirs), abs=1e-6)


def test_a_clip_equals_itself(clips):
    one, _ = clips
    assert psnr(one, one) == 100 and ssim(one, one) == pytest.approx(1)


def test_motion_energy_of_steps_of_known_height():
    frames = torch.tensor([0, 10, 5], dtype=torch.uint8)[:, None, None, None].expand(3, 4, 4, 3)
    assert motion_energy(frames) == pytest.approx((10 + 5) / 2)
    assert motion_energy(frames[:1]) == 0
