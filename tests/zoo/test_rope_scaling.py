"""RoPE scaling against the formulas of transformers; clips of any length."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from minisora.zoo import rope_scaling
from minisora.zoo.frame.sets import FIELDS
from minisora.zoo.nets.language import frequencies, rotated
from minisora.zoo.rope_scaling import CONTEXT, SHAPE, Clips, interpolated, ntk_aware, schemes, yarn

WIDTH, THETA, LENGTH, S = 64, 10_000.0, 2048, 4.0


def theirs(kind):
    scaling = {
        "rope_type": kind,
        "rope_theta": THETA,
        "factor": S,
        "original_max_position_embeddings": LENGTH,
    }
    config = LlamaConfig(
        hidden_size=4 * WIDTH, num_attention_heads=4, max_position_embeddings=LENGTH, rope_parameters=scaling
    )
    return config, ROPE_INIT_FUNCTIONS[kind]


def test_interpolation_is_transformers_linear():
    config, init = theirs("linear")
    torch.testing.assert_close(interpolated(frequencies(WIDTH, THETA), S), init(config, "cpu")[0])


def test_ntk_aware_is_transformers_dynamic_at_the_length_that_gives_this_scale():
    """Theirs grows with the length: s = factor length / context - (factor - 1)."""
    config, init = theirs("dynamic")
    length = int((S + (S - 1)) * LENGTH / S)
    torch.testing.assert_close(ntk_aware(WIDTH, THETA, S), init(config, "cpu", seq_len=length)[0])


def test_ntk_aware_keeps_the_fastest_pair_and_slows_the_last_by_s():
    ratio = frequencies(WIDTH, THETA) / ntk_aware(WIDTH, THETA, S)
    assert ratio[0] == 1 and float(ratio[-1]) == pytest.approx(S, rel=1e-5)


def test_yarn_is_transformers_but_for_the_form_of_the_ramp():
    """Their ramp is linear in the number of the pair, that of the paper in its turns."""
    config, init = theirs("yarn")
    rates, factor = init(config, "cpu")
    ours, sharper = yarn(frequencies(WIDTH, THETA), S, LENGTH)
    assert sharper == pytest.approx(factor**2)  # they scale both q and k
    turns = LENGTH * frequencies(WIDTH, THETA) / (2 * math.pi)
    outside = (turns < 0.5) | (turns > 40)
    torch.testing.assert_close(ours[outside], rates[outside])
    assert (ours >= frequencies(WIDTH, THETA) / S).all() and (ours <= frequencies(WIDTH, THETA)).all()


def test_interpolated_positions_are_positions_divided():
    x = torch.randn(9, 8, generator=torch.Generator().manual_seed(0))
    rates = frequencies(8)
    torch.testing.assert_close(
        rotated(x, torch.arange(9), interpolated(rates, 2)), rotated(x, torch.arange(9) / 2, rates)
    )


def network():
    torch.manual_seed(0)
    model = Clips()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.1 * torch.randn(p.shape))
    return model.eval()


def test_a_window_sees_nothing_beyond_it():
    model, labels = network(), torch.zeros(1, len(FIELDS), dtype=torch.long)
    model.blocks = model.blocks[:1]  # of more layers the windows add up
    x = torch.randn(1, 2 * CONTEXT, *SHAPE, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[:, -1] += 1
    t = torch.tensor([500])
    for scheme, same in (("window", 2 * CONTEXT - CONTEXT), ("none", 0)):
        model.see(schemes(2)[scheme])
        with torch.inference_mode():
            difference = (model(changed, t, labels) - model(x, t, labels)).abs().amax((0, 2, 3, 4))
        assert (difference[:same] == 0).all() and (difference[same:] > 0).all()


def test_at_the_trained_length_no_scheme_changes_anything():
    model, labels = network(), torch.zeros(1, len(FIELDS), dtype=torch.long)
    x, t = torch.randn(1, CONTEXT, *SHAPE, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    results = []
    for rope in schemes(1).values():
        model.see(rope)
        with torch.inference_mode():
            results.append(model(x, t, labels))
    for each in results[1:]:
        torch.testing.assert_close(each, results[0], atol=1e-5, rtol=1e-4)


def test_figures_have_every_length_and_scheme(monkeypatch):
    monkeypatch.setattr(
        rope_scaling, "rendered", lambda toy, count: (torch.zeros(toy.num_frames), torch.zeros(2, len(FIELDS)).long())
    )
    monkeypatch.setattr(rope_scaling, "encoded", lambda frames: torch.zeros(2, (len(frames) - 1) // 4 + 1, *SHAPE))
    monkeypatch.setattr(rope_scaling, "loss", lambda model, batch, noise: {"loss": torch.tensor(batch.x.shape[1])})
    found = rope_scaling.figures({"rope-clips": Clips()}, 0)
    assert len(found) == 1 + 2 * 5
    assert found["loss, 17 latents, YaRN"] == 17
