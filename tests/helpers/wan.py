"""A tiny random transformer of diffusers, ours with its weights, and how far they are apart."""

from __future__ import annotations

from typing import Any

import torch

from minisora.data.pack import Pack, distinct_times
from minisora.data.patch import grid_positions, patchify, unpatchify
from minisora.dit.model import DiT
from minisora.dit.wan import config_from_wan, state_from_wan

SHAPE = (3, 4, 6)  # latents in time, rows, columns
TEXT_PAD = 9


def both(dtype: torch.dtype = torch.float32, **changes: Any) -> tuple[Any, DiT]:
    """A tiny random network of theirs, and ours with its weights."""
    import diffusers

    torch.manual_seed(0)
    given: dict[str, Any] = dict(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=24,
        in_channels=4,
        out_channels=4,
        text_dim=20,
        freq_dim=32,
        ffn_dim=80,
        num_layers=2,
        cross_attn_norm=True,
    )
    theirs = diffusers.WanTransformer3DModel(**{**given, **changes}).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():  # gains of 1 and biases of 0 would hide a wrong place
            parameter.add_(torch.randn_like(parameter) * 0.1)
    config = config_from_wan(theirs.config, text_pad=TEXT_PAD)
    ours = DiT(config).eval()
    ours.load_state_dict(state_from_wan(theirs.state_dict(), config))
    return theirs.to(dtype), ours.to(dtype)


def pack_of(ours: DiT, z: torch.Tensor, times: torch.Tensor, texts: list[torch.Tensor]) -> Pack:
    """z: (B, Tz, Hz, Wz, Cz), times: (B, L)"""
    patch = ours.config.patch
    grid = [size // p for size, p in zip(SHAPE, patch, strict=True)]
    tokens = patchify(z, patch)
    distinct, index = distinct_times(times.flatten())
    count = tokens.shape[1]
    return Pack(
        tokens=tokens.flatten(0, 1),
        times=distinct,
        time_index=index,
        positions=grid_positions(torch.arange(grid[0]), grid[1], grid[2]).repeat(len(z), 1),
        single=torch.zeros(len(z) * count, dtype=torch.bool),
        lengths=(count,) * len(z),
        text=torch.cat(texts),
        text_lengths=tuple(len(text) for text in texts),
    )


def difference(theirs: Any, ours: DiT, dtype: torch.dtype, *, by_token: bool) -> float:
    torch.manual_seed(1)
    patch = ours.config.patch
    grid = (SHAPE[0] // patch[0], SHAPE[1] // patch[1], SHAPE[2] // patch[2])
    count = grid[0] * grid[1] * grid[2]
    z = torch.randn(2, *SHAPE, 4, dtype=dtype)
    width = ours.config.text_width
    texts = [torch.randn(n, width, dtype=dtype) for n in (5, TEXT_PAD)]
    padded = torch.stack([torch.cat([text, text.new_zeros(TEXT_PAD - len(text), width)]) for text in texts])
    times = torch.rand(2, count) if by_token else torch.rand(2, 1).expand(2, count)
    with torch.no_grad():
        expected = theirs(
            hidden_states=z.permute(0, 4, 1, 2, 3),
            timestep=1000 * (times if by_token else times[:, 0]),
            encoder_hidden_states=padded,
            return_dict=False,
        )[0].permute(0, 2, 3, 4, 1)
        velocity = ours(pack_of(ours, z, times, texts)).unflatten(0, (2, count))
    assert expected.std() > 0.1
    return float((unpatchify(velocity, patch, grid) - expected).abs().max())
