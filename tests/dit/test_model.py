from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import layer_norm
from torch.utils.flop_counter import FlopCounterMode

from minisora.data.pack import Pack, distinct_times
from minisora.data.patch import grid_positions
from minisora.dit import block
from minisora.dit.block import gated
from minisora.dit.kernels import modulation
from minisora.dit.kernels.modulation import modulated, plain_modulated, time_index
from minisora.dit.model import DiT, DiTConfig
from minisora.errors import UsageError


def concat(packs: list[Pack]) -> Pack:
    """Several packs as one."""
    times, index = distinct_times(torch.cat([pack.times[pack.time_index] for pack in packs]))
    return Pack(
        tokens=torch.cat([pack.tokens for pack in packs]),
        times=times,
        time_index=index,
        positions=torch.cat([pack.positions for pack in packs]),
        single=torch.cat([pack.single for pack in packs]),
        lengths=tuple(n for pack in packs for n in pack.lengths),
        text=torch.cat([pack.text for pack in packs]),
        text_lengths=tuple(n for pack in packs for n in pack.text_lengths),
    )


TINY = DiTConfig(
    width=24, depth=2, num_heads=2, mlp_width=40, text_width=10, latent_channels=3, patch=(1, 1, 1), time_width=16
)


def shaken(config: DiTConfig = TINY) -> DiT:
    """Random everywhere: what starts closed would hide what flows through it."""
    torch.manual_seed(0)
    dit = DiT(config).eval().requires_grad_(False)
    for parameter in dit.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.2)
    return dit


def clip(seed: int, frames: int, rows: int, columns: int, words: int, config: DiTConfig = TINY) -> Pack:
    """One clip whose latents each have a time of their own, the first of one frame."""
    generator = torch.Generator().manual_seed(seed)
    count = frames * rows * columns
    times, index = distinct_times(torch.rand(frames, generator=generator).repeat_interleave(rows * columns))
    return Pack(
        tokens=torch.randn(count, config.token_channels, generator=generator),
        times=times,
        time_index=index,
        positions=grid_positions(torch.arange(frames) * 0.7, rows, columns),
        single=torch.arange(count) < rows * columns,
        lengths=(count,),
        text=torch.randn(words, config.text_width, generator=generator),
        text_lengths=(words,),
    )


CLIPS = [clip(1, 2, 2, 3, 4), clip(2, 1, 3, 2, 2), clip(3, 3, 1, 2, 7), clip(4, 2, 2, 3, 1)]


