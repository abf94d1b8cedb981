"""The two stages: what they are told, and noising and denoising in closed form."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from minisora.zoo import i2vgen_xl
from minisora.zoo.ddpm import ALPHA_BAR
from minisora.zoo.frame.entry import Ask
from minisora.zoo.frame.sets import FIELDS, LATENT_CLIPS_64, ToyBatch

LABELS = torch.zeros(2, len(FIELDS), dtype=torch.long)


def clips(seed=0):
    return torch.randn(2, *LATENT_CLIPS_64.shape, generator=torch.Generator().manual_seed(seed))


def test_refinement_of_gaussian_data_is_the_flow_in_closed_form():
    """Data of deviation s: the best eps is linear in x, and the flow only scales x."""
    s = 0.5

    def spread(alpha):
        return alpha * s**2 + 1 - alpha

    def eps(x, t, labels):
        alpha = ALPHA_BAR[t].reshape(-1, 1, 1, 1, 1)
        return (1 - alpha).sqrt() * x / spread(alpha)

    ask = Ask(LABELS, torch.Generator().manual_seed(3))
    out = i2vgen_xl.refined({i2vgen_xl.REFINE.name: eps}, clips(), ask, steps=300)
    alpha = ALPHA_BAR[i2vgen_xl.REFINED_FROM - 1]
    noise = torch.randn(2, *LATENT_CLIPS_64.shape, generator=torch.Generator().manual_seed(3))
    start = alpha.sqrt() * clips() + (1 - alpha).sqrt() * noise
    torch.testing.assert_close(out, start * s / spread(alpha).sqrt(), rtol=0.01, atol=1e-3)


def test_refinement_ends_at_the_data_that_its_network_knows():
    x_0 = clips(1)

    def eps(x, t, labels):
        alpha = ALPHA_BAR[t].reshape(-1, 1, 1, 1, 1)
        return (x - alpha.sqrt() * x_0) / (1 - alpha).sqrt()

    out = i2vgen_xl.refined({i2vgen_xl.REFINE.name: eps}, clips(), Ask(LABELS, torch.Generator()))
    torch.testing.assert_close(out, x_0, rtol=1e-3, atol=1e-3)


def test_refinement_is_trained_on_its_own_steps_alone():
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, x, t, labels):
            seen.append(t)
            return x

    for seed in range(50):
        i2vgen_xl.refine_loss(Spy(), ToyBatch(clips(), LABELS), torch.Generator().manual_seed(seed))
    assert 500 < torch.cat(seen).max() < i2vgen_xl.REFINED_FROM


def test_small_clips_are_averages_and_large_ones_bilinear():
    x = clips()
    pooled = F.avg_pool2d(x.flatten(0, 1).movedim(-1, 1), 2).movedim(1, -1).unflatten(0, x.shape[:2])
    torch.testing.assert_close(i2vgen_xl.small(x), pooled)
    row = torch.tensor([0.0, 1, 2, 3]).reshape(1, 1, 1, 4, 1).expand(2, 5, 4, 4, 16)
    big = i2vgen_xl.large(row)
    assert big.shape == x.shape
    torch.testing.assert_close(big[0, 0, 0, 1:-1, 0], torch.arange(0.25, 3, 0.5))


def test_the_base_stage_reads_the_picture_in_every_frame():
    torch.manual_seed(0)
    model = i2vgen_xl.BaseModel()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.1)
    x, t, picture = i2vgen_xl.small(clips()), torch.tensor([10, 900]), clips(1)[:, 0]
    changed = picture.clone()
    changed[:, 7, 7, 3] += 1
    moved = model(x, t, LABELS, changed) - model(x, t, LABELS, picture)
    assert moved.abs().amax((0, 2, 3, 4)).min() > 0


def test_sharpness_of_stripes():
    stripes = (torch.arange(8) % 2 * 2.0 - 1).reshape(1, 8, 1).expand(8, 8, 3)  # -1, 1, -1, ...
    assert i2vgen_xl.sharpness(stripes) == 0.5
