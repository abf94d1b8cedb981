"""Guidance: when it is idle, and that it does the arithmetic of the papers."""

import pytest
import torch

from minisora.diffusion import extrapolated, from_velocity, guided_joint


def with_text(x, t):
    return torch.sin(x) + 1


def without_text(x, t):
    return 0.5 * x - t.reshape(-1, 1, 1)


def never(x, t):
    raise AssertionError("called")


def guided(with_text, without_text, scale, **how):
    """`guided_joint` over two denoisers that run apart."""
    return guided_joint(lambda x, t: (with_text(x, t), without_text(x, t)), scale, with_text=with_text, **how)


X = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def at(t):
    return torch.full((2,), t, dtype=torch.float64)


def test_scale_one_never_calls_without_text():
    assert torch.equal(guided_joint(never, 1.0, with_text=with_text, rescale=0.7)(X, at(0.5)), with_text(X, at(0.5)))


@pytest.mark.parametrize("t", [0.1, 0.95])
def test_outside_the_interval_only_with_text_is_called(t):
    outside = guided_joint(never, 4.0, with_text=with_text, interval=(0.2, 0.9))
    assert torch.equal(outside(X, at(t)), with_text(X, at(t)))


def test_the_interval_is_judged_for_each_sample():
    t = torch.tensor([0.5, 0.95], dtype=torch.float64)
    out = guided(with_text, without_text, 4.0, interval=(0.2, 0.9))(X, t)
    assert torch.equal(out[0], guided(with_text, without_text, 4.0)(X, t)[0])
    assert torch.equal(out[1], with_text(X, t)[1])
    ends = guided(with_text, without_text, 4.0, interval=(0.5, 0.95))(X, t)  # both belong to it
    assert torch.equal(ends, extrapolated(with_text(X, t), without_text(X, t), 4.0))


def test_guiding_x0_is_guiding_velocity():
    scale, levels = 5.0, torch.tensor([1.0, 0.3, 0.7, 1.0, 0.1], dtype=torch.float64)

    def pos(x, times):
        return torch.cos(x)

    def neg(x, times):
        return x * times[..., None]

    def both(x, times):
        return neg(x, times) + scale * (pos(x, times) - neg(x, times))

    one, other, guided_v = (from_velocity(v, levels, known=X) for v in (pos, neg, both))
    torch.testing.assert_close(guided(one, other, scale)(X, at(0.6)), guided_v(X, at(0.6)))


@pytest.mark.parametrize("amount", [0.0, 0.7, 1.0])
def test_rescaling_equals_diffusers(amount):
    """The same section of the same paper, in another library."""
    pipelines = pytest.importorskip("diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion")
    pos, neg = with_text(X, at(0.5)), without_text(X, at(0.5))
    theirs = pipelines.rescale_noise_cfg(neg + 4 * (pos - neg), pos, guidance_rescale=amount)
    torch.testing.assert_close(guided(with_text, without_text, 4.0, rescale=amount)(X, at(0.5)), theirs)


def test_full_rescaling_restores_the_spread_of_each_sample():
    out = guided(with_text, without_text, 8.0, rescale=1.0)(X, at(0.5))
    torch.testing.assert_close(out.std(dim=(1, 2)), with_text(X, at(0.5)).std(dim=(1, 2)))


def test_known_tokens_stay_exact_under_guidance_and_rescaling():
    levels = torch.tensor([0.0, 1.0, 0.0, 0.5, 1.0], dtype=torch.float64)
    known = X.flip(1)
    one = from_velocity(lambda x, times: torch.cos(x), levels, known)
    other = from_velocity(lambda x, times: 2 * x, levels, known)
    out = guided(one, other, 6.0, rescale=0.7)(X, at(0.4))
    assert torch.equal(out[:, levels == 0], known[:, levels == 0])


def test_both_texts_in_one_batch_are_the_same_as_apart():
    levels = torch.tensor([0.0, 1.0, 0.4, 0.5, 1.0], dtype=torch.float64)

    def network(x, times, sign):
        return torch.cos(x) * times[..., None] + sign[:, None, None] * x

    signs = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    doubled = from_velocity(lambda x, times: network(x, times, signs), levels, X.repeat(2, 1, 1))
    one, other = (from_velocity(lambda x, times, s=s: network(x, times, s), levels, X) for s in signs.chunk(2))
    state = X.flip(0)
    joint = guided_joint(
        lambda x, t: doubled(torch.cat([x, x]), torch.cat([t, t])).chunk(2),
        3.0,
        with_text=one,
        interval=(0.2, 0.9),
        rescale=0.5,
    )
    apart = guided(one, other, 3.0, interval=(0.2, 0.9), rescale=0.5)
    for t in (0.5, 0.95):
        torch.testing.assert_close(joint(state, at(t)), apart(state, at(t)))
