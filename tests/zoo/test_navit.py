"""NaViT: packed pictures give what each gives alone, exactly; packing wastes little."""

from __future__ import annotations

import pytest
import torch

from minisora.zoo import navit
from minisora.zoo.frame.sets import FIELDS, ToyBatch
from minisora.zoo.navit import NOBODY, PATCH, ROOM, SIDES, NaViT, alone, greedy, packed, piece


def pieces_of(sides):
    rng = torch.Generator().manual_seed(0)
    return [piece(torch.rand(64, 64, 3, generator=rng), *each) for each in sides]


def test_packed_pictures_give_what_each_gives_alone():
    torch.manual_seed(0)
    net = NaViT().double()
    pieces = [
        (tokens.double(), places) for tokens, places in pieces_of([(2, 2), (3, 5), (8, 8), (4, 2), (6, 6), (2, 7)])
    ]
    torch.set_default_dtype(torch.float64)
    try:
        together = packed(pieces, greedy)
        logits = net(together, len(pieces))
        each = torch.cat([net(packed([one], alone), 1) for one in pieces])
        assert len(together.tokens) < len(pieces)
        torch.testing.assert_close(logits, each)
        torch.testing.assert_close(logits, net(packed(pieces, alone), len(pieces)))
    finally:
        torch.set_default_dtype(torch.float32)


def test_padding_changes_nothing():
    torch.manual_seed(0)
    net = NaViT()
    pack = packed(pieces_of([(2, 3), (4, 4)]), greedy)
    before = net(pack, 2)
    pack.tokens[pack.picture == NOBODY] = 100.0
    assert torch.equal(net(pack, 2), before)


def test_other_pictures_of_a_sequence_get_no_gradient():
    net, pack = NaViT(), packed(pieces_of([(4, 4), (4, 4)]), greedy)
    tokens = pack.tokens.requires_grad_()
    net(pack, 2)[0].sum().backward()
    assert tokens.grad[pack.picture == 0].any() and not tokens.grad[pack.picture == 1].any()


@pytest.mark.parametrize("packing", [greedy, alone])
def test_every_picture_is_packed_once_within_the_room(packing):
    rng = torch.Generator().manual_seed(1)
    lengths = torch.randint(4, ROOM + 1, (200,), generator=rng).tolist()
    sequences = packing(lengths)
    assert sorted(n for each in sequences for n in each) == list(range(200))
    assert all(sum(lengths[n] for n in each) <= ROOM for each in sequences)


def test_first_fit_decreasing_is_within_its_bound():
    """At most 11/9 of the best packing and one (Dosa 2007); sums bound the best from below."""
    lengths = (torch.randint(2, 9, (300, 2), generator=torch.Generator().manual_seed(2)).prod(1)).tolist()
    assert len(greedy(lengths)) <= 11 / 9 * -(-sum(lengths) // ROOM) + 1


def test_tokens_are_patches_of_the_smaller_picture():
    picture = torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(0))
    tokens, places = piece(picture, 4, 8)
    assert tokens.shape == (32, 3 * PATCH**2) and places[9].tolist() == [1, 1]
    rows = picture.reshape(32, 2, 64, 3).mean(1)  # half the rows, all the columns
    torch.testing.assert_close(tokens[9], rows[8:16, 8:16].flatten())


def test_for_the_same_flops_more_pictures_are_packed_and_more_still_if_tokens_are_dropped():
    costs = [navit.flops_of_step(stage, {}) for stage in navit.STAGES.values()]
    assert costs[0] > 1.8 * costs[1] > 2.2 * costs[2]


def test_dropping_keeps_between_half_and_all_and_the_places_of_what_it_keeps():
    tokens, places = pieces_of([(8, 8)])[0]
    for seed in range(20):
        kept, where = navit._kept(tokens, places, torch.Generator().manual_seed(seed))
        assert ROOM // 2 <= len(kept) <= ROOM
        torch.testing.assert_close(kept, tokens[where[:, 0] * max(SIDES) + where[:, 1]])


def test_the_loss_tells_how_much_is_padding():
    batch = ToyBatch(torch.zeros(32, 64, 64, 3), torch.zeros(32, len(FIELDS), dtype=torch.long))
    wasted = [
        float(navit.loss(NaViT(), batch, torch.Generator().manual_seed(0), packing=way)["wasted"])
        for way in (alone, greedy)
    ]
    assert wasted[0] > 0.5 and wasted[1] < 0.15
