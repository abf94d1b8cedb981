"""Classifier guidance on data with a known classifier; the classifier's gradient and pooling."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from minisora.zoo import ddim, ddpm
from minisora.zoo import guided_diffusion as gd
from minisora.zoo.frame.entry import Ask
from minisora.zoo.frame.sets import CLASSES, FIELDS, classes_of
from minisora.zoo.nets.unet import UNetConfig

STD = 0.3  # of two classes with means of -1 and 1


def labels_of(y):
    """Labels whose class is y, in 0..3: the shape alone."""
    labels = torch.zeros(len(y), len(FIELDS), dtype=torch.long)
    labels[:, list(FIELDS).index("shape")] = y
    assert torch.equal(classes_of(labels), y)
    return labels


class Known(nn.Module):
    """The best classifier of x_t for the two normal classes."""

    def forward(self, x, t):
        a = ddpm.ALPHA_BAR[t].reshape(-1, 1, 1, 1)
        logit = (2 * a.sqrt() * x / (a * STD**2 + 1 - a)).flatten(1)
        return torch.cat([-logit / 2, logit / 2], 1)


def unconditional(x, t, labels):
    """The noise of the mixture of both, from its score."""
    a = ddpm.ALPHA_BAR[t].reshape(-1, 1, 1, 1)
    variance = a * STD**2 + 1 - a
    mean = a.sqrt() * torch.tanh(a.sqrt() * x / variance)
    return (1 - a).sqrt() * (x - mean) / variance


def test_scale_one_gives_the_noise_of_the_class():
    x = torch.randn(6, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([5, 100, 300, 500, 800, 999])
    y = torch.tensor([0, 1, 0, 1, 0, 1])
    a = ddpm.ALPHA_BAR[t].reshape(-1, 1, 1, 1)
    mean = a.sqrt() * (2.0 * y - 1).reshape(-1, 1, 1, 1)
    of_class = (1 - a).sqrt() * (x - mean) / (a * STD**2 + 1 - a)
    torch.testing.assert_close(
        gd.guided(unconditional, Known(), 1.0)(x, t, labels_of(y)), of_class, atol=1e-4, rtol=1e-4
    )


def test_guided_samples_are_of_the_class_and_a_larger_scale_narrows_them():
    y = torch.ones(4000, dtype=torch.long)
    rng = torch.Generator().manual_seed(0)
    x_T = torch.randn(4000, 1, 1, 1, generator=rng)
    with torch.inference_mode():
        plain, once, more = (
            ddim.denoised(eps, x_T, Ask(labels_of(y), rng), steps=50)
            for eps in (unconditional, gd.guided(unconditional, Known(), 1.0), gd.guided(unconditional, Known(), 8.0))
        )
    assert float((plain > 0).float().mean()) == pytest.approx(0.5, abs=0.05)
    assert float(once.mean()) == pytest.approx(1.0, abs=0.03)
    assert float(once.std()) == pytest.approx(STD, rel=0.1)
    assert float(more.mean()) > float(once.mean())


def test_the_gradient_is_that_of_finite_differences():
    torch.manual_seed(0)
    classifier = gd.Classifier(
        UNetConfig(widths=(8, 16), blocks=1, attention=(1,), head_width=8, embedding=16), side=8
    ).double()
    classifier.requires_grad_(False)
    x = torch.randn(1, 8, 8, 3, dtype=torch.float64)
    t, y = torch.tensor([300]), torch.tensor([3])
    classifier.time.mlp.register_forward_pre_hook(lambda module, inputs: inputs[0].double())
    found = gd.gradient(classifier, x, t, labels_of(y))
    step = torch.randn_like(x) * 1e-3
    ends = [classifier(x + way * step, t).double().log_softmax(1)[0, 3] for way in (1, -1)]
    assert float((found * step).sum()) == pytest.approx(float(ends[0] - ends[1]) / 2, rel=0.02)


def test_pooling_asks_with_the_mean_and_every_class_has_a_logit():
    torch.manual_seed(0)
    pool = gd.AttentionPool(16, 8, 9)
    h = torch.randn(2, 9, 16)
    tokens = pool.norm(torch.cat([h.mean(1, keepdim=True), h], 1) + pool.places)
    attention = nn.MultiheadAttention(16, 2, batch_first=True)
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat([pool.q.weight, pool.kv.weight]))
        attention.in_proj_bias.copy_(torch.cat([pool.q.bias, pool.kv.bias]))
        attention.out_proj.weight.copy_(torch.eye(16))
        attention.out_proj.bias.zero_()
    torch.testing.assert_close(pool(h), attention(tokens[:, :1], tokens, tokens)[0][:, 0])
    assert gd.Classifier(gd.ADM)(torch.randn(2, 32, 32, 3), torch.tensor([3, 900])).shape == (2, CLASSES)
