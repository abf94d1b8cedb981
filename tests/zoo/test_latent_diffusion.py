"""Latent diffusion: both regularisations against closed forms, its scale, its latents' shape."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from minisora.zoo import latent_diffusion as ld
from minisora.zoo.frame.sets import FIELDS, ToyBatch


def pictures(count=2):
    return torch.rand(count, 64, 64, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_kl_is_torch_s():
    torch.manual_seed(0)
    first, x = ld.FirstStage("KL"), pictures()
    mean, log_variance = first._moments(x).split(ld.CHANNELS, -1)
    exact = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum((1, 2, 3)).mean()
    torch.testing.assert_close(first(x, torch.Generator())[1], ld.KL_WEIGHT * exact)
    torch.testing.assert_close(first.encode(x), mean)


def test_codes_are_the_nearest_and_pass_the_gradient_on():
    torch.manual_seed(0)
    first, x = ld.FirstStage("VQ"), pictures()
    z = first.encode(x)
    assert z.shape == (2, ld.SIDE, ld.SIDE, ld.CHANNELS)
    near, chosen = first.quantised(z)
    distances = (z[..., None, :] - first.codes).square().sum(-1)
    torch.testing.assert_close(distances.gather(-1, chosen[..., None])[..., 0], distances.amin(-1))
    torch.testing.assert_close(first.decode(z), first.decode(near))
    again, loss = first(x, torch.Generator())
    torch.testing.assert_close(again, first.decode(z))
    torch.testing.assert_close(loss, 1.25 * (near - z).square().mean())
    (of_encoder,) = torch.autograd.grad(again.sum(), first.E[-1].weight, retain_graph=True)
    assert of_encoder.any()  # the step in between is passed straight through
    (of_codes,) = torch.autograd.grad(again.sum(), first.codes, allow_unused=True)
    assert of_codes is None


@pytest.mark.parametrize("kind", ["KL", "VQ"])
def test_latents_reach_the_network_with_unit_deviation(kind):
    torch.manual_seed(0)
    first = ld.FirstStage(kind).eval().requires_grad_(False)
    ldm = ld.LATENT[kind].build({ld.FIRST[kind].name: first})
    batch = ToyBatch(pictures(), torch.zeros(2, len(FIELDS), dtype=torch.long))
    loss = ld.latent_loss(ldm, batch, torch.Generator().manual_seed(0))["loss"]
    assert float(loss.detach()) == pytest.approx(1, abs=0.1)  # the network says 0 at first, of noise with variance 1
    assert float((ldm.scale * first.encode(batch.x)).std()) == pytest.approx(1, abs=1e-4)
    scale = ldm.scale.clone()
    ld.latent_loss(ldm, ToyBatch(2 * batch.x, batch.labels), torch.Generator())
    assert torch.equal(ldm.scale, scale)
    assert not any(name.startswith("encode") for name in ldm.state_dict())  # the first stage is stored once


def test_the_network_reads_its_words():
    torch.manual_seed(0)
    ldm = ld.LatentDiffusion(ld.LATENT_UNET, lambda x: x)
    for p in ldm.unet.parameters():
        torch.nn.init.normal_(p, std=0.05)
    z, t = torch.randn(1, ld.SIDE, ld.SIDE, ld.CHANNELS), torch.tensor([500])
    labels = torch.zeros(1, len(FIELDS), dtype=torch.long)
    with torch.inference_mode():
        plain, other = ldm(z, t, labels), ldm(z, t, labels + torch.eye(len(FIELDS), dtype=torch.long)[1])
        nothing = ldm(z, t, labels, torch.tensor([True]))
    assert not torch.equal(plain, other)
    assert not torch.equal(plain, nothing)


def test_pixels_get_the_flops_of_first_stage_and_latents_together():
    assert ld.PIXELS.share == ld.LATENT["KL"].share + ld.FIRST["KL"].share
