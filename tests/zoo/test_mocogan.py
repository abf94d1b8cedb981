"""MoCoGAN's game: who learns from which loss, what the codes can change."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from minisora.zoo import mocogan
from minisora.zoo.frame.sets import COLOUR, FIELDS, MOTION, SHAPE, ToyBatch

SIZES = [len(words) for words in FIELDS.values()]


@pytest.fixture
def labels():
    rng = torch.Generator().manual_seed(0)
    return torch.stack([torch.randint(size, (4,), generator=rng) for size in SIZES], 1)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return mocogan.MoCoGAN(width=8)


def gradients(loss, module):
    return torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)


def test_each_side_learns_from_its_own_loss_alone(model, labels):
    z_C, epsilon = torch.randn(4, mocogan.CONTENT), torch.randn(4, mocogan.T, mocogan.MOTION_WIDTH)
    fake = model(z_C, epsilon, labels)[:, 0].permute(0, 3, 1, 2)
    real = torch.randn_like(fake)
    d, g = mocogan.game(model.D_I, (real, fake), labels, mocogan.LOOK)
    assert all(gradient is None for gradient in gradients(d, model.generator))
    assert all(gradient is None for gradient in gradients(g, model.D_I))
    wanted = -F.logsigmoid(model.D_I(fake)[:, 0]).mean()  # of the generator's part, by the plain network
    for one, other in zip(
        gradients(g - mocogan.named(mocogan.frozen(model.D_I, fake), labels, mocogan.LOOK), model.generator),
        gradients(wanted, model.generator),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_the_game_is_binary_cross_entropy_and_that_of_the_words(labels):
    D = torch.nn.Linear(5, 1 + SIZES[MOTION])
    real, fake = torch.randn(2, 4, 5)
    d, g = mocogan.game(D, (real, fake), labels, (MOTION,))
    bce, ones, zeros = F.binary_cross_entropy_with_logits, torch.ones(4), torch.zeros(4)
    words = F.cross_entropy(D(real)[:, 1:], labels[:, MOTION])
    torch.testing.assert_close(d, bce(D(real)[:, 0], ones) + bce(D(fake)[:, 0], zeros) + words)
    torch.testing.assert_close(g, bce(D(fake)[:, 0], ones) + F.cross_entropy(D(fake)[:, 1:], labels[:, MOTION]))


def test_at_the_best_discriminator_the_game_is_worth_log_4():
    """Real and generated are alike: D = 1/2 everywhere (Goodfellow et al. 2014, Theorem 1)."""
    D = torch.nn.Linear(5, 1 + SIZES[COLOUR] + SIZES[SHAPE])
    for p in D.parameters():
        torch.nn.init.zeros_(p)
    x, labels = torch.randn(4, 5), torch.zeros(4, len(FIELDS), dtype=torch.long)
    d, g = mocogan.game(D, (x, x), labels, mocogan.LOOK)
    words = torch.tensor(float(SIZES[COLOUR] * SIZES[SHAPE])).log()
    torch.testing.assert_close(d - words, torch.tensor(4.0).log())
    torch.testing.assert_close(g - words, torch.tensor(2.0).log())


def test_frames_differ_by_their_motion_codes_alone(model, labels):
    """With the recurrent network at zero, one content gives one picture, whatever its noise."""
    model.eval()
    z_C, epsilon = torch.randn(4, mocogan.CONTENT), torch.randn(4, mocogan.T, mocogan.MOTION_WIDTH)
    clips = model(z_C, epsilon, labels)
    assert clips.shape == (4, *mocogan.CLIPS_32.shape)
    assert (clips[:, 0] - clips[:, -1]).abs().max() > 1e-3
    late = epsilon.clone()
    late[:, 8:] = 0
    torch.testing.assert_close(model(z_C, late, labels)[:, :8], clips[:, :8])  # noise does not reach back
    for p in model.generator.R_M.parameters():
        torch.nn.init.zeros_(p)
    still = model(z_C, epsilon, labels)
    torch.testing.assert_close(still, still[:, :1].expand_as(still))


def test_the_loss_is_both_sides_of_both_games(model, labels):
    batch = ToyBatch(torch.randn(4, *mocogan.CLIPS_32.shape).clamp(-1, 1), labels)
    parts = mocogan.loss(model, batch, torch.Generator().manual_seed(0))
    torch.testing.assert_close(parts["loss"].detach(), parts["discriminators"] + parts["generator"])
    parts["loss"].backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
