"""Frames larger than the network knows are made in overlapping parts."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from minisora.dit.model import DiT
from minisora.generate.canvas import Condition, Shape, build
from minisora.generate.window import encode_prompt, sample, tiles
from minisora.progress import Watch
from tests.helpers.tiny import bundle, picture, settings

__all__ = ["bundle"]  # a fixture

LARGE = Shape(num_frames=6, height=112, width=80, fps=8.0)  # 3 latents of 7 x 5 tokens


@pytest.mark.parametrize("side", [2, 3, 4, 5, 6])
def test_parts_cover_every_token_and_overlap(bundle, side):
    canvas = build(bundle, LARGE, [Condition(picture(1, 112, 80), at=2)])  # a latent beside the grid too
    weight = torch.zeros(len(canvas.levels))
    cells = torch.arange(len(canvas.levels)) % 35
    for index, share in tiles(canvas, side):
        assert (share > 0).all() and index.unique().numel() == index.numel() <= side * side * 4
        rows = cells[index] // 5
        assert rows.max() - rows.min() < side
        weight[index] += share[:, 0]
    assert (weight > 0).all()
    seen = [set((cells[index] // 5).tolist()) for index, _ in tiles(canvas, side)]
    tops = sorted({min(rows) for rows in seen})
    assert all(later - earlier < side for earlier, later in pairwise(tops))


@pytest.mark.parametrize("text_pad", [0, 8])
def test_a_prompt_alone_is_told_as_beside_the_null_text(bundle, text_pad):
    dit = DiT(replace(bundle.dit.config, text_pad=text_pad))
    prompt = encode_prompt(replace(bundle, dit=dit), "a ball")
    apart = dit.context(prompt.tokens[: prompt.lengths[0]], prompt.lengths[:1])
    assert prompt.prompt_alone.lengths == apart.lengths
    torch.testing.assert_close(prompt.prompt_alone.keys, apart.keys)
    torch.testing.assert_close(prompt.prompt_alone.values, apart.values)


def test_what_is_not_larger_is_one_part_in_order(bundle):
    canvas = build(bundle, LARGE, [Condition(picture(1, 112, 80), at=2)])
    ((index, _),) = tiles(canvas, 7)
    assert torch.equal(index, torch.arange(len(canvas.levels)))


def test_a_large_frame_is_made_and_what_is_given_held(bundle):
    small = replace(bundle, sampling=replace(bundle.sampling, tile=3))
    canvas = build(small, LARGE, [Condition(picture(1, 112, 80))])
    tokens = sample(small, canvas, encode_prompt(small, "a ball"), settings(), Watch())
    given = canvas.levels == 0
    assert tokens.isfinite().all() and torch.equal(tokens[:, given], canvas.known[:, given])
