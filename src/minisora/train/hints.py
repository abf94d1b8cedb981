"""Auxiliary classification: features of the DiT's middle block predict the contents of each token.

The flow loss teaches looks first and shapes late: most of it is floor and light. The labels are
those of worlds/playroom/hints.py; the head that predicts them is dropped when training ends.
Related: Yu et al. 2024 (REPA, arXiv:2410.06940), where the middle is aligned with the features of a
frozen network.

Here: the network, its loss. Not here: the loss without hints (velocity.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.data.latents import LatentBatch
from minisora.dit.model import DiT, DiTConfig
from minisora.train.velocity import dit_loss
from minisora.worlds.playroom.hints import HINTS, NOTHING

WEIGHT = 0.25  # of each hint's cross-entropy, relative to the flow loss


class HintedDiT(DiT):
    """A DiT that keeps its logits of the hints for the last pack in `answers`.

    answers: (L, classes of all HINTS), of this process's tokens
    """

    answers: Tensor | None = None

    def __init__(self, config: DiTConfig) -> None:
        super().__init__(config)
        width = config.width
        self.hint_head = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, sum(map(len, HINTS.values())))
        )
        self.blocks[config.depth // 2 - 1].register_forward_hook(self._answer)

    def _answer(self, block: nn.Module, inputs: tuple[Any, ...], features: Tensor) -> None:
        self.answers = self.hint_head(features)

    def without_hints(self) -> DiT:
        """A plain DiT with the same weights."""
        plain = DiT(self.config)
        plain.load_state_dict({name: value for name, value in self.state_dict().items() if "hint_head" not in name})
        return plain


def hinted_loss(dit: HintedDiT, batch: LatentBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """`dit_loss` with the cross-entropies of the hints added to `loss`, and each hint's accuracy.

    A pack in which any clip has no hints gets the plain loss.
    """
    losses = dit_loss(dit, batch, noise)
    if batch.hints is None:
        return losses
    logits = dit.answers
    assert logits is not None
    if dit.across is not None:
        logits = dit.across.whole(logits, len(batch.hints))
    losses["flow"] = losses["loss"].detach()
    for n, (name, answers) in enumerate(zip(HINTS, logits.float().split([*map(len, HINTS.values())], -1), strict=True)):
        known = batch.hints[:, n] != NOTHING
        true = batch.hints[known, n]
        wrong = F.cross_entropy(answers[known], true, reduction="sum") / known.sum().clamp(min=1)
        losses["loss"] = losses["loss"] + WEIGHT * wrong
        losses[name] = (answers[known].argmax(-1) == true).float().mean().detach()
    return losses
