"""Straight path between data and noise, and its velocity.

    x_t = (1 - t) x0 + t eps          t = 0 is data, t = 1 is noise
    v   = dx_t/dt = eps - x0

Source: Liu, Gong and Liu 2022, "Flow Straight and Fast", arXiv:2209.03003, Eq. 1.
The paper runs time the other way (its t is our 1 - t), so its velocity is our -v.

In every function t matches the leading axes of x and broadcasts over the rest: (B,) is a time for
each sample, (B, L) or (1, L) a time for each token of a (B, L, D) state.

Here: the path, its slope, and the conversion back to x0.
Not here: which t to draw (times.py), integrating the path (samplers.py), the network (dit/).
"""

from torch import Tensor


def interpolate(x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """State x_t at time t. x0, eps: (B, *), t: (B,) or (B, L) -> (B, *)."""
    t = _leading(t, x0)
    return (1 - t) * x0 + t * eps


def velocity(x0: Tensor, eps: Tensor) -> Tensor:
    """Slope of the path, constant in t. x0, eps: (B, *) -> (B, *)."""
    return eps - x0


def x0_from_velocity(x: Tensor, v: Tensor, t: Tensor) -> Tensor:
    """Data end of the path through x with slope v. x, v: (B, *), t: (B,) or (B, L) -> (B, *)."""
    return x - _leading(t, x) * v


def _leading(t: Tensor, x: Tensor) -> Tensor:
    """Append axes of size 1 to t, so that it broadcasts against x."""
    assert t.ndim <= x.ndim, f"t has more axes than x: {tuple(t.shape)} against {tuple(x.shape)}"
    return t.reshape(t.shape + (1,) * (x.ndim - t.ndim))
