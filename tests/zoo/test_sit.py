"""SiT's interpolants and samplers against autograd and closed forms of Gaussian data."""

from __future__ import annotations

import pytest
import torch

from minisora.diffusion import euler, heun, schedule
from minisora.zoo import sit
from minisora.zoo.sit import DIFFUSIONS, INTERPOLANTS

MEAN, STD = 0.7, 0.3


def exact_means(x, c):
    """E[x_0 | x_t] and E[eps | x_t] of data N(MEAN, STD^2)."""
    x_0 = MEAN + c.alpha * STD**2 / (c.alpha**2 * STD**2 + c.sigma**2) * (x - c.alpha * MEAN)
    return x_0, (x - c.alpha * x_0) / c.sigma


def exact_velocity(interpolant):
    def v(x, t):
        c = interpolant(t[:, None])
        x_0, eps = exact_means(x, c)
        return c.d_alpha * x_0 + c.d_sigma * eps

    return v


@pytest.mark.parametrize("name", INTERPOLANTS)
def test_interpolants_end_in_data_and_noise_and_their_slopes_are_autograd_s(name):
    interpolant = INTERPOLANTS[name]
    t = torch.linspace(0.01, 1, 50, dtype=torch.float64, requires_grad=True)
    c = interpolant(t)
    for value, slope in ((c.alpha, c.d_alpha), (c.sigma, c.d_sigma)):
        (expected,) = torch.autograd.grad(value.sum(), t, retain_graph=True)
        torch.testing.assert_close(slope, expected)
    start, end = interpolant(torch.tensor(0.0)), interpolant(torch.tensor(1.0))
    assert (float(start.alpha), float(start.sigma)) == (1, 0)
    assert float(end.alpha) == pytest.approx(0, abs=0.01) and float(end.sigma) == pytest.approx(1, abs=1e-4)
    if name != "linear":
        torch.testing.assert_close(c.alpha**2 + c.sigma**2, torch.ones_like(t))


@pytest.mark.parametrize("name", INTERPOLANTS)
def test_the_score_is_the_gradient_of_the_log_density(name):
    t = torch.tensor(0.4, dtype=torch.float64)
    c = INTERPOLANTS[name](t)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    density = torch.distributions.Normal(c.alpha * MEAN, (c.alpha**2 * STD**2 + c.sigma**2).sqrt())
    (expected,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    v = exact_velocity(INTERPOLANTS[name])(x.detach()[:, None], t.expand(9))[:, 0]
    torch.testing.assert_close(sit.score(v, x.detach(), c), expected)


@pytest.mark.parametrize("name", INTERPOLANTS)
def test_the_ode_moves_every_quantile_of_the_noise_to_that_of_the_data(name):
    """For SBDM-VP nearly: it starts at alpha = 0.007, not 0, and is steep near the data."""
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    times = [t**2 for t in schedule(200)]
    found = sit.ode(exact_velocity(INTERPOLANTS[name]), noise, times, sampler=heun)
    torch.testing.assert_close(found, MEAN + STD * noise, atol=5e-3, rtol=0)


def test_euler_on_the_linear_interpolant_is_the_published_step():
    v = exact_velocity(sit.linear)
    expected = x = torch.randn(5, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for n in range(10):
        expected = expected - 0.1 * v(expected, torch.full((5,), 1 - 0.1 * n, dtype=torch.float64))
    torch.testing.assert_close(sit.ode(v, x, schedule(10), sampler=euler), expected)


@pytest.mark.parametrize("w", DIFFUSIONS)
@pytest.mark.parametrize("name", ["linear", "GVP"])
def test_every_sde_gives_the_moments_of_the_data(name, w):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 1, generator=rng)
    interpolant = INTERPOLANTS[name]
    found = sit.sde(exact_velocity(interpolant), x, schedule(200), rng, interpolant=interpolant, w=DIFFUSIONS[w])
    assert float(found.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(found.std()) == pytest.approx(STD, abs=0.01)
    assert float(torch.corrcoef(torch.cat([x, found], 1).T)[0, 1]) < 0.9  # the ODE's would be 1
