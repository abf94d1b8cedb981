"""Classifier-free guidance: push the estimate along the difference that the text makes.

    x0 = x0_without + scale (x0_with - x0_without)

Source: Ho and Salimans 2022, arXiv:2207.12598, Eq. 6 (our scale is their 1 + w). x0 or v makes no difference: at one
state and time x0 = x - c t v is affine in v, and the two weights, scale and 1 - scale, sum to 1. So guiding v and
converting is converting and guiding x0. Rescaling is not affine; here it acts on x0.

Here: functions from denoisers to a denoiser. Not here: what the text is (text/), integration (samplers.py).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from minisora.diffusion.denoiser import Denoiser

JointDenoiser = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # x_t, t  ->  x0 with the text, x0 without


def guided(
    with_text: Denoiser,
    without_text: Denoiser,
    scale: float,
    *,
    interval: tuple[float, float] = (0.0, 1.0),
    rescale: float = 0.0,
) -> Denoiser:
    """Guide one denoiser away from another.

    scale:    1 adds nothing, and never calls without_text
    interval: times between which to guide, ends included; outside, only with_text is called. Kynkäänniemi et al. 2024
              (arXiv:2404.07724): guidance harms at high noise and is idle at low. Their sigma is our t / (1 - t)
    rescale:  0..1, how far to bring the spread of the result back to that of with_text; see `_rescaled`
    """
    return guided_joint(
        lambda x, t: (with_text(x, t), without_text(x, t)),
        scale,
        with_text=with_text,
        interval=interval,
        rescale=rescale,
    )


def guided_joint(
    both: JointDenoiser,
    scale: float,
    *,
    with_text: Denoiser | None = None,
    interval: tuple[float, float] = (0.0, 1.0),
    rescale: float = 0.0,
) -> Denoiser:
    """`guided` for a network that runs both texts in one batch.

    both:      (x, t) -> x0 with the text, x0 without it
    with_text: is called alone where nothing is to be guided; when None, `both` is called there too, and half its
               work is dropped

    Over `from_velocity`, with known latents and levels repeated to the doubled batch:
    both = lambda x, t: denoise(torch.cat([x, x]), torch.cat([t, t])).chunk(2)
    """
    low, high = interval
    alone: Denoiser = with_text if with_text is not None else lambda x, t: both(x, t)[0]
    if scale == 1:
        return alone

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        inside = (t >= low) & (t <= high)
        if not inside.any():
            return alone(x, t)
        pos, neg = both(x, t)
        result = _rescaled(extrapolated(pos, neg, scale), pos, neg, rescale)
        return torch.where(inside.reshape(-1, *[1] * (x.ndim - 1)), result, pos)

    return denoise


def extrapolated(pos: Tensor, neg: Tensor, scale: float | Tensor) -> Tensor:
    """The formula above, of x0 with the text and without it; a scale that is a tensor broadcasts."""
    return neg + scale * (pos - neg)


def _rescaled(guided: Tensor, pos: Tensor, neg: Tensor, amount: float) -> Tensor:
    """Bring the standard deviation of each sample back towards that of the estimate with text.

    Lin et al. 2023 (arXiv:2305.08891), section 3.4, Eq. 15 and 16: a large scale widens the spread of the result,
    which comes out overexposed.
    """
    if amount == 0:
        return guided
    axes = tuple(range(1, guided.ndim))
    factor = pos.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True)
    # Where both estimates agree nothing was widened; known tokens are such, and stay exact.
    return torch.where(pos == neg, guided, guided * (1 + amount * (factor - 1)))
