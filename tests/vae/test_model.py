"""The VAE: a group's latent depends on its group alone, frames on nothing later; streaming."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from minisora.bundle import load
from minisora.errors import UsageError
from minisora.vae.layers import PatchConv, PatchConvTranspose
from minisora.vae.model import GROUP, STRIDE, VAEConfig, VideoVAE, sample
from tests.helpers.tiny import DEEPER_VAE as TINY


def shaken(config: VAEConfig = TINY) -> VideoVAE:
    """Random everywhere: branches that start closed would hide what flows through them."""
    torch.manual_seed(0)
    vae = VideoVAE(config).eval().requires_grad_(False)
    for parameter in vae.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    vae.calibrate(torch.randn(config.latent_channels), torch.rand(config.latent_channels) + 0.5)
    return vae


@pytest.fixture(scope="module")
def vae() -> VideoVAE:
    return shaken()


def frames(num_frames: int, height: int = 16, width: int = 24, batch: int = 1) -> Tensor:
    return torch.rand(batch, num_frames, height, width, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1


def latents(count: int) -> Tensor:
    return torch.randn(1, count, 2, 3, 4, generator=torch.Generator().manual_seed(2))


def test_shapes_there_and_back(vae):
    z = vae.encode(frames(13, batch=2))
    assert z.shape == (2, 4, 16 // STRIDE, 24 // STRIDE, 4)
    assert vae.decode(z).shape == (2, 13, 16, 24, 3)
    groups = vae.encode(frames(8), first_alone=False)
    assert groups.shape[1] == 2 and vae.decode(groups, first_alone=False).shape[1] == 8


@pytest.mark.parametrize("changed", range(13))
def test_a_frame_changes_the_latent_of_its_group_and_no_other(vae, changed):
    before = frames(13)
    after = before.clone()
    after[:, changed] = -after[:, changed]
    differs = (vae.encode(before) != vae.encode(after)).flatten(2).any(-1)[0].tolist()
    assert differs == [n == vae.strides.latent_of(changed) for n in range(4)]


def test_a_groups_latent_is_the_same_wherever_it_stands(vae):
    video = frames(13)
    whole = vae.encode(video)
    for n in range(1, 4):
        group = video[:, GROUP * (n - 1) + 1 : GROUP * n + 1]
        torch.testing.assert_close(vae.encode(group, first_alone=False)[:, 0], whole[:, n], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(vae.encode(video[:, :1])[:, 0], whole[:, 0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("first_alone", [True, False])
def test_decoding_never_looks_ahead(vae, first_alone):
    before = latents(6)
    whole = vae.decode(before, first_alone=first_alone)
    for changed in range(1, 6):
        after = before.clone()
        after[:, changed] += 1
        first = GROUP * changed - (GROUP - 1) * first_alone  # frame of the changed latent
        differs = (vae.decode(after, first_alone=first_alone) != whole).flatten(2).any(-1)[0]
        assert not differs[:first].any() and differs[first:].any()


def test_decoding_looks_back(vae):
    """The cache carries something: without it a test of streaming would prove nothing."""
    z = latents(3)
    alone = vae.decode(z[:, 1:], first_alone=False)
    assert (vae.decode(z)[:, 1:] - alone).abs().max() > 1e-2


@pytest.mark.parametrize("first_alone", [True, False])
@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 7, 9])
def test_streaming_is_decoding(vae, chunk, first_alone):
    z = latents(7)
    pieces, past = [], None
    for piece in z.split(chunk, 1):
        frames, past = vae.decode_next(piece, past, first_alone=first_alone)
        pieces.append(frames)
    assert len(pieces) == -(-7 // chunk)
    torch.testing.assert_close(torch.cat(pieces, 1), vae.decode(z, first_alone=first_alone), atol=2e-5, rtol=1e-5)


def test_frames_in_a_batch_are_encoded_as_each_alone(vae):
    video = frames(3, batch=2)
    each = vae.encode(video.flatten(0, 1)[:, None])[:, 0].unflatten(0, (2, 3))
    for n in range(3):
        torch.testing.assert_close(each[:, n], vae.encode(video[:, n : n + 1])[:, 0], atol=1e-5, rtol=1e-5)


def test_latents_are_normalised_and_decoding_undoes_it(vae):
    video = frames(5)
    mean = vae.moments(video).chunk(2, 2)[0].permute(0, 1, 3, 4, 2)
    torch.testing.assert_close(vae.encode(video) * vae.latent_std + vae.latent_mean, mean, atol=1e-5, rtol=1e-5)
    decoded, _ = vae.decoder(mean.permute(0, 1, 4, 2, 3), None, first_alone=True)
    torch.testing.assert_close(vae.decode(vae.encode(video)), decoded.permute(0, 1, 3, 4, 2), atol=1e-5, rtol=1e-5)


def test_what_does_not_fit_is_refused_with_what_does(vae):
    with pytest.raises(UsageError, match=r"20x16 .* multiples of 8"):
        vae.encode(frames(5, 16, 20))
    with pytest.raises(UsageError, match=r"7 frames .* Use 5 or 9 frames"):
        vae.encode(frames(7))
    with pytest.raises(UsageError, match=r"7 frames .* Use 4 or 8 frames"):
        vae.encode(frames(7), first_alone=False)


@pytest.mark.parametrize("config", [TINY, VAEConfig()], ids=["tiny", "default"])
def test_flops_are_those_that_torch_counts(config):
    """One group is counted alone: the rule is that of a long video."""
    vae = VideoVAE(config).to("meta")
    group = torch.empty(1, GROUP, 64, 64, 3, device="meta")
    with FlopCounterMode(display=False) as counter:
        vae.decode(vae.encode(group, first_alone=False), first_alone=False)
    counted = counter.get_total_flops() / group[..., 0].numel()
    assert VideoVAE.flops_per_pixel(config) == pytest.approx(counted, rel=0.02)


def test_a_draw_has_the_posteriors_moments():
    moments = torch.cat([torch.full((20_000, 1, 1, 1, 1), 3.0), torch.full((20_000, 1, 1, 1, 1), -1.0)], 2)
    drawn = sample(moments, torch.Generator().manual_seed(0))
    assert drawn.mean() == pytest.approx(3.0, abs=0.02)
    assert drawn.var() == pytest.approx(torch.tensor(-1.0).exp().item(), rel=0.03)


@pytest.mark.parametrize("frames", [1, 17])
def test_latents_in_bf16_are_those_of_float32(frames: int):
    """Also where oneDNN's bf16 convolutions of a CPU with AMX are wrong."""
    pixels = 2 * torch.rand(1, frames, 64, 64, 3, generator=torch.Generator().manual_seed(0)) - 1
    vae = load("toybox", device=torch.device("cpu"), dtype=torch.float32).vae
    with torch.no_grad():
        wide, narrow = vae.encode(pixels), vae.to(torch.bfloat16).encode(pixels.bfloat16()).float()
    for n in range(wide.shape[1]):
        assert (narrow[:, n] - wide[:, n]).norm() < 0.03 * wide[:, n].norm(), n


