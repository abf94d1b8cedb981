"""RMS norm, and in the same pass the rotation of queries and keys by their positions.

One operator with its gradient written out. Run eagerly, the plain form reads and writes the whole
stream a dozen times and keeps two float32 copies; here a few rows at a time are processed in place.
torch.compile treats it as opaque: its own rotation is slower. When nothing is traced it is a plain
function call.

Sources: Zhang and Sennrich 2019 (RMSNorm, arXiv:1910.07467), Eq. 4; for the rotation rope.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from minisora.dit.kernels import is_traced
from minisora.dit.rope import rotate_

CELLS = 2**19  # numbers at a time, on a CPU


def plain_rms_norm(x: Tensor, gain: Tensor, eps: float, table: Tensor | None = None) -> Tensor:
    """x / rms(x) * gain over the last axis; then, with a table, rotated head by head.

    x:       (L, ..., D)
    gain:    (..., D)
    table:   (L, head_width/2, 2) of `rope_table`
    returns  like x; computed in float32 or wider
    """
    normed = x * torch.rsqrt(x.to(_wide(x)).square().mean(-1, keepdim=True) + eps) * gain
    return (normed if table is None else rotate_(normed, table)).to(x.dtype)


def rms_norm(x: Tensor, gain: Tensor, eps: float, table: Tensor | None = None) -> Tensor:
    """Compute `plain_rms_norm` in one pass."""
    normed: Tensor = (_rms_norm if is_traced() else _normed)(x, gain, eps, table)[0]
    return normed


def _normed(x: Tensor, gain: Tensor, eps: float, table: Tensor | None) -> tuple[Tensor, Tensor]:
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    inverse = x.new_empty((*x.shape[:-1], 1), dtype=_wide(x))  # 1 / rms of each row
    for rows in _blocks(x):
        some = _copy(x[rows])
        square = torch.linalg.vector_norm(some, dim=-1, keepdim=True).square_()
        inverse[rows] = square.div_(x.shape[-1]).add_(eps).rsqrt_()
        some.mul_(inverse[rows]).mul_(gain)
        if table is not None:
            rotate_(some, table[rows])
        out[rows] = some
    return out, inverse


_rms_norm = torch.library.custom_op("minisora::rms_norm", _normed, mutates_args=())


@_rms_norm.register_fake
def _(x: Tensor, gain: Tensor, eps: float, table: Tensor | None) -> tuple[Tensor, Tensor]:
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    return out, x.new_empty((*x.shape[:-1], 1), dtype=_wide(x))


@torch.library.custom_op("minisora::rms_norm_backward", mutates_args=())
def _gradients(grad: Tensor, x: Tensor, gain: Tensor, inverse: Tensor, table: Tensor | None) -> tuple[Tensor, Tensor]:
    to_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    to_gain = torch.zeros_like(gain, dtype=_wide(gain))
    for rows in _blocks(x):
        slope = _copy(grad[rows])
        if table is not None:
            rotate_(slope, table[rows], back=True)
        normed = x[rows] * inverse[rows]
        to_gain += (slope * normed).sum(0)
        slope.mul_(gain)
        along = (slope * normed).mean(-1, keepdim=True)
        to_x[rows] = slope.addcmul_(normed, along, value=-1).mul_(inverse[rows])
    return to_x, to_gain.to(gain.dtype, copy=True)


@_gradients.register_fake
def _(grad: Tensor, x: Tensor, gain: Tensor, inverse: Tensor, table: Tensor | None) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x, memory_format=torch.contiguous_format), torch.empty_like(gain)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, gain, _, table = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(x, gain, output[1], table)


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    return (*_gradients(grad, *ctx.saved_tensors), None, None)


_rms_norm.register_autograd(_backward, setup_context=_keep)


def _blocks(x: Tensor) -> Iterator[slice]:
    rows = max(1, CELLS * len(x) // max(1, x.numel())) if x.device.type == "cpu" else max(1, len(x))
    return (slice(first, first + rows) for first in range(0, len(x), rows))


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _copy(x: Tensor) -> Tensor:
    return x.to(_wide(x), memory_format=torch.contiguous_format, copy=True)
