"""Entropy-ABF: its factor keeps the entropy of attention; what it measures is the entropy."""

from __future__ import annotations

import math

import pytest
import torch

from minisora.zoo.entropy_abf import CONTEXT, LONGER, PLAIN_LAYERS, STAGES, entropy, entropy_aware
from minisora.zoo.nets.language import LANGUAGE, Rope, frequencies, losses, streams


def test_the_factor_is_one_in_the_context_and_the_first_layers_and_the_logarithm_beyond():
    places = torch.arange(LONGER)
    assert (entropy_aware(0, places) == 1).all()
    factor = entropy_aware(PLAIN_LAYERS, places)
    assert (factor[:CONTEXT] == 1).all()
    assert float(factor[-1]) == pytest.approx(math.log(LONGER, CONTEXT))


def test_it_keeps_the_entropy_of_normal_scores_where_plain_attention_lets_it_grow():
    """Of scores with the deviation sqrt(log c), as many as there are."""
    rng = torch.Generator().manual_seed(0)

    def mean(length, factor):
        scores = math.sqrt(2 * math.log(CONTEXT)) * torch.randn(2000, length, generator=rng, dtype=torch.float64)
        return float(torch.special.entr((factor * scores).softmax(1)).sum(1).mean())

    short, plain = mean(CONTEXT, 1), mean(LONGER, 1)
    scaled = mean(LONGER, float(entropy_aware(PLAIN_LAYERS, torch.tensor([LONGER - 1]))))
    assert abs(scaled - short) < (plain - short) / 3


def test_entropy_of_even_attention_is_the_logarithm_of_what_is_seen():
    torch.manual_seed(0)
    model = LANGUAGE.build({}).eval()
    model.mix = Rope(frequencies(), lambda layer, places: torch.zeros(len(places)))
    tokens = streams(2, 16, torch.Generator().manual_seed(0))
    assert entropy(model, tokens) == pytest.approx(float(torch.arange(13.0, 17.0).log().mean()), rel=1e-5)


def test_all_ways_begin_with_the_same_weights_and_differ_beyond():
    torch.manual_seed(0)
    models = {"language": LANGUAGE.build({}).eval()}
    tokens = streams(1, 256, torch.Generator().manual_seed(0))
    with torch.inference_mode():
        results = {way: losses(stage.build(models).eval(), tokens)[0] for way, stage in STAGES.items()}
        assert torch.equal(results["none"], losses(models["language"], tokens)[0])
    assert torch.equal(results["ABF"][: CONTEXT - 1], results["Entropy-ABF"][: CONTEXT - 1])
    for way in ("PI", "NTK-aware", "ABF"):
        assert not torch.allclose(results[way], results["none"])
    assert not torch.allclose(results["ABF"], results["Entropy-ABF"])
