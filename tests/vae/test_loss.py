from __future__ import annotations

import torch
from torch.distributions import Normal, kl_divergence

from minisora.data.frames import FrameBatch
from minisora.vae.loss import VAELoss, kl_to_unit
from minisora.vae.model import VAEConfig, VideoVAE


def test_divergence_is_that_of_torch_distributions():
    torch.manual_seed(0)
    mean, log_var = (3 * torch.randn(2, 3, 4, 5, 6, 7, dtype=torch.float64)).unbind(0)
    inside = log_var.clamp(-20.0, 4.0)
    assert (log_var > 4).any()
    expected = kl_divergence(Normal(mean, (0.5 * inside).exp()), Normal(torch.zeros_like(mean), 1.0))
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


def test_latent_noise_reaches_the_decoder_alone():
    """Some clips more, some less, none at 0; the divergence is that of the clean posterior."""
    torch.manual_seed(0)
    vae = VideoVAE(VAEConfig(latent_channels=4, widths=(4, 4, 8), latent_width=8, latent_blocks=1))
    batch = FrameBatch(torch.randint(0, 256, (2, 5, 16, 16, 3), dtype=torch.uint8), flops=1.0)
    clean, noised = (VAELoss(latent_noise=n)(vae, batch, torch.Generator().manual_seed(3)) for n in (0.0, 0.5))
    torch.testing.assert_close(noised["kl"], clean["kl"])
    assert noised["mse"] != clean["mse"]
    levels = VAELoss(latent_noise=0.5)._disturbed(torch.zeros(64, 3, 4, 8, 8), torch.Generator().manual_seed(0))
    assert 0.45 < levels.flatten(1).std(1).max() < 0.52 and levels.flatten(1).std(1).min() < 0.05


def test_one_frame_has_no_change():
    vae = VideoVAE(VAEConfig(latent_channels=4, widths=(4, 4, 8), latent_width=8, latent_blocks=1))
    parts = VAELoss()(vae, FrameBatch(torch.zeros(1, 1, 16, 16, 3, dtype=torch.uint8), flops=1.0))
    assert parts["change"] == 0 and parts["loss"].isfinite()
