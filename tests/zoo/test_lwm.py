"""LWM: where the needle lies, and a model in a ring against the model alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from queue import Queue

import pytest
import torch

from minisora.zoo.lwm import DEPTHS, LONGEST, STAGES, accuracy, haystack, ring_error, ring_mix
from minisora.zoo.nets.language import LANGUAGE, NUMBER, NUMBERS, SENTENCE, START, VOCABULARY, copied, streams
from minisora.zoo.ring_attention import Ring


@pytest.mark.parametrize("length", [128, LONGEST])
@pytest.mark.parametrize("depth", DEPTHS)
def test_a_needle_is_told_once_at_its_depth(length, depth):
    tokens, numbers = haystack(length, depth, 8, torch.Generator().manual_seed(0))
    assert length - SENTENCE <= tokens.shape[1] <= length and (tokens[:, 0] == START).all()
    for row, number in zip(tokens, numbers, strict=True):
        told, asked = torch.nonzero(row == row[-1])[:, 0].tolist()
        assert asked == len(row) - 1
        assert row[told + 1] == NUMBER + number
        assert told / asked == pytest.approx(depth, abs=1.2 * SENTENCE / len(row) + 0.1 * SENTENCE * depth / 14)


class Reader(torch.nn.Module):
    """Finds every needle by reading."""

    def forward(self, tokens):
        logits = torch.zeros(*tokens.shape, VOCABULARY)
        for row, out in zip(tokens, logits, strict=True):
            told = int(torch.nonzero(row == row[-1])[0, 0])
            out[-1, row[told + 1]] = 1
        return logits


def test_accuracy_is_one_for_a_reader_and_chance_for_one_who_guesses():
    assert accuracy(Reader(), 128, 0.5, 0) == 1
    guess = torch.nn.Embedding(VOCABULARY, VOCABULARY, _weight=torch.eye(VOCABULARY))
    assert accuracy(guess, 128, 0.5, 0) == pytest.approx(1 / NUMBERS, abs=0.2)


def network():
    torch.manual_seed(0)
    return LANGUAGE.build({}).eval()


def test_a_model_in_a_ring_is_the_model():
    model, count = network(), 3
    tokens = streams(2, 47, torch.Generator().manual_seed(0))  # 48 with START
    mail = [Queue() for _ in range(count)]

    def on_rank(rank):
        def pass_on(blocks):
            mail[(rank + 1) % count].put(tuple(block.clone() for block in blocks))
            return mail[rank].get

        mix = ring_mix(Ring(rank, count, pass_on), model.mix.rates)
        with torch.inference_mode():
            return model(tokens.chunk(count, 1)[rank], mix)

    with ThreadPoolExecutor(count) as pool:
        parts = list(pool.map(on_rank, range(count)))
    with torch.inference_mode():
        torch.testing.assert_close(torch.cat(parts, 1), model(tokens), atol=1e-5, rtol=1e-4)


def test_each_stage_goes_on_from_the_last_with_a_larger_base():
    models, before = {"language": network()}, None
    for stage in list(STAGES.values())[1:]:
        (needed,) = stage.needs
        models[stage.name] = stage.build(models)
        first, last = models[needed.name], models[stage.name]
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), last.parameters(), strict=True))
        assert float(last.mix.rates[-1]) <= float(first.mix.rates[-1])
        assert before is None or needed is before
        before = stage
    assert not torch.equal(models["language"].mix.rates, last.mix.rates)


@pytest.mark.long
def test_processes_in_a_ring_give_the_logits_of_one():
    model = copied(network(), network().mix)
    assert ring_error(model, streams(1, 255, torch.Generator().manual_seed(0))) < 1e-4
