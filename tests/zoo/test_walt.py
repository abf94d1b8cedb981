"""W.A.L.T: windows, pictures as clips of one frame, the low-rank modulation."""

from __future__ import annotations

import torch

from minisora.zoo import walt
from minisora.zoo.frame.sets import FIELDS, LATENT_CLIPS_64, LATENT_PICTURES_64, random_batch
from minisora.zoo.nets.attention import Attention
from minisora.zoo.nets.transformer import Block

LABELS = torch.zeros(2, len(FIELDS), dtype=torch.long)
FRAME, ROW, COLUMN = (
    each.flatten() for each in torch.meshgrid(torch.arange(5), torch.arange(8), torch.arange(8), indexing="ij")
)


def opened(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def full(attention):
    """Attention with the same weights over all tokens."""
    other = Attention(walt.WIDTH, walt.WIDTH, walt.WIDTH // walt.HEADS)
    other.load_state_dict(attention.state_dict())
    return other


def test_windows_are_full_attention_with_a_mask():
    torch.manual_seed(0)
    x = torch.randn(2, 320, walt.WIDTH)
    box = 2 * (ROW // 4) + COLUMN // 4
    for attention, group in ((walt.WindowAttention(1, 8), FRAME), (walt.WindowAttention(5, 4), box)):
        torch.testing.assert_close(attention(x, x), full(attention)(x, x, group[:, None] == group))


def test_windows_are_undone():
    x = torch.arange(2 * 320 * 3.0).reshape(2, 320, 3)
    for frames, side in ((1, 8), (5, 4), (1, 2)):
        torch.testing.assert_close(walt.unwindowed(*walt.windows(x, frames, side)), x)


def test_the_values_of_a_picture_pass_the_spatiotemporal_attention():
    torch.manual_seed(0)
    attention, x = walt.WindowAttention(5, 4), torch.randn(2, 64, walt.WIDTH)
    values = attention.kv(x).chunk(2, -1)[1]
    torch.testing.assert_close(attention(x, x), attention.out(values))


def test_a_picture_is_spread_by_spatial_blocks_alone():
    model, z, t = opened(walt.WALT()), torch.randn(2, 8, 8, 16), torch.tensor([100, 700])
    for block in model.blocks[::2]:
        torch.nn.init.zeros_(block.attention.out.weight)
        torch.nn.init.zeros_(block.attention.out.bias)
    other = z.clone()
    other[:, 3, 3] += torch.randn(16)
    changed = (model(z, t, LABELS) - model(other, t, LABELS)).abs().amax((0, 3)) > 1e-6
    assert changed.nonzero().tolist() == [[3, 3]]


def test_modulations_are_of_rank_r_about_the_first():
    """The difference of two blocks' modulations over many embeddings has the rank of the LoRA."""
    model = opened(walt.WALT())
    told = torch.randn(64, walt.WIDTH)
    apart = model.lora[2](told)
    assert torch.linalg.matrix_rank(apart) == walt.RANK
    ours = sum(p.numel() for part in (model.first, model.lora) for p in part.parameters())
    theirs = walt.DEPTH * sum(p.numel() for p in Block(walt.WIDTH, walt.HEADS).modulation.parameters())
    assert ours < theirs / 4


def test_joint_loss_is_the_mean_over_all_frames():
    model = opened(walt.WALT())
    parts = walt.loss(
        model, random_batch(LATENT_CLIPS_64, 2, second=LATENT_PICTURES_64), torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(parts["loss"], (5 * parts["clips"] + parts["pictures"]) / 6)
    alone = walt.loss(model, random_batch(LATENT_CLIPS_64, 2), torch.Generator().manual_seed(0))
    torch.testing.assert_close(alone["loss"], parts["clips"])
