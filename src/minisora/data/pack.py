"""Pack: clips of any size and length, laid end to end in one stream of tokens.

Nothing is padded and there are no buckets: a pack holds the length of each clip, and attention
stays inside a clip. Source: Dehghani et al. 2023, "Patch n' Pack: NaViT" (arXiv:2307.06304),
section 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class Pack:
    """L video tokens of B clips, with their S text tokens.

    Clips of equal length should be neighbours: on a CPU attention takes them in one batched call.
    """

    tokens: Tensor  # (L, Ct) noised latents, patchified
    times: Tensor  # (K,) distinct times t of the tokens
    time_index: Tensor  # (L,) index into `times` for each token
    positions: Tensor  # (L, 3) float32: time, row, column in the units of RoPE
    single: Tensor  # (L,) bool: the token covers one frame, not a group
    lengths: tuple[int, ...]  # tokens of each clip; sums to L
    text: Tensor  # (S, Dt)
    text_lengths: tuple[int, ...]  # text tokens of each clip; sums to S

    def __post_init__(self) -> None:
        assert sum(self.lengths) == len(self.tokens) == len(self.time_index) == len(self.positions) == len(self.single)
        assert len(self.lengths) == len(self.text_lengths)
        assert sum(self.text_lengths) == len(self.text)

    def to(self, device: torch.device | str) -> Pack:
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        moved: dict[str, Any] = {name: value.to(device) for name, value in tensors.items()}
        return replace(self, **moved)


def distinct_times(token_times: Tensor) -> tuple[Tensor, Tensor]:
    """(L,) times -> the K distinct ones (K,), and each token's index among them (L,)."""
    times, index = torch.unique(token_times, return_inverse=True)
    return times, index
