"""Group norm with a gradient of its own for bf16 in channels-last order on a CPU.

Wu and He 2018 (arXiv:1803.08494). There torch's gradient takes a quarter of a U-Net's step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class GroupNorm(nn.GroupNorm):
    """`nn.GroupNorm` of images (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        fast = x.device.type == "cpu" and x.dtype == torch.bfloat16 and torch.is_grad_enabled()
        if not fast or x.ndim != 4 or not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        normed: Tensor = _ChannelsLast.apply(x, self.weight, self.bias, self.num_groups, self.eps)  # type: ignore[no-untyped-call]
        return normed


class _ChannelsLast(torch.autograd.Function):
    """y = w (x - mean) / std + b, with mean and std of each group of n numbers.

    With xhat = (x - mean) / std, and d the gradient of y, that of x is (d w - mean(d w) -
    xhat mean(d w xhat)) / std: a sum of d and x, each times a number of its channel, and a third.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        batch, channels, height, width = x.shape
        y, mean, inverse = torch.native_group_norm(x, weight, bias, batch, channels, height * width, groups, eps)
        ctx.save_for_backward(x, mean, inverse, weight)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, mean, inverse, weight = ctx.saved_tensors
        groups = mean.shape[1]
        size = x[0].numel() // groups

        def spread(each: Tensor) -> Tensor:  # (B, groups) -> (B, C)
            return each.float().repeat_interleave(x.shape[1] // groups, 1)

        def averaged(each: Tensor) -> Tensor:  # (B, C) -> its mean over a group's numbers, (B, C)
            return spread(each.unflatten(1, (groups, -1)).sum(2)) / size

        centre, over = spread(mean), spread(inverse)
        to_bias = grad.sum((2, 3)).float()
        to_weight = ((grad * x).sum((2, 3)) - centre * to_bias) * over
        of_x = -averaged(to_weight * weight) * over**2
        rest = -averaged(to_bias * weight) * over - of_x * centre
        of_grad, of_x, rest = (each.to(x.dtype)[..., None, None] for each in (over * weight, of_x, rest))
        to_x = torch.addcmul(torch.addcmul(rest, x, of_x), grad, of_grad)
        return to_x, to_weight.sum(0).to(weight.dtype), to_bias.sum(0).to(weight.dtype), None, None
