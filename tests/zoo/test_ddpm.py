"""DDPM's and DDIM's formulas against diffusers' schedulers."""

from __future__ import annotations

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


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_is_diffusers(eta):
    steps = 20
    theirs = DDIMScheduler(
        ddpm.T, beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=False, set_alpha_to_one=True
    )
    theirs.num_inference_steps, theirs.timesteps = steps, ddpm.spaced(steps).flip(0)
    rng, own = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    x = torch.randn(2, *PICTURES_32.shape, generator=rng)
    ours = ddim.denoised(
        Net(), torch.randn(2, *PICTURES_32.shape, generator=own), Ask(LABELS, own), steps=steps, eta=eta
    )
    before = torch.cat([torch.tensor([-1]), ddpm.spaced(steps)[:-1]]).flip(0)
    for t, s in zip(theirs.timesteps, before, strict=True):
        alpha, prev = theirs.alphas_cumprod[t], theirs.alphas_cumprod[s] if s >= 0 else torch.tensor(1.0)
        eps = Net()(x, t, LABELS)
        x_0 = (x - (1 - alpha).sqrt() * eps) / alpha.sqrt()
        sigma = eta * ((1 - prev) / (1 - alpha) * (1 - alpha / prev)).sqrt()
        x = prev.sqrt() * x_0 + (1 - prev - sigma**2).sqrt() * eps
        if sigma > 0:
            x = x + sigma * torch.randn(x.shape, generator=rng)
    torch.testing.assert_close(ours, x, atol=1e-4, rtol=1e-4)


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
