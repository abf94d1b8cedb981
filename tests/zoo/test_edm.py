"""EDM's formulas against diffusers, closed forms of Gaussian data, and the house's own Heun."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import EDMEulerScheduler

from minisora.diffusion import samplers
from minisora.zoo import ddpm, edm
from minisora.zoo.frame.sets import FIELDS

MEAN, STD = 0.3, 0.5


def best(x, sigma):
    """E[y | x] for normal data."""
    sigma = sigma.reshape(-1, *[1] * (x.ndim - 1))
    return (STD**2 * x + sigma**2 * MEAN) / (STD**2 + sigma**2)


def diffusers():
    return EDMEulerScheduler(sigma_min=edm.SIGMA_MIN, sigma_max=edm.SIGMA_MAX, sigma_data=edm.SIGMA_DATA, rho=edm.RHO)


def test_noise_levels_are_those_of_diffusers():
    theirs = diffusers()
    theirs.set_timesteps(10)
    torch.testing.assert_close(torch.tensor(edm.sigmas(10)), theirs.sigmas, rtol=1e-5, atol=0)


def test_preconditioning_is_that_of_diffusers():
    theirs = diffusers()
    x, F = torch.randn(2, 1, 4, generator=torch.Generator().manual_seed(0))
    for sigma in torch.tensor([0.01, 0.4, 7.0]):
        c_skip, c_out, c_in, c_noise = edm.preconditioning(sigma)
        torch.testing.assert_close(c_skip * x + c_out * F, theirs.precondition_outputs(x, F, sigma))
        torch.testing.assert_close(c_in * x, theirs.precondition_inputs(x, sigma))
        torch.testing.assert_close(c_noise, theirs.precondition_noise(sigma))


def test_inputs_and_targets_of_the_network_have_unit_variance_and_its_weight_is_one():
    """Appendix B.6, by variances of y and n; the target of F_theta is (y - c_skip x) / c_out."""
    sigma = torch.logspace(-2, 2, 9, dtype=torch.float64)
    c_skip, c_out, c_in, _ = edm.preconditioning(sigma)
    one = torch.ones_like(sigma)
    torch.testing.assert_close(c_in**2 * (edm.SIGMA_DATA**2 + sigma**2), one)
    torch.testing.assert_close(((1 - c_skip) ** 2 * edm.SIGMA_DATA**2 + c_skip**2 * sigma**2) / c_out**2, one)


def test_without_churn_it_is_the_house_s_heun():
    x = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    levels = edm.sigmas(10)
    theirs = samplers.heun(lambda x, t: torch.tanh(x + t[:, None]), levels[0] * x, levels)
    ours = edm.sampled(lambda x, t: torch.tanh(x + t[:, None]), x, levels, noise=torch.Generator())
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)  # the noise levels reach the network in float32


def test_error_on_normal_data_falls_at_second_order():
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    exact = MEAN + (edm.SIGMA_MAX * x - MEAN) * STD / math.sqrt(STD**2 + edm.SIGMA_MAX**2)

    def error(steps):
        ours = edm.sampled(lambda x, t: best(x, t.double()), x, edm.sigmas(steps), noise=torch.Generator())
        return float((ours - exact).abs().max())

    assert math.log2(error(40) / error(80)) == pytest.approx(2, abs=0.3)


def test_churn_keeps_the_distribution():
    rng = torch.Generator().manual_seed(0)
    x = edm.sampled(best, torch.randn(20_000, 1, generator=rng), edm.sigmas(60), churn=20.0, noise=rng)
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(x.std()) == pytest.approx(STD, rel=0.04)


def test_the_denoiser_in_ddpm_s_network_is_the_best_one_if_its_noise_is():
    labels = torch.zeros(2, len(FIELDS), dtype=torch.long)

    def eps_theta(x, t, labels):
        """E[eps | x_t] for normal data."""
        a = ddpm.ALPHA_BAR[t].reshape(-1, 1, 1, 1)
        return (1 - a).sqrt() * (x - a.sqrt() * MEAN) / (a * STD**2 + 1 - a)

    sigma = ((1 - ddpm.ALPHA_BAR[300]) / ddpm.ALPHA_BAR[300]).sqrt().expand(2)
    x = torch.randn(2, 4, 4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(edm.of_ddpm(eps_theta, labels)(x, sigma), best(x, sigma), atol=1e-4, rtol=1e-4)
