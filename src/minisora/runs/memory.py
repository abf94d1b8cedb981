"""Memory of a training step, counted by running it on tensors without data.

The forward and backward pass run under torch's FakeTensorMode: operators compute only shapes, so a
step of any size is counted in seconds on any machine, and the count follows the code as it is.

Here: counting a step's tensors. Not here: weights, optimiser and EMA (estimate.py), one device's
share (layouts.py). Kernel workspaces and the allocator's overhead are not counted.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from minisora.train.parallel import KEPT

ops = torch.ops.aten
_BY_INDEX = {ops.index.Tensor, ops.index_put.default, ops._index_put_impl_.default}


@dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Bytes of one forward and backward pass, without weights and batch.

    kept:     activations that the forward pass keeps for the backward pass, without `casts`
    casts:    the weights once more, in bf16
    matmuls:  the part of `kept` that activation checkpointing keeps: results of matmuls and fused
        attention
    peak:     the maximum during both passes, gradients of the weights included
    """

    kept: int
    casts: int
    matmuls: int
    peak: int


class Tracker(TorchDispatchMode):
    """Counts the bytes of every storage that is allocated while it is active, until it is freed."""

    def __init__(self, weights: Iterable[Tensor], others: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it so
        self.live = self.peak = self.casts = self.matmuls = 0
        self._weights = {id(weight.untyped_storage()) for weight in weights}
        self._seen = self._weights | {id(tensor.untyped_storage()) for tensor in others}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _BY_INDEX:
            args = (args[0], [each for index in args[1] for each in _all_of(index)], *args[2:])
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                made = self._count(tensor.untyped_storage())
                self.matmuls += made if func.name() in KEPT else 0
                if func is ops._to_copy.default and id(args[0].untyped_storage()) in self._weights:
                    self.casts += made
        return out

    def _count(self, storage: torch.UntypedStorage) -> int:
        if id(storage) in self._seen:
            return 0
        size = storage.nbytes()
        self._seen.add(id(storage))
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._freed, id(storage), size).atexit = False
        return size

    def _freed(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size


def _all_of(index: Tensor | None) -> list[Tensor | None]:
    """Replace a boolean index, whose count is unknown without data, by one that selects everything.

    returns  an index for each axis of the mask
    """
    if index is None or index.dtype != torch.bool:
        return [index]
    place, along = torch.arange(index.numel()), list[Tensor | None]()
    for size in reversed(index.shape):
        along.insert(0, place % size)
        place = place // size
    return along


def trace(model: nn.Module, loss: Callable[..., dict[str, Tensor]], batch: Any, *, bf16: bool) -> StepMemory:
    """Count the memory of one step of `loss(model, batch, noise)`, without computing values.

    model: on any device; only the shapes of its weights are used, so `meta` is enough
    """
    with FakeTensorMode() as fake:
        batch = _faked(batch, fake)
        weights = {name: _empty(weight) for name, weight in (*model.named_parameters(), *model.named_buffers())}
        trained = [weight for weight in weights.values() if weight.requires_grad]
        named = {f"model.{name}": weight for name, weight in weights.items()}
        with Tracker(weights.values(), _tensors(batch)) as tracker:
            measured: StepMemory = functional_call(_Step(model, loss), named, (batch, tracker, trained, bf16))
    return measured


class _Step(nn.Module):
    """Forward and backward in one module, so that checkpointing sees the same weights in both."""

    def __init__(self, model: nn.Module, loss: Callable[..., dict[str, Tensor]]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Any, tracker: Tracker, trained: Sequence[Tensor], bf16: bool) -> StepMemory:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            total = self.loss(self.model, batch, None)["loss"]
        kept, casts, matmuls = tracker.live - tracker.casts, tracker.casts, tracker.matmuls
        gradients = torch.autograd.grad(total, trained, allow_unused=True)
        del gradients
        return StepMemory(kept=kept, casts=casts, matmuls=matmuls, peak=tracker.peak)


def _empty(like: Tensor) -> Tensor:
    return torch.empty_strided(
        like.size(), like.stride(), dtype=like.dtype, device="cpu", requires_grad=like.requires_grad
    )


def _tensors(batch: Any) -> list[Tensor]:
    if isinstance(batch, Tensor):
        return [batch]
    return [tensor for f in fields(batch) for tensor in _tensors(getattr(batch, f.name))] if is_dataclass(batch) else []


def _faked(batch: Any, fake: FakeTensorMode) -> Any:
    if isinstance(batch, Tensor):
        return fake.from_tensor(batch)
    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(batch, **{f.name: _faked(getattr(batch, f.name), fake) for f in fields(batch)})
    return batch
