"""The toy language of the papers on long context: its needles, its entropy, its model."""

from __future__ import annotations

import math

import pytest
import torch

from minisora.dit.rope import rope_table, rotate_
from minisora.zoo.nets.language import (
    CONTEXT,
    HEAD_WIDTH,
    LANGUAGE,
    NAME,
    NAMES,
    NUMBER,
    NUMBERS,
    SENTENCE,
    START,
    frequencies,
    ideal,
    is_number,
    losses,
    names_of,
    recalled,
    rotated,
    streams,
)


def drawn(count=4, length=140, seed=0, **how):
    return streams(count, length, torch.Generator().manual_seed(seed), **how)


def test_a_name_keeps_its_number_and_is_recalled_the_second_time():
    tokens = drawn(count=8)
    assert tokens.shape == (8, 141) and (tokens[:, 0] == START).all()
    marked = recalled(tokens)
    for row, marks in zip(tokens.tolist(), marked.tolist(), strict=True):
        numbers = {}
        for place in range(SENTENCE, len(row), SENTENCE):
            name, number = row[place - 1], row[place]
            assert NAME <= name < NAME + NAMES and NUMBER <= number < START
            assert marks[place - 1] == (name in numbers)
            assert numbers.setdefault(name, number) == number
        assert len(numbers) <= names_of(140)
    assert not (marked & ~is_number(tokens)).any()


def test_the_ideal_loss_is_what_a_player_who_knows_the_rules_pays():
    """Names by brute force: the chance of each name given those seen, summed over all names."""
    names = 3
    tokens = drawn(count=2, length=SENTENCE * 8, names=names)
    least = ideal(tokens, names)
    for row, paid in zip(tokens[:, SENTENCE - 1 :: SENTENCE].tolist(), least[:, SENTENCE - 2 :: SENTENCE], strict=True):
        seen = set()
        for name, nats in zip(row, paid.tolist(), strict=True):
            unseen = (names - len(seen)) / names / (NAMES - len(seen))
            chances = {each: 1 / names if each in seen else unseen for each in range(NAME, NAME + NAMES)}
            assert sum(chances.values()) == pytest.approx(1)
            assert nats == pytest.approx(-math.log(chances[name]), abs=1e-5)
            seen.add(name)
    numbers = least[is_number(tokens)]
    assert set(numbers.tolist()) == {0.0, float(torch.tensor(math.log(NUMBERS)))}


def test_rotary_positions_are_those_of_the_house():
    """Its pairs are neighbours, ours are halves; a width of 4 is all for time."""
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    places = torch.arange(5.0)
    table = rope_table(places[:, None].expand(5, 3), 4)
    theirs = rotate_(x[:, [0, 2, 1, 3]].clone(), table)[:, [0, 2, 1, 3]]
    torch.testing.assert_close(rotated(x, places, frequencies(4)), theirs)


def test_the_model_is_causal_and_begins_near_chance():
    torch.manual_seed(0)
    model = LANGUAGE.build({})
    tokens = drawn(count=2, length=CONTEXT)
    with torch.no_grad():
        before = losses(model, tokens)
        tokens[:, 100:] = NAME
        assert torch.equal(losses(model, tokens)[:, :99], before[:, :99])
    assert float(before.mean()) == pytest.approx(math.log(START + 1), abs=0.3)


def test_rotation_depends_on_distance_alone():
    q, k = torch.randn(2, 1, HEAD_WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rates = frequencies().double()
    products = [
        rotated(q, torch.tensor([a]), rates) @ rotated(k, torch.tensor([b]), rates).T for a, b in [(9, 4), (105, 100)]
    ]
    torch.testing.assert_close(*products)
