"""FiT: padding changes nothing, positions are relative, VisionNTK, SwiGLU, windows."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention import FeedForward
from diffusers.models.embeddings import apply_rotary_emb, get_1d_rotary_pos_embed

from minisora.zoo import fit
from minisora.zoo.fit import LONGEST, SIZES, FiT, Layout, SwiGLU, windows
from minisora.zoo.frame.entry import Ask
from minisora.zoo.frame.sets import FIELDS
from minisora.zoo.nets.rotary import grid, rotated

LABELS = torch.zeros(2, len(FIELDS), dtype=torch.long)
T = torch.tensor([3, 900])


def net(**kind):
    torch.manual_seed(0)
    built = FiT(**kind)
    for p in built.parameters():
        torch.nn.init.normal_(p, std=0.05)
    return built


def whole(rows, columns, *, shift=0.0):
    return Layout(grid(rows, columns).expand(2, -1, -1) + shift, torch.ones(2, rows * columns, dtype=torch.bool))


@pytest.mark.parametrize("rotary", [True, False])
def test_a_padded_sequence_gives_what_it_gives_alone(rotary):
    built, layout = net(rotary=rotary), whole(4, 5)
    x = torch.randn(2, 20, 16, generator=torch.Generator().manual_seed(1))
    filled = torch.cat([x, torch.full((2, 28, 16), 9.0)], 1)
    places = torch.cat([layout.places, torch.full((2, 28, 2), 7.0)], 1)
    padded = Layout(places, torch.arange(LONGEST).expand(2, -1) < 20)
    torch.testing.assert_close(
        built(filled, T, LABELS, padded)[:, :20], built(x, T, LABELS, layout), atol=1e-4, rtol=1e-4
    )


def test_rotary_positions_are_relative_and_absolute_ones_are_not():
    x = torch.randn(2, 20, 16, generator=torch.Generator().manual_seed(1))
    for rotary in (True, False):
        built = net(rotary=rotary)
        here, there = (built(x, T, LABELS, whole(4, 5, shift=shift)) for shift in (0.0, 3.0))
        assert torch.allclose(here, there, atol=1e-3) == rotary


@pytest.mark.parametrize("scales", [(1.0, 1.0), (1.0, 1.75), (2.5, 1.25)])
def test_each_axis_turns_its_half_as_diffusers_do_with_a_base_of_its_own(scales):
    """Their channels are paired (n, n + half) of a head of one axis; ours of both axes in turn."""
    d = fit.WIDTH // fit.HEADS // 2
    x = torch.randn(1, 1, 30, 2 * d, generator=torch.Generator().manual_seed(0))
    places = grid(5, 6)
    ours = rotated(x, fit.turns(places, scales))
    for axis in range(2):
        theta = 10_000 * scales[axis] ** (d / (d - 2))  # FiT, Definition 3.1
        mine = [*range(axis * d // 2, (axis + 1) * d // 2), *range(d + axis * d // 2, d + (axis + 1) * d // 2)]
        cos_sin = get_1d_rotary_pos_embed(d, places[:, axis], theta, repeat_interleave_real=False, use_real=True)
        theirs = apply_rotary_emb(x[..., mine], cos_sin, use_real_unbind_dim=-2)
        torch.testing.assert_close(ours[..., mine], theirs, atol=1e-5, rtol=1e-5)


def test_vision_ntk_stretches_the_slowest_rate_by_the_scale_and_leaves_the_fastest():
    scale = 12 / LONGEST**0.5
    plain, stretched = fit.rates(), fit.rates(scale)
    assert stretched[0] == plain[0] == 1
    torch.testing.assert_close(plain[-1] / stretched[-1], torch.tensor(scale))


def test_vision_ntk_scales_each_axis_by_its_own_side():
    assert fit.ntk_scales(12, 8) == pytest.approx((12 / 48**0.5, 8 / 48**0.5))
    assert fit.ntk_scales(4, 12) == pytest.approx((1, 12 / 48**0.5))
    assert fit.ntk_scales(6, 6) == (1, 1)


def test_columns_are_stretched_and_rows_are_not():
    built, x = net(), torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(1))
    for rows, columns, same in ((6, 1, True), (1, 6, False)):
        layout = whole(rows, columns)
        plain, wide = built(x, T, LABELS, layout), built(x, T, LABELS, layout, scales=(1.0, 4.0))
        assert torch.allclose(plain, wide, atol=1e-6) == same


def test_swiglu_is_diffusers():
    torch.manual_seed(0)
    ours, theirs = SwiGLU(24, 64), FeedForward(24, inner_dim=64, activation_fn="swiglu")
    theirs.net[0].proj.weight.data = torch.cat([ours.value.weight, ours.gate.weight])
    theirs.net[0].proj.bias.data = torch.cat([ours.value.bias, ours.gate.bias])
    theirs.net[2].load_state_dict(ours.out.state_dict())
    x = torch.randn(3, 24)
    torch.testing.assert_close(ours(x), theirs(x))


def test_windows_are_pieces_of_their_latents():
    z = torch.arange(64.0).reshape(1, 8, 8, 1) + 100 * torch.arange(64.0).reshape(-1, 1, 1, 1)
    x, layout = windows(z, torch.Generator().manual_seed(0))
    sizes = set()
    for n in range(64):
        own = layout.mask[n]
        rows, columns = (int(side) + 1 for side in layout.places[n, own].amax(0))
        sizes.add((rows, columns))
        assert int(own.sum()) == rows * columns <= LONGEST and not x[n, ~own].any()
        piece = x[n, own].reshape(rows, columns)
        top, left = divmod(int(piece[0, 0]) - 100 * n, 8)
        torch.testing.assert_close(piece, z[n, top : top + rows, left : left + columns, 0])
    assert sizes <= set(SIZES) and len(sizes) > 10 and (8, 8) not in SIZES


def test_any_size_can_be_asked_for():
    ask = Ask(LABELS, torch.Generator().manual_seed(0))
    made = fit.sample({"fit": net()}, ask, stage=fit.FIT, rows=3, columns=9, ntk=True)
    assert made.shape == (2, 3, 9, 16)
