"""Classifier-free guidance: extrapolate from the estimate without the text past the one with it.

    x0 = x0_without + scale (x0_with - x0_without)

Source: Ho and Salimans 2022, arXiv:2207.12598, Eq. 6 (our scale is their 1 + w). Guiding x0 equals
guiding v: at one state and time x0 = x - c t v is affine in v, and the two weights, scale and
1 - scale, sum to 1. Rescaling is not affine; here it acts on x0.

Here: the formula, its interval of times, a denoiser that applies both. Not here: text (text/),
integration (samplers.py).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from minisora.diffusion.denoiser import Denoiser

JointDenoiser = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # x_t, t  ->  x0 with the text, x0 without


def guided_joint(
    both: JointDenoiser,
    scale: float,
    *,
    with_text: Denoiser,
    interval: tuple[float, float] = (0.0, 1.0),
    rescale: float = 0.0,
) -> Denoiser:
    """Guide a network along its text, with and without it in one batch.

    both:      (x, t) -> x0 with the text, x0 without it
    scale:     1 adds nothing, and never calls `both`
    with_text: called alone where nothing is guided
    interval:  times between which to guide, see `in_interval`; outside, only with_text is called
    rescale:   0..1, how far to bring the spread of the result back to that of with_text;
               `_rescaled`

    Over `from_velocity`, with known latents and levels repeated to the doubled batch:
    both = lambda x, t: denoise(torch.cat([x, x]), torch.cat([t, t])).chunk(2)
    """
    if scale == 1:
        return with_text

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        inside = in_interval(t, interval)
        if not inside.any():
            return with_text(x, t)
        pos, neg = both(x, t)
        result = _rescaled(extrapolated(pos, neg, scale), pos, neg, rescale)
        return torch.where(inside.reshape(-1, *[1] * (x.ndim - 1)), result, pos)

    return denoise


def in_interval(t: Tensor, interval: tuple[float, float]) -> Tensor:
    """True for the times in the guidance interval, ends included; bool, like t.

    Kynkäänniemi et al. 2024 (arXiv:2404.07724): guidance harms at high noise and does nothing at
    low noise. Their sigma is our t / (1 - t).
    """
    low, high = interval
    return (t >= low) & (t <= high)


def extrapolated(pos: Tensor, neg: Tensor, scale: float | Tensor) -> Tensor:
    """Equation 6: pos is x0 with the text, neg without it; a scale that is a tensor broadcasts."""
    return neg + scale * (pos - neg)


def _rescaled(guided: Tensor, pos: Tensor, neg: Tensor, amount: float) -> Tensor:
    """Bring the standard deviation of each sample back towards that of the estimate with text.

    Lin et al. 2023 (arXiv:2305.08891), section 3.4, Eq. 15 and 16: a large scale widens the spread
    of the result, which then looks overexposed.
    """
    if amount == 0:
        return guided
    axes = tuple(range(1, guided.ndim))
    factor = pos.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True)
    # Equal estimates were not widened: known tokens are equal in both, and stay exact.
    return torch.where(pos == neg, guided, guided * (1 + amount * (factor - 1)))
