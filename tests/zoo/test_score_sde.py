"""Score SDE on normal data: marginals, samples and likelihoods are known; VP is DDPM's chain."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from diffusers import ScoreSdeVeScheduler

from minisora.zoo import ddpm, score_sde
from minisora.zoo.score_sde import VE, VP

MEAN, STD = 0.3, 0.5
SDES = pytest.mark.parametrize("sde", [VE, VP], ids=["VE", "VP"])


def marginal(sde, t):
    return sde.alpha(t) * MEAN, (sde.alpha(t) ** 2 * STD**2 + sde.sigma(t) ** 2).sqrt()


def score_of_normal_data(sde):
    def score(x, t):
        mean, std = marginal(sde, t)
        return -(x - mean) / std**2

    return score


@SDES
def test_marginals_solve_the_sde(sde):
    """Mean and variance obey m' = f m and v' = 2 f v + g^2."""
    t, h = torch.linspace(0.1, 0.9, 9, dtype=torch.float64), 1e-5
    slope = (sde.alpha(t + h) - sde.alpha(t - h)) / (2 * h)
    torch.testing.assert_close(slope, sde.f(t) * sde.alpha(t))
    slope = (sde.sigma(t + h) ** 2 - sde.sigma(t - h) ** 2) / (2 * h)
    torch.testing.assert_close(slope, 2 * sde.f(t) * sde.sigma(t) ** 2 + sde.g2(t), rtol=1e-5, atol=1e-6)


def test_vp_at_a_thousand_steps_is_ddpm():
    """Up to what a step of finite size differs from an infinitesimal one."""
    t = torch.arange(1, ddpm.T + 1, dtype=torch.float64) / ddpm.T
    assert float((VP.alpha(t) ** 2 - ddpm.ALPHA_BAR).abs().max()) < 2e-3


def test_the_corrector_is_diffusers():
    theirs = ScoreSdeVeScheduler(snr=score_sde.SNR, sigma_min=0.01, sigma_max=50.0)
    theirs.set_timesteps(10)
    x, g = torch.randn(2, 3, 4, 4, 3, generator=torch.Generator().manual_seed(0))
    rng = torch.Generator().manual_seed(1)
    ours = score_sde.corrected(lambda x, t: g, x, torch.tensor(0.5), torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours, theirs.step_correct(g, x, generator=rng).prev_sample)


@SDES
@pytest.mark.parametrize("corrects", [False, True])
def test_samples_of_the_reverse_sde_are_the_data(sde, corrects):
    rng = torch.Generator().manual_seed(0)
    x = sde.prior * torch.randn(20_000, 1, generator=rng)
    score = score_of_normal_data(sde)
    times = sde.times(100).flip(0)
    for t, s in pairwise(times):
        if corrects:
            x = score_sde.corrected(score, x, t, rng)
        x = score_sde.reverse(sde, score, x, t, s, rng)
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.03)
    assert float(x.std()) == pytest.approx(STD, rel=0.06)


@SDES
def test_the_flow_carries_quantiles_of_the_prior_to_those_of_the_data_and_back(sde):
    times = sde.times(400).flip(0)
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    (mean, std), (first, spread) = marginal(sde, times[0]), marginal(sde, times[-1])
    x = score_sde.flowed(sde, score_of_normal_data(sde), mean + std * z, times)
    torch.testing.assert_close(x, first + spread * z, atol=2e-3, rtol=0)
    back = score_sde.flowed(sde, score_of_normal_data(sde), x, times.flip(0))
    torch.testing.assert_close(back, mean + std * z, atol=1e-2, rtol=1e-2)


@SDES
def test_likelihood_of_normal_data(sde):
    """The Jacobian is diagonal, for which the trace's estimate has no error."""
    x = MEAN + STD * torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = score_sde.log_likelihood(sde, score_of_normal_data(sde), x, steps=300, noise=torch.Generator())
    exact = torch.distributions.Normal(MEAN, STD).log_prob(x).sum(1)
    assert float((found - exact).abs().max()) / (6 * math.log(2)) < 0.02  # in bits per dimension


def test_the_trace_s_estimate_is_unbiased():
    matrix = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix = matrix @ matrix.T / 4
    covariance = torch.eye(4, dtype=torch.float64) * 0.2 + matrix

    def score(x, t):
        at = VP.alpha(t) ** 2 * covariance + VP.sigma(t) ** 2 * torch.eye(4, dtype=torch.float64)
        return -torch.linalg.solve(at, x.T).T

    x = torch.randn(1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = score_sde.log_likelihood(VP, score, x.expand(2000, 4), steps=60, noise=torch.Generator().manual_seed(2))
    exact = torch.distributions.MultivariateNormal(torch.zeros(4, dtype=torch.float64), covariance).log_prob(x)
    assert float(found.mean()) == pytest.approx(float(exact), abs=0.1)
