"""Networks that papers share: attention against torch's, patches undone, zero at first."""

from __future__ import annotations

import pytest
import torch

from minisora.zoo.dit import WAYS, DiT
from minisora.zoo.nets.attention import attend
from minisora.zoo.nets.norm import GroupNorm
from minisora.zoo.nets.transformer import patches, pictures
from minisora.zoo.nets.unet import UNet, UNetConfig


def test_attention_is_torch_s():
    q, k, v = torch.randn(3, 2, 4, 10, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(attend(q, k, v), torch.nn.functional.scaled_dot_product_attention(q, k, v))
    mask = torch.ones(10, 10, dtype=torch.bool).tril()
    torch.testing.assert_close(
        attend(q, k, v, mask=mask), torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    )


def test_pictures_are_patches_undone():
    x = torch.arange(2 * 8 * 12 * 3.0).reshape(2, 8, 12, 3)
    tokens = patches(x, 4)
    assert tokens.shape == (2, 6, 48)
    torch.testing.assert_close(tokens[0, 1], x[0, :4, 4:8].flatten())
    torch.testing.assert_close(pictures(tokens, 4, (8, 12, 3)), x)


def test_a_unet_begins_at_zero_and_reads_its_context():
    torch.manual_seed(0)
    unet = UNet(UNetConfig(widths=(8, 16), attention=(1,), head_width=8, embedding=16, context=8))
    x, embedding, context = torch.randn(2, 16, 16, 3), torch.randn(2, 16), torch.randn(2, 5, 8)
    assert not unet(x, embedding, context).any()
    for p in unet.parameters():
        torch.nn.init.normal_(p, std=0.1)
    assert not torch.equal(unet(x, embedding, context), unet(x, embedding, 2 * context))


def test_every_dit_begins_at_zero_and_learns_its_class():
    labels = torch.zeros(2, 7, dtype=torch.long)
    for how in WAYS:
        torch.manual_seed(0)
        dit = DiT((4, 4, 16), how)
        x, t = torch.randn(2, 4, 4, 16), torch.tensor([3, 900])
        assert not dit(x, t, labels).any()
        dit(x, t, labels).sum().backward()
        assert dit.head.linear.weight.grad.any()


@pytest.mark.parametrize(("channels", "side"), [(32, 32), (96, 8)])
def test_a_group_norm_and_its_gradient_are_as_exact_as_bf16_is(channels: int, side: int):
    x = (torch.randn(4, channels, side, side) + 0.5).bfloat16().to(memory_format=torch.channels_last)
    grad = torch.randn_like(x) + 0.1
    found = []
    for norm, given in ((GroupNorm(8, channels), x), (torch.nn.GroupNorm(8, channels).double(), x.double())):
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(-1, 2, channels))
        given.requires_grad_()
        y = norm(given)
        y.backward(grad.to(given.dtype))
        assert norm.bias.grad is not None and given.grad is not None and norm.weight.grad is not None
        found.append([y.detach().double(), given.grad.double(), norm.weight.grad.double(), norm.bias.grad.double()])
    for one, true in zip(*found, strict=True):
        assert (one - true).abs().max() < 0.01 * true.abs().max()
