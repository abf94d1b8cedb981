"""The straight path between data and noise, and what a network may predict on it.

    x_t = (1 - t) x0 + t eps          t = 0 is data, t = 1 is noise
    v   = dx_t/dt = eps - x0

Source: Liu, Gong and Liu 2022, "Flow Straight and Fast", arXiv:2209.03003, Eq. 1.
The paper runs time the other way (its t is our 1 - t), so its velocity is our -v.

In every function t lines up with the leading axes of x, and stands for all that follow: (B,) gives each sample
its own time, (B, L) or (1, L) each token of a (B, L, D) state.

Here: the path, its slope, and the way back to x0.
Not here: which t to draw (times.py), integrating the path (samplers.py), the network (dit/).
"""

from torch import Tensor


def interpolate(x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """The state x_t at time t. x0, eps: (B, *), t: (B,) or (B, L) -> (B, *)."""
    t = _leading(t, x0)
    return (1 - t) * x0 + t * eps


def velocity(x0: Tensor, eps: Tensor) -> Tensor:
    """The slope of the path, the same at every t. x0, eps: (B, *) -> (B, *)."""
    return eps - x0


def x0_from_velocity(x: Tensor, v: Tensor, t: Tensor) -> Tensor:
    """The data end of the path through x with slope v. x, v: (B, *), t: (B,) or (B, L) -> (B, *)."""
    return x - _leading(t, x) * v


def _leading(t: Tensor, x: Tensor) -> Tensor:
    """t with axes of size 1 behind its own, as many as x has more."""
    assert t.ndim <= x.ndim, f"t has more axes than x: {tuple(t.shape)} against {tuple(x.shape)}"
    return t.reshape(t.shape + (1,) * (x.ndim - t.ndim))
