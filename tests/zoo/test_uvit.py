"""U-ViT: a block against torch's encoder layer, long skips in the order of a U-Net, its choices."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from minisora.zoo.dit import HEADS, WIDTH, PlainBlock
from minisora.zoo.frame.sets import FIELDS
from minisora.zoo.uvit import COMPARED, DEPTH, PUBLISHED, UViT

SHAPE = (4, 4, 16)
LABELS = torch.zeros(2, len(FIELDS), dtype=torch.long)


def built(**choices):
    torch.manual_seed(0)
    return UViT(SHAPE, replace(PUBLISHED, **choices))


def inputs():
    return torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(1)), torch.tensor([3, 900])


class Recorded(torch.nn.Module):
    """A block that adds a number of its own to channel 0, so that skips can be followed."""

    def __init__(self, added):
        super().__init__()
        self.added = added

    def forward(self, x, told):
        return x + self.added


def test_a_block_is_torch_s_encoder_layer():
    torch.manual_seed(0)
    ours = PlainBlock(crosses=False).double()
    theirs = torch.nn.TransformerEncoderLayer(
        WIDTH,
        HEADS,
        4 * WIDTH,
        dropout=0.0,
        activation=torch.nn.functional.gelu,
        batch_first=True,
        norm_first=True,
        dtype=torch.float64,
    )
    theirs.self_attn.in_proj_weight.data = torch.cat([ours.attention.q.weight, ours.attention.kv.weight])
    theirs.self_attn.in_proj_bias.data = torch.cat([ours.attention.q.bias, ours.attention.kv.bias])
    for mine, copy in (
        (ours.attention.out, theirs.self_attn.out_proj),
        (ours.norm1, theirs.norm1),
        (ours.norm3, theirs.norm2),
        (ours.mlp[0], theirs.linear1),
        (ours.mlp[2], theirs.linear2),
    ):
        copy.load_state_dict(mine.state_dict())
    x = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(ours(x, x), theirs(x))


def test_long_skips_join_the_first_block_to_the_last():
    net = built(skips="added")
    for n in range(DEPTH // 2):
        net.shallow[n], net.deep[n] = Recorded(10.0**n), Recorded(0.0)
    net.middle = Recorded(0.0)
    entered, left = [], []
    net.shallow[0].register_forward_pre_hook(lambda module, args: entered.append(args[0]))
    net.norm.register_forward_pre_hook(lambda module, args: left.append(args[0]))
    net(*inputs(), LABELS)
    after = [sum(10.0**m for m in range(n + 1)) for n in range(DEPTH // 2)]  # block n adds 10^n
    expected = (1 + DEPTH // 2) * entered[0] + after[-1] + sum(after)
    torch.testing.assert_close(left[0], expected[:, net.told :], atol=1e-3, rtol=1e-5)


def test_a_concatenated_skip_with_two_identities_is_an_added_one():
    net, added = built(), built(skips="added")
    added.load_state_dict({name: value for name, value in net.state_dict().items() if not name.startswith("join")})
    for join in net.join:
        join.weight.data = torch.cat([torch.eye(WIDTH), torch.eye(WIDTH)], 1)
        join.bias.data.zero_()
    torch.testing.assert_close(net(*inputs(), LABELS), added(*inputs(), LABELS), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("told", ["time", "label"])
def test_time_and_class_reach_the_picture_as_tokens(told):
    net = built()
    (x, t), other = inputs(), LABELS.clone()
    other[:, :3] += 1
    changed = net(x, t.flip(0), LABELS) if told == "time" else net(x, t, other)
    assert not torch.allclose(net(x, t, LABELS), changed)


@pytest.mark.parametrize("choice", COMPARED)
def test_every_choice_gives_noise_in_the_shape_of_the_picture(choice):
    net = COMPARED[choice].build({})
    x = torch.randn(2, 8, 8, 16)
    assert net(x, torch.tensor([3, 900]), LABELS).shape == x.shape
