"""`TextEncoder`, the interface to a text encoder.

Here: the protocol, and sentence embeddings from any such encoder. Not here: the encoder of the
embedded weights (minilm.py), prompts that change over time (generate/schedule.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, eq=False)
class TextTokens:
    """Token states of texts laid end to end, without padding, in input order.

    tokens:  (S, Dt) float32 states of the last layer
    lengths: tokens of each text; they add up to S
    """

    tokens: Tensor
    lengths: list[int]

    def __len__(self) -> int:
        return len(self.lengths)

    def split(self) -> tuple[Tensor, ...]:
        """One (S_i, Dt) view for each text."""
        return torch.split(self.tokens, self.lengths)


class TextEncoder(Protocol):
    """Frozen network from texts to the states of their tokens."""

    @property
    def width(self) -> int:
        """Width of a token's state, Dt."""

    @property
    def fingerprint(self) -> str:
        """Digest of weights and tokenizer."""

    def encode(self, texts: Sequence[str]) -> TextTokens:
        """States of every token of every text; "" is the null text.

        A text's states do not depend on the other texts. Raises UsageError for one that is too
        long.
        """

    def check(self, text: str) -> None:
        """Raise UsageError for a text that is too long."""

    def unreadable(self, text: str) -> bool:
        """True if most of the text is in a script or of symbols unknown to the encoder."""


def sentences(encoder: TextEncoder, texts: Sequence[str]) -> Tensor:
    """Sentence embeddings; the dot product of two is their cosine similarity.

    returns (B, Dt) float32, the mean over the tokens of `encode`, normalised to length 1
    """
    means = [states.mean(dim=0) for states in encoder.encode(texts).split()]
    return F.normalize(torch.stack(means), dim=-1) if means else torch.empty(0, encoder.width)
