from __future__ import annotations

import torch
from torch.distributions import Normal, kl_divergence

from minisora.data.frames import FrameBatch
from minisora.vae.loss import VAELoss, kl_to_unit
from minisora.vae.model import VAEConfig, VideoVAE


def test_divergence_is_that_of_torch_distributions():
    mean, log_var = torch.randn(2, 3, 4, 5, 6, 7, dtype=torch.float64).unbind(0)
    expected = kl_divergence(Normal(mean, (0.5 * log_var).exp()), Normal(torch.zeros_like(mean), 1.0))
    torch.testing.assert_close(kl_to_unit(torch.cat([mean, log_var], 2)), expected)


def test_parts_add_up_and_reach_every_weight():
    """With noise of its own generator the loss is a function of weights and batch."""
    torch.manual_seed(0)
    config = VAEConfig(latent_channels=4, widths=(4, 4, 8), latent_width=8, latent_blocks=1)
    vae = VideoVAE(config)
    batch = FrameBatch(torch.randint(0, 256, (2, 5, 16, 16, 3), dtype=torch.uint8), flops=1.0)
    loss = VAELoss(change=0.3, divergence=0.1)
    parts = loss(vae, batch, torch.Generator().manual_seed(3))
    torch.testing.assert_close(parts["loss"], parts["pixel"] + 0.3 * parts["change"] + 0.1 * parts["kl"])
    torch.testing.assert_close(parts["loss"], loss(vae, batch, torch.Generator().manual_seed(3))["loss"])
    parts["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in vae.parameters())


def test_one_frame_has_no_change():
    vae = VideoVAE(VAEConfig(latent_channels=4, widths=(4, 4, 8), latent_width=8, latent_blocks=1))
    parts = VAELoss()(vae, FrameBatch(torch.zeros(1, 1, 16, 16, 3, dtype=torch.uint8), flops=1.0))
    assert parts["change"] == 0 and parts["loss"].isfinite()
