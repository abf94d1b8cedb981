"""HDiT: neighbourhoods against a loop, attention and loss against k-diffusion's formulas."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from minisora.zoo import hdit
from minisora.zoo.frame.sets import FIELDS, ToyBatch
from minisora.zoo.hdit import Denoiser, HDiT
from minisora.zoo.nets.attention import attend
from minisora.zoo.nets.neighbourhood import local_attention
from minisora.zoo.nets.rotary import angles, grid, rotated

LABELS = torch.zeros(2, len(FIELDS), dtype=torch.long)


def brute_force(q, k, v, sides, kernel):
    """NATTEN's definition, token by token: the window is moved inside at the borders."""
    rows, columns = sides
    out = torch.zeros_like(q)
    for i in range(rows):
        for j in range(columns):
            top, left = (min(max(n - kernel // 2, 0), side - kernel) for n, side in ((i, rows), (j, columns)))
            seen = [r * columns + c for r in range(top, top + kernel) for c in range(left, left + kernel)]
            weights = (q[:, :, i * columns + j, None] @ k[:, :, seen].mT / q.shape[-1] ** 0.5).softmax(-1)
            out[:, :, i * columns + j] = (weights @ v[:, :, seen])[:, :, 0]
    return out


@pytest.mark.parametrize(("sides", "kernel"), [((6, 8), 3), ((8, 12), 5), ((12, 12), 7)])
def test_neighbourhoods_are_those_of_a_loop(sides, kernel):
    rng = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, sides[0] * sides[1], 8, dtype=torch.float64, generator=rng).requires_grad_()
    found, expected = local_attention(q, k, v, sides, kernel), brute_force(q, k, v, sides, kernel)
    torch.testing.assert_close(found, expected)
    direction = torch.randn(found.shape, dtype=torch.float64, generator=rng)
    for ours, theirs in zip(
        torch.autograd.grad((found * direction).sum(), (q, k, v)),
        torch.autograd.grad((expected * direction).sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_rotary_products_depend_on_the_distance_alone():
    rates = torch.tensor([1.0, 0.3], dtype=torch.float64)
    q, k = torch.randn(2, 1, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    places = grid(6, 6).double()
    queries, keys = (rotated(x.expand(36, 16), angles(places, rates)).double() for x in (q, k))
    products = (queries @ keys.mT).reshape(6, 6, 6, 6)
    torch.testing.assert_close(products[1:, 2:, 1:, 2:], products[:-1, :-2, :-1, :-2], atol=1e-5, rtol=1e-5)


def test_attention_is_that_of_k_diffusion():
    """Cosine similarity with a learnt scale, half of each head rotated, no other scale."""
    torch.manual_seed(0)
    block = hdit.SelfAttention(64, 0)
    torch.nn.init.normal_(block.out.weight)
    x, told = torch.randn(2, 16, 64), torch.randn(2, hdit.MAPPING)
    qkv = block.qkv(F.rms_norm(x, (64,))).reshape(2, 16, 3, 2, 32).permute(2, 0, 3, 1, 4)
    scale = block.scale.sqrt()
    q, k = (scale * each * torch.rsqrt((each**2).sum(-1, keepdim=True) + 1e-6) for each in qkv[:2])
    place = (torch.arange(4) + 0.5) / 2 - 1
    position = torch.cartesian_prod(place, place)
    freqs = torch.exp(
        torch.linspace(torch.pi, 10 * torch.pi, 2).log()[0] + torch.arange(8) / 8 * torch.tensor(10.0).log()
    )
    freqs = freqs.view(4, 2).T  # as AxialRoPE deals them to heads
    theta = torch.cat([position[:, None, :1] * freqs, position[:, None, 1:] * freqs], -1).movedim(-2, 0)
    turned = []
    for each in (q, k):
        a, b, rest = each[..., :8], each[..., 8:16], each[..., 16:]
        turned.append(torch.cat([a * theta.cos() - b * theta.sin(), b * theta.cos() + a * theta.sin(), rest], -1))
    attended = F.scaled_dot_product_attention(*turned, qkv[2], scale=1.0).transpose(1, 2).flatten(2)
    torch.testing.assert_close(block(x, told, (4, 4)), x + block.out(attended), atol=1e-4, rtol=1e-4)


def test_loss_is_k_diffusion_s_soft_min_snr():
    class Net(torch.nn.Module):
        def forward(self, x, c_noise, labels):
            return torch.tanh(x)

    batch = ToyBatch(torch.rand(2, 8, 8, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1, LABELS)
    seen = []
    denoiser = Denoiser(Net())
    denoiser.register_forward_pre_hook(lambda module, args: seen.append(args[:2]))
    found = hdit.loss(denoiser, batch, torch.Generator().manual_seed(2))["loss"]
    (noised, sigma), data = seen[0], hdit.SIGMA_DATA
    s = sigma.reshape(-1, 1, 1, 1)
    c_skip, c_out = data**2 / (s**2 + data**2), s * data / (s**2 + data**2) ** 0.5
    target = (batch.x - c_skip * noised) / c_out
    weight = (sigma * data) ** 2 / (sigma**2 + data**2) ** 2
    error = (torch.tanh(noised / (s**2 + data**2) ** 0.5) - target) ** 2
    torch.testing.assert_close(found, (error.flatten(1).mean(1) * weight).mean())


def test_any_size_begins_as_the_skip_and_far_pixels_are_seen_through_the_coarse_level():
    torch.manual_seed(0)
    net = HDiT()
    x, t = torch.randn(1, 32, 64, 3), torch.zeros(1)
    assert not net(x, t, LABELS[:1]).any()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.05)
    changed = x.clone()
    changed[:, :, :4] += 1
    assert not torch.equal(net(x, t, LABELS[:1])[:, :, -4:], net(changed, t, LABELS[:1])[:, :, -4:])


def test_cost_grows_with_the_pixels_where_global_attention_s_grows_with_their_square():
    local, everywhere = ([hdit.flops(net, side) for side in (64, 256)] for net in (HDiT(), HDiT(local=False)))
    assert local[1] / local[0] < 20 and everywhere[1] / everywhere[0] > 100  # 16 times the pixels


def test_a_corner_attends_to_the_square_next_to_it():
    q, k, v = torch.randn(3, 1, 2, 64, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    inside = torch.zeros(8, 8, dtype=torch.bool)
    inside[:5, :5] = True  # the query in the corner sees 5 x 5 of 8 x 8
    expected = attend(q[:, :, :1], k, v, mask=inside.flatten())
    torch.testing.assert_close(local_attention(q, k, v, (8, 8), 5)[:, :, :1], expected)
