"""Hints are read only in training: their velocities are those of a plain transformer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from minisora.data.latents import LatentBatch
from minisora.dit.model import DiTConfig
from minisora.train.hints import WEIGHT, HintedDiT, hinted_loss
from minisora.train.velocity import dit_loss, dummy_batch
from minisora.worlds.playroom.hints import HINTS, NOTHING

TINY = DiTConfig(width=16, depth=2, num_heads=2, mlp_width=32, text_width=8, patch=(1, 1, 1))


@pytest.fixture
def hinted() -> HintedDiT:
    torch.manual_seed(0)
    dit = HintedDiT(TINY)
    with torch.no_grad():
        for parameter in dit.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return dit


def batch() -> LatentBatch:
    generator = torch.Generator().manual_seed(1)
    plain = dummy_batch(TINY, (2, 2, 3), tokens=24, words=4)
    noisy = replace(plain.clean, times=torch.full_like(plain.clean.times, 0.5))
    columns = [torch.randint(NOTHING, len(answers), (24,), generator=generator) for answers in HINTS.values()]
    return replace(plain, clean=noisy, hints=torch.stack(columns, 1))


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(2)


def test_without_its_answers_it_is_a_plain_transformer(hinted):
    plain = hinted.without_hints()
    assert type(plain) is not HintedDiT and not any("hint" in name for name in plain.state_dict())
    assert torch.equal(plain(batch().clean), hinted(batch().clean))


def test_the_loss_is_that_of_the_flow_and_of_every_question(hinted):
    """Against the cross-entropies taken one by one, of the tokens that are asked alone."""
    told = hinted_loss(hinted, batch(), noise())
    flow, expected = dit_loss(hinted, batch(), noise())["loss"], 0.0
    for n, answers in enumerate(hinted.answers.split([*map(len, HINTS.values())], -1)):
        true = batch().hints[:, n]
        expected += F.cross_entropy(answers, true, ignore_index=NOTHING)
    torch.testing.assert_close(told["flow"], flow.detach())
    torch.testing.assert_close(told["loss"], flow + WEIGHT * expected)
    told["loss"].backward()
    assert hinted.hint_head[3].weight.grad.abs().sum() > 0
    assert hinted.blocks[0].qkv.weight.grad.abs().sum() > 0  # what is before the questions learns from them too


def test_a_pack_without_hints_is_not_asked(hinted):
    unasked = replace(batch(), hints=None)
    told, plain = hinted_loss(hinted, unasked, noise()), dit_loss(hinted, unasked, noise())
    assert told.keys() == plain.keys() and torch.equal(told["loss"], plain["loss"])
