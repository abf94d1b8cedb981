"""DDPM's and DDIM's formulas against diffusers' schedulers."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from minisora.zoo import ddim, ddpm
from minisora.zoo.frame.entry import Ask
from minisora.zoo.frame.sets import FIELDS, PICTURES_32

LABELS = torch.zeros(2, len(FIELDS), dtype=torch.long)


class Net(torch.nn.Module):
    """A network whose noise depends on state and step."""

    def forward(self, x, t, labels, dropped=None):
        return torch.tanh(x + t.reshape(-1, 1, 1, 1) / 500)


def test_noised_states_are_those_of_diffusers():
    theirs = DDPMScheduler(ddpm.T, beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
    x, eps = torch.randn(2, 3, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([10, 500, 999])
    torch.testing.assert_close(
        ddpm.noised(x[:3].expand(3, -1, -1, -1), eps[:3].expand(3, -1, -1, -1), t), theirs.add_noise(x, eps, t)
    )


def test_ancestral_sampling_is_diffusers():
    steps = 20
    theirs = DDPMScheduler(
        ddpm.T, beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=True, variance_type="fixed_small"
    )
    theirs.set_timesteps(timesteps=ddpm.spaced(steps).flip(0).tolist())
    ours = ddpm.sample({"ddpm": Net()}, Ask(LABELS, torch.Generator().manual_seed(3)), steps=steps)
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(2, *PICTURES_32.shape, generator=rng)
    for t in theirs.timesteps:
        x = theirs.step(Net()(x, t, LABELS), t, x, generator=rng).prev_sample
    torch.testing.assert_close(ours, x, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("bound", [1.0, math.inf])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_is_diffusers(eta, bound):
    theirs = DDIMScheduler(
        ddpm.T, beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=bound == 1, set_alpha_to_one=True
    )
    theirs.set_timesteps(20)
    rng, own = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    x = torch.randn(2, *PICTURES_32.shape, generator=rng)
    x_T = torch.randn(2, *PICTURES_32.shape, generator=own)
    found = ddim.denoised(
        Net(), x_T, Ask(LABELS, own), steps=20, spacing=lambda _: theirs.timesteps.flip(0), eta=eta, bound=bound
    )
    for t in theirs.timesteps:
        noise = torch.randn(x.shape, generator=rng) if eta and t else None
        x = theirs.step(Net()(x, t, LABELS), t, x, eta=eta, variance_noise=noise).prev_sample
    torch.testing.assert_close(found, x, atol=1e-4, rtol=1e-4)


def test_steps_are_dense_where_there_is_little_noise():
    tau = ddim.quadratic(20)
    assert tau[-1] == ddpm.T - 1 and (tau.diff().diff() >= -1).all() and tau[0] == round(ddpm.T / 400)


def test_inversion_is_undone_by_sampling_in_many_steps():
    class Slow(Net):
        def forward(self, x, t, labels, dropped=None):
            return 0.3 * torch.tanh(x)

    x_0 = torch.rand(2, *PICTURES_32.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    errors = []
    for steps in (50, 200):
        x_T = ddim.inverted(Slow(), x_0, LABELS, steps=steps)
        again = ddim.denoised(Slow(), x_T, Ask(LABELS, torch.Generator()), steps=steps)
        errors.append(float((again - x_0).abs().mean()))
    assert errors[1] < errors[0] / 2
