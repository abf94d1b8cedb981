"""Latte's variants: what each block sees, their sizes, the identity at first."""

from __future__ import annotations

import pytest
import torch

from minisora.zoo import latte
from minisora.zoo.frame.sets import FIELDS, LATENT_CLIPS_64

PLACES = 16  # tokens of a frame
LABELS = torch.zeros(1, len(FIELDS), dtype=torch.long)


def opened(model):
    """The model with weights that are not zero anywhere, so that all its branches act."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.08)
    return model


def changed(block, frame, place):
    """Frames and places whose tokens change with the token of a frame and place."""
    x = torch.randn(1, latte.FRAMES * PLACES, latte.WIDTH)
    other = x.clone()
    other[0, frame * PLACES + place, 0] += 3
    told = torch.randn(1, latte.WIDTH)
    difference = (block(x, told) - block(other, told)).abs().amax(-1).unflatten(1, (latte.FRAMES, PLACES))[0]
    return difference > 1e-6


@pytest.mark.parametrize("variant", latte.VARIANTS)
def test_blocks_see_their_frame_or_their_place(variant):
    first, last = opened(latte.blocks(variant)[0]), opened(latte.blocks(variant)[-1])
    frame, place = 2, 9
    cross = torch.zeros(latte.FRAMES, PLACES, dtype=torch.bool)
    row, column = cross.clone(), cross.clone()
    row[frame], column[:, place] = True, True
    seen = {1: (row, column), 2: (row, column), 3: (~cross, ~cross), 4: (row | column, row | column)}
    for block, expected in zip((first, last), seen[variant], strict=True):
        assert torch.equal(changed(block, frame, place), expected)


def test_variant_1_takes_turns_and_variant_2_fuses_late():
    kinds = {variant: [type(block.attention).__name__[:5] for block in latte.blocks(variant)] for variant in (1, 2)}
    assert kinds[1] == ["Spati", "Tempo"] * 4
    assert kinds[2] == ["Spati"] * 4 + ["Tempo"] * 4


def test_variants_have_about_as_many_parameters():
    sizes = [sum(p.numel() for p in latte.Latte(variant).parameters()) for variant in latte.VARIANTS]
    assert max(sizes) < 1.05 * min(sizes)


@pytest.mark.parametrize("variant", latte.VARIANTS)
def test_every_latte_begins_at_zero_and_every_token_reaches_every_other(variant):
    torch.manual_seed(0)
    model, t = latte.Latte(variant), torch.tensor([300])
    z = torch.randn(1, *LATENT_CLIPS_64.shape)
    assert not model(z, t, LABELS).any()
    model, other = opened(model), z.clone()
    other[0, 0, 0, 0] += 10
    assert (model(z, t, LABELS) != model(other, t, LABELS)).any(-1).all()
