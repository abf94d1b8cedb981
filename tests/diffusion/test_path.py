"""The straight path: conversions, in float64."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minisora.diffusion import interpolate, velocity, x0_from_velocity

SHAPES = [((3,), (3, 4, 5)), ((3, 4), (3, 4, 5)), ((1, 4), (3, 4, 5)), ((), (2, 3)), ((3,), (3,))]


@settings(deadline=None)  # a busy machine is no failure
@given(shapes=st.sampled_from(SHAPES), seed=st.integers(0, 1000))
def test_velocity_leads_back_to_the_data(shapes, seed):
    t_shape, x_shape = shapes
    generator = torch.Generator().manual_seed(seed)
    x0, eps = torch.randn(2, *x_shape, dtype=torch.float64, generator=generator)
    t = torch.rand(t_shape, dtype=torch.float64, generator=generator)
    x, v = interpolate(x0, eps, t), velocity(x0, eps)
    assert x.shape == x0.shape
    torch.testing.assert_close(x0_from_velocity(x, v, t), x0, rtol=0, atol=1e-14)


def test_the_ends_and_the_slope():
    x0, eps = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(interpolate(x0, eps, torch.zeros(6)), x0)
    assert torch.equal(interpolate(x0, eps, torch.ones(6)), eps)
    t = torch.linspace(0.1, 0.9, 6, dtype=torch.float64).requires_grad_()
    slope = torch.autograd.functional.jvp(lambda t: interpolate(x0, eps, t), t, torch.ones_like(t))[1]
    torch.testing.assert_close(velocity(x0, eps), slope)


def test_each_sample_and_each_token_has_its_own_time():
    x0, eps = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    t = torch.arange(6.0).reshape(2, 3) / 6
    assert torch.equal(interpolate(x0, eps, t), t[:, :, None].expand(2, 3, 4))
    assert torch.equal(interpolate(x0, eps, t[:, 0]), t[:, :1, None].expand(2, 3, 4))
