"""Low-rank adapters (LoRA): small trained matrices added to frozen weights, merged after training.

Source: Hu et al. 2021, "LoRA" (arXiv:2106.09685), section 4.1: y = W x + (alpha / r) B A x, B
starting at zero.

Here: adding, disabling, merging. Not here: the recipes that train them (recipes/).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.dit.model import DiT
from minisora.errors import UsageError

Model = TypeVar("Model", bound=nn.Module)


class LoRALinear(nn.Linear):
    """A frozen linear layer, parameter names unchanged, plus `down` (r, in) and `up` (out, r)."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__(base.in_features, base.out_features, base.bias is not None, device="meta")
        self.weight, self.bias = base.weight, base.bias
        self.scale = alpha / rank
        self.adapted = True  # False: the frozen layer alone
        self.down = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.up = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, input: Tensor) -> Tensor:
        frozen = F.linear(input, self.weight, self.bias)
        return frozen + F.linear(F.linear(input, self.down), self.up) * self.scale if self.adapted else frozen

    def merged(self) -> nn.Linear:
        """Plain linear layer with the adapter merged."""
        plain = nn.Linear(self.in_features, self.out_features, self.bias is not None, device="meta")
        weight = self.weight.double() + self.scale * self.up.double() @ self.down.double()
        plain.weight, plain.bias = nn.Parameter(weight.to(self.weight.dtype), requires_grad=False), self.bias
        return plain


def add_lora(model: Model, rank: int, *, alpha: float | None = None) -> Model:
    """Freeze `model` and add an adapter to every linear layer of its `fsdp_units()`; in place.

    alpha: the adapters' weight times their rank; default: the rank
    """
    if rank < 1:
        raise UsageError(f"an adapter of rank {rank} holds nothing. Use 4 to 64.")
    model.requires_grad_(False)
    for part in model.fsdp_units():  # type: ignore[operator]  # every trainable model has it
        for name, layer in part.named_children():
            if isinstance(layer, nn.Linear):
                setattr(part, name, LoRALinear(layer, rank, float(rank) if alpha is None else alpha))
    return model


@torch.no_grad()
def merge_lora(model: Model) -> Model:
    """Merge every adapter into its layer, in place. Outputs stay the same within rounding."""
    for part in model.fsdp_units():  # type: ignore[operator]
        for name, layer in part.named_children():
            if isinstance(layer, LoRALinear):
                setattr(part, name, layer.merged())
    return model


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """Context manager: adapters disabled, outputs those of the frozen weights bit for bit."""
    layers = [layer for layer in model.modules() if isinstance(layer, LoRALinear)]
    for layer in layers:
        layer.adapted = False
    try:
        yield
    finally:
        for layer in layers:
            layer.adapted = True


def adapters_of(model: nn.Module) -> dict[str, Tensor]:
    """State dict of the adapters alone."""
    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, LoRALinear)]
    pairs = {f"{name}.{part}": getattr(layer, part) for name, layer in layers for part in ("down", "up")}
    return {name: value.detach() for name, value in pairs.items()}


def adapted(dit: DiT, rank: int, adapters: Mapping[str, Tensor]) -> DiT:
    """Plain transformer equal to `dit` with these adapters merged; alpha is the rank.

    Shares all weights of `dit` that the adapters do not change. Raises RuntimeError for adapters
    that do not fit.
    """
    with torch.device("meta"):
        other = DiT(dit.config)
    other.load_state_dict(dit.state_dict(), assign=True)
    add_lora(other, rank)
    expected = set(adapters_of(other))
    if expected != set(adapters):
        raise RuntimeError(f"adapters of other layers: {', '.join(sorted(expected ^ set(adapters))[:4])}")
    other.load_state_dict(adapters, strict=False)
    other.across = dit.across
    return merge_lora(other).train(dit.training)