@pytest.mark.parametrize("text_pad", [0, 8])
def test_a_clip_in_a_pack_is_as_the_clip_alone(text_pad):
    dit = shaken(replace(TINY, text_pad=text_pad))
    alone = [dit(one) for one in CLIPS]
    for order in ([0, 1, 2, 3], [2, 0, 3, 1], [3, 2, 1, 0]):
        packed = dit(concat([CLIPS[n] for n in order]))
        torch.testing.assert_close(packed, torch.cat([alone[n] for n in order]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("text_pad", [0, 8])
def test_context_made_once_serves(text_pad):
    dit = shaken(replace(TINY, text_pad=text_pad))
    pack = concat(CLIPS)
    context = dit.context(pack.text, pack.text_lengths)
    assert torch.equal(dit(pack, context), dit(pack))
    noisier = replace(pack, tokens=pack.tokens + 1)
    assert torch.equal(dit(noisier, context), dit(noisier))


def test_all_it_is_told_matters():
    """Each input changes the output; a token's time changes that of its own token most of all."""
    dit = shaken()
    pack = CLIPS[0]
    before = dit(pack)
    for change in (
        replace(pack, text=pack.text + 0.5),
        replace(pack, single=~pack.single),
        replace(pack, positions=pack.positions * torch.tensor([1.5, 1, 1])),
        replace(pack, times=pack.times * 0.5),
    ):
        assert (dit(change) - before).abs().max() > 1e-3


def test_a_network_without_kinds_does_not_see_them():
    dit = shaken(replace(TINY, frame_kinds=False))
    assert torch.equal(dit(CLIPS[0]), dit(replace(CLIPS[0], single=~CLIPS[0].single)))


def test_distinct_times_are_only_a_way_to_say_each_tokens_time():
    dit = shaken()
    pack = CLIPS[0]
    by_token = replace(pack, times=pack.times[pack.time_index], time_index=torch.arange(len(pack.tokens)))
    torch.testing.assert_close(dit(by_token), dit(pack), atol=1e-5, rtol=1e-5)


def test_starts_at_zero_and_learns_from_there():
    torch.manual_seed(0)
    dit = DiT(TINY)
    velocity = dit(concat(CLIPS))
    assert not velocity.any()
    (velocity - 1).square().mean().backward()
    assert dit.leave.weight.grad is not None and dit.leave.weight.grad.any()


@pytest.mark.parametrize(
    "config",
    [TINY, replace(TINY, width=48, depth=3, num_heads=3, mlp_width=200, patch=(1, 2, 2))],
    ids=["tiny", "patches"],
)
def test_flops_are_those_that_torch_counts(config):
    """Without the time MLP, which does not grow with tokens; without gradients.

    Then torch counts the FLOPs inside attention.
    """
    dit = shaken(config)
    pack = concat([clip(5, 4, 4, 4, 6, config), clip(6, 4, 4, 4, 6, config)])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        dit(pack)
    time = 2 * len(pack.times) * (config.time_width * config.width + config.width**2 + 6 * config.width**2)
    counted = counter.get_total_flops() - time
    assert config.flops(pack.lengths, pack.text_lengths) == pytest.approx(counted, rel=1e-6)


def test_bfloat16_is_near():
    dit, pack = shaken(), concat(CLIPS)
    expected = dit(pack)
    half = dit.bfloat16()(replace(pack, tokens=pack.tokens.bfloat16(), text=pack.text.bfloat16()))
    assert half.dtype == torch.float32
    assert (half - expected).norm() / expected.norm() < 0.03


@pytest.mark.parametrize("autocast", [False, True])
def test_the_time_is_float32_whatever_the_weights(autocast):
    """The same numbers as in float64, from weights that bfloat16 can say."""
    dit = shaken().bfloat16()
    times = torch.tensor([0.0, 0.37, 0.9991])
    expected = copy.deepcopy(dit).double()._time(times)
    told = dit.float() if autocast else dit
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        for got, wanted in zip(told._time(times), expected, strict=True):
            assert got.dtype == torch.float32 and wanted.dtype == torch.float64
            torch.testing.assert_close(got.double(), wanted, rtol=1e-4, atol=1e-4)


def half(x: torch.Tensor) -> torch.Tensor:
    """float64 rounded to bfloat16, which is as near as bfloat16 can come."""
    return x.float().bfloat16()


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("times", [1, 3, 40])
def test_modulation_and_gates_are_rounded_once(times, watched):
    """Against float64, rounded to bfloat16: one in a thousand may round the other way."""
    torch.manual_seed(0)
    x, h = (torch.randn(200, 24).bfloat16() for _ in range(2))
    scale, shift, gate = torch.randn(3, times, 24)
    index = (torch.arange(200) * times // 200).roll(7)
    with torch.set_grad_enabled(watched):
        each = time_index(index)
        assert len(each.runs) == (0 if watched or times > modulation.MOST_RUNS else times + (times > 1))
        told = modulated(x, scale, shift, each, 1e-6), gated(x, h, gate, each)
        plain = plain_modulated(x, scale, shift, each, 1e-6)
    wide = x.double()
    normed = (wide - wide.mean(-1, keepdim=True)) / (wide.var(-1, keepdim=True, correction=0) + 1e-6).sqrt()
    exact = normed * (1 + scale[index].double()) + shift[index].double(), wide + h.double() * gate[index].double()
    for got, wanted in zip((*told, plain), (*exact, exact[0]), strict=True):
        assert got.dtype == torch.bfloat16
        assert (got != half(wanted)).float().mean() < 1e-3


def test_bfloat16_is_nearer_than_with_modulation_in_bfloat16(monkeypatch):
    """As it was: shifts, scales and gates rounded to what the stream is, before they are used."""
    dit, pack = shaken(replace(TINY, width=48, depth=4, mlp_width=160)).bfloat16(), concat(CLIPS * 10)
    exact = copy.deepcopy(dit).double()
    expected = exact(replace(pack, tokens=pack.tokens.double(), text=pack.text.double()))

    def error() -> float:
        return float((dit(pack) - expected).norm() / expected.norm())

    def coarse(x, scale, shift, times, eps):
        normed = layer_norm(x, x.shape[-1:], eps=eps)
        return torch.addcmul(times.rows(shift.to(x.dtype)), normed, times.rows(1 + scale.to(x.dtype)))

    now = error()
    monkeypatch.setattr(block, "modulated", coarse)
    monkeypatch.setattr(block, "gated", lambda x, h, gate, times: torch.addcmul(x, h, times.rows(gate.to(x.dtype))))
    assert now < 0.95 * error()


def test_heads_must_fit():
    with pytest.raises(UsageError, match="multiple of 8"):
        replace(TINY, width=36, num_heads=4)
