"""Figures of the upscaler, against closed forms."""

from __future__ import annotations

import pytest
import torch

from minisora.eval.upscaling import flicker, held_out_pairs, sharpness, upscale_figures, upscale_sheet
from minisora.upscale.model import Upscaler
from minisora.vae.model import VideoVAE
from minisora.video import resize
from tests.helpers.tiny import DEEPER_VAE as TINY_VAE
from tests.helpers.tiny import UPSCALER as TINY


def test_an_untrained_upscaler_is_bicubic_enlargement():
    vae = VideoVAE(TINY_VAE).eval()
    figures = upscale_figures(Upscaler(TINY), vae, count=2, side=16)
    assert set(figures) == {"true", "bicubic", "ours"} and "psnr_db" not in figures["true"]
    for name, value in figures["bicubic"].items():
        assert figures["ours"][name] == pytest.approx(value, rel=0.02, abs=0.05)


def test_what_is_measured_on_was_not_trained_on():
    pairs = list(held_out_pairs(VideoVAE(TINY_VAE).eval(), 2, side=16, factor=4, num_frames=5))
    assert [(small.shape[1], large.shape[1]) for small, large in pairs] == [(16, 64)] * 2
    assert not torch.equal(pairs[0][1], pairs[1][1])


def test_a_sheet_shows_the_same_frame_enlarged_by_both_and_true():
    """A row for each clip; an untrained upscaler is bicubic enlargement, but for a last bit."""
    vae = VideoVAE(TINY_VAE).eval()
    sheet = upscale_sheet(Upscaler(TINY), vae, count=2, side=16)
    assert sheet.shape == (2 * 64, 3 * 64, 3) and sheet.dtype == torch.uint8
    for row, (small, true) in enumerate(held_out_pairs(vae, 2, side=16, factor=4, num_frames=5)):
        bicubic, ours, real = sheet[64 * row : 64 * row + 64].split(64, 1)
        assert torch.equal(bicubic, resize(small, 64, 64)[2]) and torch.equal(real, true[2])
        assert (bicubic.int() - ours.int()).abs().max() <= 1


def test_flicker_is_change_where_nothing_changes():
    true = torch.zeros(3, 8, 8, 3, dtype=torch.uint8)
    true[1:, :4] = 200  # the upper half changes once
    frames = true.clone()
    frames[1] += 6
    assert flicker(true, true) == 0
    assert flicker(frames, true) == pytest.approx(6)  # there and back
    assert flicker(frames, (torch.arange(3) * 9).to(torch.uint8)[:, None, None, None].expand_as(true)) == 0


def test_sharpness_of_stripes():
    stripes = torch.zeros(2, 6, 6, 3, dtype=torch.uint8)
    stripes[:, :, ::2] = 10
    assert sharpness(stripes) == pytest.approx((10**2 / 2) ** 0.5)  # across only, not down
