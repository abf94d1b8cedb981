from __future__ import annotations

import math
from dataclasses import replace

import numpy
import pytest
import torch
from torch import nn

from minisora.dit.model import DiT, DiTConfig
from minisora.train.config import OptimConfig
from minisora.train.optim import EMA, AdaptiveClip, build_optimizers, lr_scale, set_lr

CONFIG = OptimConfig(lr=1e-3, warmup_steps=10)


def test_the_rate_rises_stays_and_falls():
    cooldown = range(75, 100)
    for step in range(75):
        assert lr_scale(step, 10) == pytest.approx(numpy.interp(step + 1, [0, 10], [0, 1]))
    rates = [lr_scale(step, 10, cooldown) for step in cooldown]
    assert rates == pytest.approx(1 - numpy.sqrt(numpy.arange(25) / 25))
    assert rates[0] == 1 and rates[-1] > 0 and lr_scale(100, 10, cooldown) == 0
    assert lr_scale(0, 0) == 1 and lr_scale(4, 10, range(4, 8)) == 0.5  # a warm-up goes on where it is cut short


def with_gradient(norm: float, generator: torch.Generator) -> list[nn.Parameter]:
    parts = [torch.randn(shape, generator=generator) for shape in ((3, 4), (5,))]
    scale = norm / torch.cat([part.flatten() for part in parts]).norm()
    parameters = [nn.Parameter(torch.zeros_like(part)) for part in parts]
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part * scale
    return [*parameters, nn.Parameter(torch.zeros(2))]  # the last has no gradient


def norm_of(parameters: list[nn.Parameter]) -> float:
    return float(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]).norm())


def test_what_leaves_its_recent_range_is_scaled_to_the_bound():
    """Against running moments by numpy, without the bias of the start."""
    generator, draws = torch.Generator().manual_seed(0), numpy.random.default_rng(0)
    clip = AdaptiveClip(3.0)
    norms = draws.normal(5.0, 0.5, 400).clip(4, 6)
    for norm in norms:
        parameters = with_gradient(norm, generator)
        before, bound = clip(parameters)
        assert before == pytest.approx(norm, rel=1e-4)
        assert norm_of(parameters) == pytest.approx(min(norm, bound), rel=1e-4)
    weights = 0.98 ** numpy.arange(len(norms))[::-1]
    mean = numpy.average(norms, weights=weights)
    deviation = math.sqrt(numpy.average((norms - mean) ** 2, weights=weights))
    assert clip.bound() == pytest.approx(mean + 3 * deviation, rel=0.02)
    spike = with_gradient(1e4, generator)
    direction = torch.cat([p.grad.flatten() for p in spike if p.grad is not None])
    bound_before = clip.bound()
    assert clip(spike) == (pytest.approx(1e4, rel=1e-4), bound_before)
    clipped = torch.cat([p.grad.flatten() for p in spike if p.grad is not None])
    assert norm_of(spike) == pytest.approx(bound_before, rel=1e-4)
    torch.testing.assert_close(clipped / clipped.norm(), direction / direction.norm())
    assert clip.bound() < 1.1 * bound_before  # a spike counts as what was kept of it


def test_a_gradient_that_is_not_finite_is_left_and_forgotten():
    generator = torch.Generator().manual_seed(0)
    clip = AdaptiveClip(3.0)
    for _ in range(30):
        clip(with_gradient(2.0, generator))
    state = clip.state_dict()
    norm, _ = clip(with_gradient(float("nan"), generator))
    assert not math.isfinite(norm) and clip.state_dict() == state


def test_the_clip_goes_on_from_its_state():
    generator = torch.Generator().manual_seed(0)
    one, other = AdaptiveClip(3.0), AdaptiveClip(3.0)
    for norm in (1.0, 3.0, 2.0):
        one(with_gradient(norm, generator))
    other.load_state_dict(one.state_dict())
    assert other.bound() == one.bound() and other.state_dict() == one.state_dict()


def test_the_average_is_the_sum_on_paper():
    """e_n = prod(d) e_0 + sum_i (1 - d_i) prod_{j > i} d_j w_i

    with d_i = min(decay, (1 + i) / (10 + i))
    """
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    model.register_buffer("kept", torch.ones(2))
    ema = EMA(model, 0.8)
    history = [model.weight.detach().double().clone()]
    for step in range(60):
        with torch.no_grad():
            model.weight.add_(torch.randn(2, 3))
        history.append(model.weight.detach().double().clone())
        ema.update(model, step)
    decays = [min(0.8, (1 + step) / (10 + step)) for step in range(60)]
    shares = [math.prod(decays)] + [(1 - d) * math.prod(decays[i + 1 :]) for i, d in enumerate(decays)]
    assert sum(shares) == pytest.approx(1)
    expected = sum(share * weight for share, weight in zip(shares, history, strict=True))
    torch.testing.assert_close(ema.weights["weight"].double(), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(ema.weights["kept"], torch.ones(2))
    nn.Linear(3, 2).load_state_dict({name: ema.weights[name] for name in ("weight", "bias")})


def test_the_average_is_a_copy():
    model = nn.Linear(3, 2)
    ema = EMA(model, 0.9)
    before = {name: value.clone() for name, value in ema.weights.items()}
    with torch.no_grad():
        model.weight.add_(1)
    assert all(torch.equal(ema.weights[name], value) for name, value in before.items())


@pytest.mark.parametrize("muon_lr", [None, 0.02])
def test_every_weight_has_one_optimiser(muon_lr):
    dit = DiT(DiTConfig(width=32, depth=1, num_heads=2, mlp_width=48, text_width=20, latent_channels=4))
    dit.enter.bias.requires_grad_(False)
    optimizers = build_optimizers(dit, replace(CONFIG, muon_lr=muon_lr))
    # by storage: Muon holds its weights as matrices, views of the same numbers
    taken = [p.data_ptr() for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    wanted = {p.data_ptr(): name for name, p in dit.named_parameters() if p.requires_grad}
    assert len(taken) == len(set(taken)) and set(taken) == set(wanted)
    for group in optimizers[0].param_groups:
        assert (group["weight_decay"] > 0) == all(p.ndim >= 2 for p in group["params"])
    if muon_lr is not None:
        names = {wanted[p.data_ptr()] for group in optimizers[1].param_groups for p in group["params"]}
        matrices = ("qkv", "out", "cross_q", "cross_kv", "cross_out", "mlp_in", "mlp_out")
        assert names == {f"blocks.0.{matrix}.weight" for matrix in matrices}


def test_rates_are_shares_of_the_peak():
    dit = DiT(DiTConfig(width=32, depth=1, num_heads=2, mlp_width=48, text_width=20, latent_channels=4))
    optimizers = build_optimizers(dit, replace(CONFIG, muon_lr=0.02))
    for share in (0.5, 0.1, 1.0):
        set_lr(optimizers, share)
        assert {group["lr"] for group in optimizers[0].param_groups} == {1e-3 * share}
        assert {group["lr"] for group in optimizers[1].param_groups} == {0.02 * share}
