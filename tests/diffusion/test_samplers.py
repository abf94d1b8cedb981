"""Samplers against answers known on paper, by a fine integration, and by another library."""

import math
from itertools import pairwise

import pytest
import torch

from minisora.diffusion import (
    SAMPLERS,
    consistency,
    dpmpp_2m,
    euler,
    finish,
    from_velocity,
    heun,
    noised,
    sampler_named,
    start,
    unipc,
)
from minisora.errors import UsageError


def even(steps):
    return torch.linspace(1, 0, steps + 1, dtype=torch.float64).tolist()


def crowded(steps):
    """Steps that shrink towards 0, where even ones grow without bound in log t."""
    return [t * t for t in even(steps)]


# 2M on even times converges as log(n) / n^2 (see its docstring), so its order is read on the
# crowded ones.
ORDERS = [(euler, 1, even), (heun, 2, even), (unipc, 2, even), (dpmpp_2m, 2, crowded), (unipc, 3, crowded)]


@pytest.mark.parametrize(("sampler", "order", "times"), ORDERS)
def test_error_falls_at_the_order_of_the_sampler(sampler, order, times):
    """Gaussian data: the best denoiser and the end of the ODE are both known on paper."""
    mean, std = 0.7, 0.3
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)
    exact = mean + std * noise  # the flow moves every quantile of the noise to that of the data

    def denoise(x, t):  # E[x0 | x_t]
        gain = (1 - t) * std**2 / ((1 - t) ** 2 * std**2 + t**2)
        return mean + gain * (x - (1 - t) * mean)

    def error(steps):
        return (sampler(denoise, noise, times(steps)) - exact).abs().max().item()

    assert math.log2(error(64) / error(128)) == pytest.approx(order, abs=0.15)


class TwoTokens:
    """Two correlated Gaussian tokens of one channel, each with its own level."""

    mean = torch.tensor([0.7, -0.4], dtype=torch.float64)
    cov = torch.tensor([[0.25, 0.18], [0.18, 0.36]], dtype=torch.float64)

    def __init__(self, *levels):
        self.levels = torch.tensor(levels, dtype=torch.float64)

    def posterior(self, x, times):
        """E[x0 | x] and E[eps | x] for x: (B, 2) with x = (1 - times) x0 + times eps."""
        keep, noise = torch.diag(1 - times), torch.diag(times)
        spread = keep @ self.cov @ keep + noise @ noise
        whitened = torch.linalg.solve(spread, (x - (1 - times) * self.mean).T).T
        return self.mean + whitened @ keep @ self.cov, whitened @ noise

    def velocity(self, x, times):
        """What a perfect network says: (B, 2, 1), (B, 2) -> (B, 2, 1)."""
        x0, eps = self.posterior(x[..., 0], times[0])
        return (eps - x0)[..., None]

    def exact(self, x, steps=2000):
        """Runge-Kutta 4 on dx/dt = c E[eps - x0 | x], which has no 1/t in it.

        (B, 2, 1) -> (B, 2, 1).
        """

        def slope(x, t):
            x0, eps = self.posterior(x, self.levels * t)
            return self.levels * (eps - x0)

        x = x[..., 0]
        for t, s in pairwise(even(steps)):
            h = s - t
            k1 = slope(x, t)
            k2 = slope(x + h / 2 * k1, t + h / 2)
            k3 = slope(x + h / 2 * k2, t + h / 2)
            k4 = slope(x + h * k3, s)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return x[..., None]


STATES = torch.tensor([[-1.5, 0.5], [0.2, 1.3], [1.0, -0.8], [0.0, 0.0]], dtype=torch.float64)[..., None]


def test_the_level_rule_carries_the_start_to_the_data():
    """The flow of two Gaussian tokens is affine: it maps covariance exactly to the data's."""
    tokens = TwoTokens(1.0, 0.4)
    ends = tokens.exact(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)[..., None])[..., 0]
    flow = (ends[1:] - ends[0]).T
    keep, noise = torch.diag(1 - tokens.levels), torch.diag(tokens.levels)
    first = keep @ tokens.cov @ keep + noise @ noise
    torch.testing.assert_close(flow @ first @ flow.T, tokens.cov, rtol=0, atol=1e-10)
    torch.testing.assert_close(ends[0] + flow @ keep @ tokens.mean, tokens.mean, rtol=0, atol=1e-10)


@pytest.mark.parametrize("levels", [(1.0, 0.4), (0.8, 1.0)])
@pytest.mark.parametrize(("sampler", "order", "times"), ORDERS)
def test_order_holds_on_tokens_of_different_levels(sampler, order, times, levels):
    tokens = TwoTokens(*levels)
    exact = tokens.exact(STATES)
    denoise = from_velocity(tokens.velocity, tokens.levels, known=torch.full_like(STATES, math.nan))

    def error(steps):
        return (sampler(denoise, STATES, times(steps)) - exact).abs().max().item()

    assert math.log2(error(128) / error(256)) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("sampler", SAMPLERS.values())
def test_a_given_token_stays_and_the_other_goes_to_its_conditional(sampler):
    """With one token known, the flow of the other ends at the conditional mean + std * eps."""
    tokens = TwoTokens(0.0, 1.0)
    known = torch.tensor([[0.9, 5.0]], dtype=torch.float64).expand(4, 2)[..., None]
    eps = STATES
    x = start(known, tokens.levels, eps)
    seen = []

    def velocity(x, times):
        seen.append((x[:, 0], times[:, 0]))
        return tokens.velocity(x, times) + torch.tensor([[100.0], [0.0]])  # nonsense about the given token

    denoise = from_velocity(velocity, tokens.levels, known)
    x = sampler(denoise, x, even(512))
    torch.testing.assert_close(x[:, 0], known[:, 0], rtol=1e-12, atol=0)
    assert torch.equal(finish(x, known, tokens.levels)[:, 0], known[:, 0])
    assert torch.equal(finish(x, known, tokens.levels)[:, 1], x[:, 1])
    assert all(torch.equal(state, known[:, 0]) and not time.any() for state, time in seen)

    (m0, m1), ((s00, s01), (_, s11)) = tokens.mean, tokens.cov
    conditional = m1 + s01 / s00 * (known[:, 0] - m0) + (s11 - s01**2 / s00).sqrt() * eps[:, 1]
    torch.testing.assert_close(x[:, 1], conditional, rtol=0, atol=5e-3 if sampler is euler else 2e-4)


