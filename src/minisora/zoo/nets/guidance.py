"""Classifier-free guidance of a network that can be shown no class.

Ho and Salimans 2022, arXiv:2207.12598.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from minisora.diffusion.guidance import extrapolated


def guided(model: nn.Module, scale: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The noise in x at t with labels, guided; 1: the network alone, without a second call."""

    def eps_theta(x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        eps: Tensor = model(x, t, labels)
        if scale == 1:
            return eps
        return extrapolated(eps, model(x, t, labels, torch.ones(len(x), dtype=torch.bool)), scale)

    return eps_theta
