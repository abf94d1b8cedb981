"""The seam between words and the network: what the rest of the project asks of a text encoder.

Here: the protocol, and directions of whole texts, from any such encoder. Not here: the one whose states the embedded
weights read (minilm.py), prompts that change over time (generate/schedule.py).
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
    """Texts laid end to end, without padding, in the order they were given.

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
    """Texts to the states of their tokens, by a frozen network."""

    @property
    def width(self) -> int:
        """Dt, the width of a token's state."""

    @property
    def fingerprint(self) -> str:
        """A digest of all that changes the states: weights and tokenizer."""

    def encode(self, texts: Sequence[str]) -> TextTokens:
        """The states of every token of every text; "" is the null text.

        A text comes out alike whichever others stand next to it. Raises UsageError for one that is too long.
        """

    def check(self, text: str) -> None:
        """Raises UsageError for a text that is too long."""

    def unreadable(self, text: str) -> bool:
        """True if most of the text is in a script, or of signs, that the encoder never learnt."""


def sentences(encoder: TextEncoder, texts: Sequence[str]) -> Tensor:
    """One direction for each text; the dot product of two is the cosine of their meanings.

    returns (B, Dt) float32, the mean over the tokens of `encode`, at length 1
    """
    means = [states.mean(dim=0) for states in encoder.encode(texts).split()]
    return F.normalize(torch.stack(means), dim=-1) if means else torch.empty(0, encoder.width)
