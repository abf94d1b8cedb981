"""Layers over time in a frozen picture model: what they leave alone, and how they are mixed."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.resnet import AlphaBlender
from torch.nn import functional as F

from minisora.zoo import videoldm
from minisora.zoo.frame.sets import FIELDS, LATENT_CLIPS_64, ToyBatch
from minisora.zoo.nets.temporal import TimeAttention, TimeConv, inflated
from minisora.zoo.nets.unet import UNet, UNetConfig


def perturbed(module: torch.nn.Module) -> torch.nn.Module:
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return module


@pytest.fixture
def models():
    torch.manual_seed(0)
    return {videoldm.PICTURES.name: perturbed(videoldm.PictureModel()).requires_grad_(False)}


@pytest.fixture
def inputs():
    x = torch.randn(2, *LATENT_CLIPS_64.shape, generator=torch.Generator().manual_seed(0))
    return x, torch.tensor([100, 900]), torch.zeros(2, len(FIELDS), dtype=torch.long)


def test_it_begins_as_the_picture_model_and_is_it_again_at_alpha_one(models, inputs):
    alone = videoldm.frames_alone(models[videoldm.PICTURES.name], *inputs)
    model = videoldm.VIDEO.build(models)
    torch.testing.assert_close(model(*inputs), alone)
    perturbed(model.layers_over_time)
    assert not torch.allclose(model(*inputs), alone, atol=1e-2)
    for layer in model.layers_over_time:
        torch.nn.init.constant_(layer.mix, 100.0)
    torch.testing.assert_close(model(*inputs), alone)


def test_only_the_layers_over_time_are_trained(models, inputs):
    model = videoldm.VIDEO.build(models)
    videoldm.VIDEO.loss(model, ToyBatch(inputs[0], inputs[2]), torch.Generator().manual_seed(0))["loss"].backward()
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None} == {"layers_over_time"}


def test_layers_are_mixed_as_by_diffusers():
    torch.manual_seed(0)
    layer = perturbed(videoldm.TemporalLayer())
    z, embedding = torch.randn(10, 64, videoldm.WIDTH), torch.randn(10, videoldm.WIDTH)
    shift, scale = layer.modulation(embedding)[:, None].chunk(2, -1)
    z_prime = z + layer.attention(layer.norm(z) * (1 + scale) + shift, 5)
    theirs = AlphaBlender(alpha=layer.mix.item(), merge_strategy="learned")
    torch.testing.assert_close(layer(z, embedding), theirs(z, z_prime, image_only_indicator=None))


def test_time_attention_is_attention_of_each_place_along_time():
    torch.manual_seed(0)
    layer = TimeAttention(32, 16, zero=False)
    x = torch.randn(2 * 4, 6, 32)
    out = layer(x, 4)
    mine = x.unflatten(0, (2, 4))[1, :, 3] + time_places(4, 32)  # frames of the second clip, at place 3
    torch.testing.assert_close(out.unflatten(0, (2, 4))[1, :, 3], layer.attention(mine[None], mine[None])[0])


def time_places(frames, width):
    angles = torch.arange(frames)[:, None] * 10_000 ** (-torch.arange(width // 2) / (width // 2))
    return torch.cat([angles.cos(), angles.sin()], 1)


def test_time_convolution_is_torch_s():
    torch.manual_seed(0)
    layer = perturbed(TimeConv(8))
    x = torch.randn(2 * 5, 6, 8)
    volume = x.unflatten(0, (2, 5)).movedim(-1, 1)  # (B, C, T, L)
    kernel = layer.linear.weight.unflatten(1, (3, 8)).mT[..., None]  # (out, in, 3, 1)
    theirs = F.conv2d(volume, kernel, layer.linear.bias, padding=(1, 0)).movedim(1, -1).flatten(0, 1)
    torch.testing.assert_close(layer(x, 5), theirs)


def test_an_inflated_unet_begins_as_the_one_of_pictures():
    torch.manual_seed(0)
    unet = perturbed(UNet(UNetConfig(widths=(8, 16), attention=(), head_width=8, embedding=16)))
    x, embedding = torch.randn(2 * 3, 8, 8, 3), torch.randn(2, 16)
    alone = unet(x, embedding.repeat_interleave(3, 0))
    video = inflated(unet, TimeConv)
    torch.testing.assert_close(video(x, embedding), alone)
    perturbed(video)
    assert (video(x, embedding) - video(torch.cat([x[:1] + 1, x[1:]]), embedding))[2].any()  # frame 0 reaches frame 2