@pytest.mark.parametrize("channels", [3, 12])
@pytest.mark.parametrize("kind", [PatchConv, PatchConvTranspose])
def test_patches_are_mapped_as_torch_convolves_them_in_bf16_too(kind: type[nn.Module], channels: int):
    """Outputs and gradients, against float64."""
    sizes, side = ((channels, 16), 32) if kind is PatchConv else ((16, channels), 4)
    torch.manual_seed(0)
    layer, x = kind(*sizes, 8), torch.randn(2, sizes[0], side, side)
    theirs = nn.Conv2d(*sizes, 8, stride=8) if kind is PatchConv else nn.ConvTranspose2d(*sizes, 8, stride=8)
    theirs.load_state_dict(layer.state_dict())
    found = []
    for one, dtype in ((theirs.double(), torch.float64), (layer, torch.float32), (layer, torch.bfloat16)):
        given = x.to(dtype, copy=True).requires_grad_()
        with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
            out = one(given)
        one.zero_grad()
        out.backward(torch.ones_like(out) * torch.linspace(-1, 2, out.shape[-1]).to(out.dtype))
        assert given.grad is not None
        found.append(
            [each.double() for each in (out.detach(), given.grad, *(p.grad.clone() for p in one.parameters()))]
        )
    for each, tolerance in zip(found[1:], (1e-5, 0.02), strict=True):
        for ours, true in zip(each, found[0], strict=True):
            assert ours.shape == true.shape and (ours - true).norm() < tolerance * true.norm()
