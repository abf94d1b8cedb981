"""ViViT: factorised attention against masked attention, tubelets against a convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from minisora.zoo import vivit
from minisora.zoo.nets.attention import Attention
from minisora.zoo.nets.video import SpatialAttention, SplitAttention, TemporalAttention, clip_positions

FRAMES, PLACES = 3, 4
FRAME = torch.arange(FRAMES).repeat_interleave(PLACES)
PLACE = torch.arange(PLACES).repeat(FRAMES)
MASKS = {"space": FRAME[:, None] == FRAME, "time": PLACE[:, None] == PLACE}


@pytest.mark.parametrize(("factorised", "mask"), [(SpatialAttention, "space"), (TemporalAttention, "time")])
def test_factorised_attention_is_full_attention_with_a_mask(factorised, mask):
    torch.manual_seed(0)
    ours, full = factorised(32, 4, FRAMES), Attention(32, 32, 8)
    full.load_state_dict(ours.state_dict())
    x = torch.randn(2, FRAMES * PLACES, 32)
    torch.testing.assert_close(ours(x, x), full(x, x, MASKS[mask]))


def test_split_heads_are_full_attention_with_a_mask_for_each_head():
    torch.manual_seed(0)
    ours, full = SplitAttention(32, 4, FRAMES), Attention(32, 32, 8)
    full.load_state_dict(ours.state_dict())
    x = torch.randn(2, FRAMES * PLACES, 32)
    mask = torch.stack([MASKS["space"]] * 2 + [MASKS["time"]] * 2)
    torch.testing.assert_close(ours(x, x), full(x, x, mask))


def test_tubelet_embedding_is_a_strided_3d_convolution():
    torch.manual_seed(0)
    clips, (t, h, w) = torch.randn(2, 16, 32, 32, 3), vivit.TUBELET
    linear = nn.Linear(t * h * w * 3, 8)
    kernel = linear.weight.unflatten(1, (t, h, w, 3)).permute(0, 4, 1, 2, 3)
    theirs = nn.functional.conv3d(clips.permute(0, 4, 1, 2, 3), kernel, linear.bias, stride=vivit.TUBELET)
    torch.testing.assert_close(linear(vivit.tubelets(clips)), theirs.flatten(2).mT, atol=1e-4, rtol=1e-4)


def test_every_place_of_a_clip_has_a_position_of_its_own():
    places = clip_positions(vivit.N_T, vivit.N_H, vivit.N_W, vivit.WIDTH)
    assert len(places) == vivit.N_T * vivit.N_H * vivit.N_W
    assert torch.pdist(places).min() > 0.5


@pytest.mark.parametrize("name", vivit.MODELS)
def test_every_encoder_sees_the_order_of_frames(name):
    torch.manual_seed(0)
    model = vivit.ViViT(vivit.MODELS[name]())
    clips = torch.randn(1, 16, 32, 32, 3)
    assert not torch.allclose(model(clips), model(clips.flip(1)), atol=1e-4)


def test_model_4_has_the_parameters_of_model_1_and_model_3_more():
    one, _, three, four = (sum(p.numel() for p in build().parameters()) for build in vivit.MODELS.values())
    assert one == four < three
