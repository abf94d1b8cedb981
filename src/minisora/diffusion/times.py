"""Times to train on, and times that a sampler visits.

    logit-normal   t = sigmoid(mean + std * n), n standard normal: most draws fall in the middle of
                   the path, where the network has most to learn
    shift          t -> s t / (1 + (s - 1) t): more tokens of one picture need more noise to hide it
                   as well, so a larger video moves its times towards 1 with s > 1

Shifts compose by multiplication: shifting by a and then by b is shifting by a b, and 1 / s undoes
s.

Source: Esser et al. 2024 (Stable Diffusion 3), arXiv:2403.03206, section 3.1 (logit-normal),
section 5.3.2 (shift).

Here: numbers between 0 and 1. Not here: their use (path.py, samplers.py).
"""

import math
from random import Random
from typing import TypeVar

from torch import Tensor

from minisora.errors import UsageError

Time = TypeVar("Time", float, Tensor)


def logit_normal(rng: Random, *, mean: float, std: float) -> float:
    """Draw a time to train on.

    rng:       the sample's own generator, the same in any process
    mean, std: of the logit of t; a mean above 0 favours noise
    """
    return 1 / (1 + math.exp(-rng.gauss(mean, std)))


def shift_times(t: Time, shift: float) -> Time:
    """Move times in 0..1 towards noise (shift > 1) or data (shift < 1); 0 and 1 stay. Any shape."""
    if not 0 < shift < math.inf:
        raise UsageError(
            f"a timestep shift of {shift:g} is not a positive number. Use 1 for no shift, 3 for more noise."
        )
    return shift * t / (1 + (shift - 1) * t)


def unshift_times(t: Time, shift: float) -> Time:
    """Inverse of `shift_times` with the same shift."""
    return shift_times(t, 1 / shift if shift else 0.0)


def shift_for_tokens(tokens: int, *, base_tokens: int, base_shift: float = 1.0) -> float:
    """Shift at which `tokens` are as hidden by noise as `base_tokens` are at `base_shift`.

    Esser et al. 2024, Eq. 23: the uncertainty about a picture conditioned on its noised pixels
    falls with the square root of their number.
    """
    assert tokens > 0 and base_tokens > 0, (tokens, base_tokens)
    return base_shift * math.sqrt(tokens / base_tokens)


def schedule(steps: int, *, shift: float = 1.0, start: float = 1.0) -> list[float]:
    """Sampler times: even steps, then the shift.

    steps:   sampler steps
    start:   the first time, after the shift
    returns  steps + 1 times, decreasing, from `start` to 0

    Raises UsageError for fewer than one step or a start outside 0..1.
    """
    if steps < 1:
        raise UsageError(f"{steps} sampler steps make no video. Ask for 1 or more.")
    if not 0 < start <= 1:
        raise UsageError(f"a schedule cannot start at time {start:g}. Use a time above 0 (data) and up to 1 (noise).")
    even_start = unshift_times(start, shift)
    inner = [shift_times(even_start * (1 - step / steps), shift) for step in range(1, steps)]
    return [start, *inner, 0.0]
