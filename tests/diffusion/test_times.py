"""Times: distribution, shift, schedule."""

import math
from itertools import pairwise
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minisora.diffusion import logit_normal, schedule, shift_for_tokens, shift_times, unshift_times
from minisora.errors import UsageError

unit = st.floats(0, 1)
shifts = st.floats(0.05, 20)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-0.8, 0.5)])
def test_logit_normal_follows_its_distribution(mean, std):
    """Kolmogorov-Smirnov distance to the normal CDF of the logit.

    1.95 / sqrt(n) is exceeded once in a thousand.
    """
    rng = Random(1)
    t = torch.tensor([logit_normal(rng, mean=mean, std=std) for _ in range(20_000)], dtype=torch.float64)
    cdf = torch.special.ndtr((torch.logit(t.sort().values) - mean) / std)
    ranks = torch.arange(1, len(t) + 1, dtype=torch.float64) / len(t)
    assert (cdf - ranks).abs().max() < 1.95 / math.sqrt(len(t))


@pytest.mark.parametrize("mean", [-10.0, 0.0, 10.0])
def test_logit_normal_never_reaches_the_ends_and_is_a_function_of_the_generator(mean):
    first, again = ([logit_normal(rng, mean=mean, std=2.0) for _ in range(1000)] for rng in (Random(7), Random(7)))
    assert first == again and min(first) > 0 and max(first) < 1


@settings(deadline=None)  # a busy machine is no failure
@given(t=unit, first=shifts, second=shifts)
def test_shifts_compose_and_undo(t, first, second):
    assert shift_times(shift_times(t, first), second) == pytest.approx(shift_times(t, first * second), abs=1e-12)
    assert unshift_times(shift_times(t, first), first) == pytest.approx(t, abs=1e-12)


@settings(deadline=None)  # a busy machine is no failure
@given(t=st.floats(0.01, 0.99), shift=shifts)
def test_shift_adds_to_the_log_of_the_noise_to_signal_ratio(t, shift):
    def ratio(t):
        return t / (1 - t)

    assert ratio(shift_times(t, shift)) == pytest.approx(shift * ratio(t), rel=1e-9)
    assert shift_times(torch.tensor([t], dtype=torch.float64), shift).item() == pytest.approx(shift_times(t, shift))


def test_four_times_the_tokens_double_the_shift():
    assert shift_for_tokens(320, base_tokens=80) == pytest.approx(2)
    assert shift_for_tokens(80, base_tokens=80, base_shift=3.0) == pytest.approx(3)


@settings(deadline=None)  # a busy machine is no failure
@given(steps=st.integers(1, 200), shift=shifts, start=st.floats(0.01, 1))
def test_schedule_falls_from_start_to_zero(steps, shift, start):
    times = schedule(steps, shift=shift, start=start)
    assert len(times) == steps + 1 and times[0] == start and times[-1] == 0
    assert all(t > s for t, s in pairwise(times))
    gaps = [unshift_times(t, shift) - unshift_times(s, shift) for t, s in pairwise(times)]
    assert gaps == pytest.approx([gaps[0]] * steps)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: schedule(0), "1 or more"),
        (lambda: schedule(4, start=0.0), "above 0"),
        (lambda: schedule(4, shift=0.0), "not a positive"),
        (lambda: shift_times(0.5, -1.0), "not a positive"),
        (lambda: shift_times(0.5, math.inf), "not a positive"),
    ],
)
def test_what_cannot_be_is_refused(ask, says):
    with pytest.raises(UsageError, match=says):
        ask()
