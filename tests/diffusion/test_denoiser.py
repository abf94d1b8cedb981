"""The level rule around a network."""

import pytest
import torch

from minisora.diffusion import finish, from_velocity, interpolate, start
from minisora.errors import UsageError


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_true_velocity_gives_the_true_x0_at_every_level_and_time():
    x0, eps = draw(2, 3, 5, 4)
    levels = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
    denoise = from_velocity(lambda x, times: eps - x0, levels, known=x0)
    for t in (1.0, 0.6, 0.01):
        t = torch.full((3,), t, dtype=torch.float64)
        state = interpolate(x0, eps, t[:, None] * levels)
        torch.testing.assert_close(denoise(state, t), x0, rtol=0, atol=1e-14)
        # (x - x0) / t is dx/dt, whatever the level
        torch.testing.assert_close((state - x0) / t[:, None, None], levels[:, None] * (eps - x0))
    torch.testing.assert_close(start(x0, levels, eps), interpolate(x0, eps, levels.expand(3, 5)))


def test_each_sample_may_have_its_own_levels_and_time():
    levels = torch.tensor([[0.0, 0.5], [1.0, 0.0]])
    seen = []

    def velocity(x, times):
        seen.append(times)
        return torch.zeros_like(x)

    from_velocity(velocity, levels, known=torch.zeros(2, 2, 1))(torch.ones(2, 2, 1), torch.tensor([1.0, 0.5]))
    assert seen[0].tolist() == [[0.0, 0.5], [0.5, 0.0]]


def test_given_tokens_are_shown_at_context_noise_and_come_back_clean():
    known, x, eps = draw(3, 2, 4, 3)
    levels = torch.tensor([0.0, 1.0, 0.0, 0.3], dtype=torch.float64)
    given = levels == 0
    seen = []

    def velocity(state, times):
        seen.append((state, times))
        return torch.full_like(state, 100.0)

    denoise = from_velocity(velocity, levels, known, context_noise=0.1, context_eps=eps)
    for t in (0.9, 0.2):
        x0 = denoise(x, torch.full((2,), t, dtype=torch.float64))
        assert torch.equal(x0[:, given], known[:, given])
        state, times = seen.pop()
        torch.testing.assert_close(state[:, given], (0.9 * known + 0.1 * eps)[:, given])
        assert torch.equal(state[:, ~given], x[:, ~given])
        torch.testing.assert_close(times, torch.tensor([[0.1, t, 0.1, 0.3 * t]] * 2, dtype=torch.float64))


def test_each_sample_has_a_context_noise_of_its_own():
    known, x, eps = draw(3, 2, 4, 3)
    levels = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    noise = torch.tensor([0.0, 1.0], dtype=torch.float64)
    seen = []
    t = torch.full((2,), 0.7, dtype=torch.float64)
    both = from_velocity(lambda *at: (seen.append(at), torch.zeros_like(x))[1], levels, known, noise, eps)(x, t)
    for n in range(2):
        alone = from_velocity(
            lambda *at: (seen.append(at), torch.zeros_like(x[:1]))[1],
            levels,
            known[n : n + 1],
            float(noise[n]),
            eps[n : n + 1],
        )(x[n : n + 1], t[:1])
        assert torch.equal(both[n : n + 1], alone)
        for whole, part in zip(seen[0], seen[-1], strict=True):
            assert torch.equal(whole[n : n + 1], part)


def test_velocity_in_bfloat16_leaves_the_state_in_its_own_precision():
    denoise = from_velocity(lambda x, times: x.bfloat16(), torch.ones(4), known=torch.zeros(2, 4, 3))
    assert denoise(torch.randn(2, 4, 3), torch.ones(2)).dtype == torch.float32


def test_finish_writes_known_latents_back():
    x, known = draw(2, 2, 3, 4)
    levels = torch.tensor([[0.0, 0.5, 1.0], [1.0, 0.0, 0.0]])
    out = finish(x, known, levels)
    assert torch.equal(out[levels == 0], known[levels == 0])
    assert torch.equal(out[levels > 0], x[levels > 0])


def test_context_noise_outside_the_path_is_refused():
    with pytest.raises(UsageError, match="Use 0"):
        from_velocity(lambda x, times: x, torch.ones(4), known=torch.zeros(2, 4, 3), context_noise=1.5)
