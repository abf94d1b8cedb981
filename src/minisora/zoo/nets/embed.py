"""Embeddings of noise levels, classes and captions, which many papers share.

Here: sinusoids, and what a network knows besides its noisy input. Not here: the networks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from minisora.zoo.frame.sets import CLASSES, FIELDS, WORDS, classes_of, words_of


def sinusoids(t: Tensor, width: int, *, longest: float = 10_000.0) -> Tensor:
    """Sines and cosines of t at geometrically spaced frequencies: (B,) -> (B, width).

    Vaswani et al. 2017, arXiv:1706.03762, section 3.5.
    """
    rates = torch.exp(-math.log(longest) * torch.arange(width // 2, device=t.device) / (width // 2))
    angles = t.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], 1)


class TimeEmbedding(nn.Module):
    """MLP over sinusoids: (B,) -> (B, width). scale: brings times of 0..1 to the usual 0..1000"""

    def __init__(self, width: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.width, self.scale = width, scale
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        embedded: Tensor = self.mlp(sinusoids(self.scale * t, self.width))
        return embedded


class ClassEmbedding(nn.Module):
    """Embedding of the class, with one more row for none: labels (B, FIELDS) -> (B, width).

    dropped: (B,) bool, samples that are shown no class, for classifier-free guidance
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(CLASSES + 1, width)

    def forward(self, labels: Tensor, dropped: Tensor | None = None) -> Tensor:
        classes = classes_of(labels)
        if dropped is not None:
            classes = torch.where(dropped, CLASSES, classes)
        embedded: Tensor = self.table(classes)
        return embedded


class CaptionEmbedding(nn.Module):
    """Word embeddings with positions: labels (B, FIELDS) -> (B, S, width), S words of the caption.

    It stands for the papers' frozen text encoders (CLIP, T5), at the size of the playroom's words.
    dropped: (B,) bool, samples that are shown an empty caption
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(len(WORDS) + 1, width)
        self.places = nn.Parameter(0.02 * torch.randn(len(FIELDS), width))

    def forward(self, labels: Tensor, dropped: Tensor | None = None) -> Tensor:
        words = words_of(labels)
        if dropped is not None:
            words = torch.where(dropped[:, None], len(WORDS), words)
        embedded: Tensor = self.table(words) + self.places
        return embedded


def zeroed(module: nn.Module) -> nn.Module:
    """The module with weights of zero: its branch begins as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
