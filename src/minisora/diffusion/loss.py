"""What training minimises: the squared error of the velocity, over the tokens to be made.

    loss = mean over tokens with `made` of |v_predicted - (eps - x0)|^2 / channels

A token that was given (noise level 0, or slightly noised) carries no loss: the network has nothing to make there.

Source: Lipman et al. 2022, "Flow Matching for Generative Modeling", arXiv:2210.02747, Eq. 9 (conditional flow
matching), on the straight path of path.py.

Here: the loss and its breakdown for the log. Not here: which t to draw (times.py), what is given (generate/canvas.py).
"""

import torch
from torch import Tensor

from minisora.diffusion.path import velocity


def velocity_error(predicted_v: Tensor, x0: Tensor, eps: Tensor) -> Tensor:
    """Squared error of the velocity, mean over channels. All (..., C) -> (...) float32."""
    # float32: the square of a bfloat16 difference keeps two or three digits
    return (predicted_v.float() - velocity(x0.float(), eps.float())).square().mean(dim=-1)


def flow_matching_loss(predicted_v: Tensor, x0: Tensor, eps: Tensor, made: Tensor) -> Tensor:
    """The training loss.

    predicted_v, x0, eps: (..., C), such as (B, L, C) or a packed stream (L, C)
    made:    (...) bool, True for tokens to be made; or float, their weights
    returns  () float32; 0 where nothing is to be made
    """
    error = velocity_error(predicted_v, x0, eps)
    assert made.shape == error.shape, f"made is {tuple(made.shape)}, the tokens are {tuple(error.shape)}"
    weight = made.float()
    return (error * weight).sum() / weight.sum().clamp_min(torch.finfo(torch.float32).tiny)


def loss_by_bin(per_token_loss: Tensor, t: Tensor, bins: int = 10) -> Tensor:
    """Mean loss at each noise level, for the log: a loss that falls at one level can hide one that rises at another.

    per_token_loss: (...) from `velocity_error`, of the tokens to be made: select them before the call
    t:       the same shape, each token's own time
    bins:    intervals of equal width that cover 0..1; t = 1 belongs to the last
    returns  (bins,) float32, NaN where no token fell
    """
    index = (t.detach().float().flatten() * bins).long().clamp(0, bins - 1)
    loss = per_token_loss.detach().float().flatten()
    total = loss.new_zeros(bins).index_add(0, index, loss)
    count = loss.new_zeros(bins).index_add(0, index, torch.ones_like(loss))
    return total / count  # 0 / 0 is NaN