@pytest.mark.parametrize(
    ("sampler", "calls"), [(euler, [1, 10]), (heun, [1, 19]), (dpmpp_2m, [1, 10]), (unipc, [1, 10])]
)
def test_network_calls_and_one_step(sampler, calls):
    """One step from noise is the denoiser's output; ten steps make the calls of the docstring."""
    counted = []

    def denoise(x, t):
        counted.append(t)
        assert t.shape == (3,) and t.dtype == x.dtype and (t > 0).all()
        return 0.25 * x

    x = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sampler(denoise, x, [1.0, 0.0]), 0.25 * x)
    assert len(counted) == calls[0]
    sampler(denoise, x, even(10))
    assert len(counted) - calls[0] == calls[1]


@pytest.mark.parametrize(
    ("sampler", "theirs"), [(dpmpp_2m, "DPMSolverMultistepScheduler"), (unipc, "UniPCMultistepScheduler")]
)
def test_multistep_samplers_equal_diffusers_where_the_signal_coefficient_is_one(sampler, theirs):
    diffusers = pytest.importorskip("diffusers")

    class VarianceExploding(getattr(diffusers, theirs)):
        def _sigma_to_alpha_sigma_t(self, sigma):
            return torch.ones_like(sigma), sigma

    def denoise(x, t):  # neither linear nor of one channel
        return torch.tanh(x * (1 - t[:, None])) * 0.8 + 0.1 * torch.sin(3 * x.flip(1))

    times = crowded(12)
    scheduler = VarianceExploding(prediction_type="sample", solver_order=2)
    scheduler.set_timesteps(12)
    scheduler.set_begin_index(0)
    scheduler.sigmas = torch.tensor(times, dtype=torch.float64)
    x = first = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for timestep, t in zip(scheduler.timesteps, times, strict=False):
        x = scheduler.step(denoise(x, torch.full((3,), t, dtype=torch.float64)), timestep, x).prev_sample
    torch.testing.assert_close(sampler(denoise, first, times), x, rtol=0, atol=1e-6)  # theirs: float32 inside


def test_a_name_from_outside():
    assert sampler_named("heun") is heun
    with pytest.raises(UsageError, match="euler, heun, dpmpp_2m, unipc"):
        sampler_named("ddim")


@pytest.mark.parametrize("steps", [1, 2, 4, 16])
def test_consistency_samples_are_of_the_data_in_any_number_of_steps(steps):
    """Gaussian data: the flow maps quantiles, so the exact consistency function is known."""
    mean, std, levels = 0.7, 0.3, torch.tensor([1.0, 0.6])
    draw = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(100_000, 2, 1, generator=draw, dtype=torch.float64) for _ in range(2))
    x0 = mean + std * x0

    def end(x, t):
        t = (levels * t[:, None])[..., None]
        return mean + std * (x - (1 - t) * mean) / ((1 - t) ** 2 * std**2 + t**2).sqrt()

    sampler = consistency(lambda x0, t: noised(x0, levels, torch.randn(x0.shape, generator=draw, dtype=x0.dtype), t))
    made = sampler(end, start(x0, levels, eps), even(steps))
    assert (made.mean(0) - mean).abs().max() < 4 * std / 100_000**0.5
    assert (made.std(0) - std).abs().max() < 4 * std / 200_000**0.5
    if steps > 1:  # of the noise it began with little is left
        assert not torch.allclose(made[:, 0], mean + std * eps[:, 0], atol=0.1)


def test_consistency_noises_each_token_to_its_own_time_and_keeps_what_is_given():
    levels, known = torch.tensor([0.0, 0.5, 1.0]), torch.tensor([[[7.0], [1.0], [1.0]]], dtype=torch.float64)
    seen, drawn = [], iter([2.0, 3.0])

    def velocity(x, times):
        seen.append((x[0, :, 0].tolist(), times[0].tolist()))
        return torch.full_like(x, -1.0)

    sampler = consistency(lambda x0, t: noised(x0, levels, torch.full_like(x0, next(drawn)), t))
    made = sampler(
        from_velocity(velocity, levels, known), start(known, levels, torch.zeros_like(known)), [1.0, 0.5, 0.25, 0.0]
    )
    states, times = zip(*seen, strict=True)
    assert times == ([0.0, 0.5, 1.0], [0.0, 0.25, 0.5], [0.0, 0.125, 0.25])
    # x0 = x + (own time), then (1 - own time) x0 + (own time) noise
    assert states[0] == pytest.approx([7.0, 0.5, 0.0])
    assert states[1] == pytest.approx([7.0, 0.75 * 1.0 + 0.25 * 2.0, 0.5 * 1.0 + 0.5 * 2.0])
    assert states[2] == pytest.approx([7.0, 0.875 * 1.5 + 0.125 * 3.0, 0.75 * 2.0 + 0.25 * 3.0])
    assert made[0, :, 0].tolist() == pytest.approx([7.0, 1.6875 + 0.125, 2.25 + 0.25]) and float(made[0, 0, 0]) == 7.0
