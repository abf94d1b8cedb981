"""Training loss: the squared error of the velocity, over the tokens to be generated.

    loss = mean over the tokens of `loss_mask` of |v_predicted - (eps - x0)|^2 / channels

A conditioning token (clean, or slightly noised) carries no loss: the network generates nothing
there.

Source: Lipman et al. 2022, "Flow Matching for Generative Modeling", arXiv:2210.02747, Eq. 9
(conditional flow matching), on the straight path of path.py.

Here: the loss and its breakdown for the log. Not here: which t to draw (times.py), which tokens are
conditioning (data/windows.py).
"""

import torch
from torch import Tensor

from minisora.diffusion.path import velocity

BINS = 4  # intervals of t in the log of a training run


def flow_matching_loss(predicted_v: Tensor, x0: Tensor, eps: Tensor, t: Tensor, loss_mask: Tensor) -> dict[str, Tensor]:
    """The training loss: `loss` and its breakdown `t0`, `t1` ..., as in `mean_loss`.

    predicted_v, x0, eps: (..., C), such as (B, L, C) or a packed stream (L, C)
    t:         (...) each token's own time
    loss_mask: (...) bool, True for tokens to be generated: at least one, or the mean is NaN
    """
    return mean_loss(velocity_error(predicted_v, x0, eps)[loss_mask], t[loss_mask])


def velocity_error(predicted_v: Tensor, x0: Tensor, eps: Tensor) -> Tensor:
    """Squared error of the velocity, mean over channels. All (..., C) -> (...) float32."""
    # float32: the square of a bfloat16 difference keeps two or three digits
    return (predicted_v.float() - velocity(x0.float(), eps.float())).square().mean(dim=-1)


def mean_loss(per_token_loss: Tensor, t: Tensor) -> dict[str, Tensor]:
    """Mean over tokens, `loss`; for the log, means over each of BINS intervals of t, `t0`, ...

    per_token_loss, t: (n,), of the tokens to be generated
    """
    bins = loss_by_bin(per_token_loss, t, bins=BINS)
    return {"loss": per_token_loss.mean(), **{f"t{n}": value for n, value in enumerate(bins)}}


def loss_by_bin(per_token_loss: Tensor, t: Tensor, bins: int) -> Tensor:
    """Mean loss by time, for the log: a loss falling at one t can hide one rising at another.

    per_token_loss: (...) of the tokens to be generated: select them before the call
    t:       the same shape, each token's own time
    bins:    intervals of equal width that cover 0..1; t = 1 belongs to the last
    returns  (bins,) float32, NaN for an interval without tokens
    """
    index = (t.detach().float().flatten() * bins).long().clamp(0, bins - 1)
    loss = per_token_loss.detach().float().flatten()
    total = loss.new_zeros(bins).index_add(0, index, loss)
    count = loss.new_zeros(bins).index_add(0, index, torch.ones_like(loss))
    return total / count  # 0 / 0 is NaN
