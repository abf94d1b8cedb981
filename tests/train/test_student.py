"""Distillation against answers known on paper: the ends of the teacher's steps and of the flow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from minisora import diffusion
from minisora.data.latents import LatentBatch
from minisora.data.pack import Pack, distinct_times
from minisora.data.patch import grid_positions
from minisora.data.shards import Shards
from minisora.dit.lora import LoRALinear, adapters_of, add_lora, without_adapters
from minisora.errors import UsageError
from minisora.generate.canvas import Condition, Shape, build
from minisora.generate.model import Model
from minisora.generate.window import Settings, encode_prompt, guided_denoiser
from minisora.recipes.student import distilled
from minisora.recipes.tuning import windows_of
from minisora.train import loop, student
from minisora.train.config import RunConfig
from minisora.train.latents import write_clip_latents
from minisora.train.student import StudentLoss, clips_of, token_times
from minisora.train.velocity import dummy_batch
from tests.helpers.steps import batch, network
from tests.helpers.tiny import bundle, picture
from tests.helpers.tuned import DIT_384, base, data, opened, weights

__all__ = ["base", "bundle", "data"]  # fixtures

MEAN, STD, SHIFT = 0.7, 0.3, 3.0
PLAIN = Settings(guidance=1.0, guidance_given=1.0, history_guidance=False)


def loss_of(times: int, teacher: Settings = PLAIN, euler: int = 1) -> StudentLoss:
    null_text = torch.zeros(1, 12)
    return StudentLoss(null_text=null_text, teacher=teacher, shift=SHIFT, shift_tokens=8, times=times, euler=euler)


def posterior(x: Tensor, t: Tensor) -> Tensor:
    """E[x0 | x_t] of Gaussian data."""
    return MEAN + (1 - t) * STD**2 / ((1 - t) ** 2 * STD**2 + t**2) * (x - (1 - t) * MEAN)


def flow_end(x: Tensor, t: Tensor) -> Tensor:
    """Where the exact flow of Gaussian data carries a state: quantile to quantile."""
    return MEAN + STD * (x - (1 - t) * MEAN) / ((1 - t) ** 2 * STD**2 + t**2).sqrt()


class Oracle(nn.Module):
    """The best velocity of Gaussian data without adapter; with it the consistency function."""

    def __init__(self, end) -> None:
        super().__init__()
        self.lora, self.end = LoRALinear(nn.Linear(1, 1), 1, 1.0), end

    def forward(self, pack: Pack) -> Tensor:
        times = token_times(pack)[:, None]
        x0 = (self.end if self.lora.adapted else posterior)(pack.tokens, times)
        return torch.where(times > 0, (pack.tokens - x0) / times, 0.0)


def gaussian_batch(clips: int = 64) -> LatentBatch:
    """Clips of eight tokens, all to be made."""
    length = 8
    pack = Pack(
        tokens=MEAN + STD * torch.randn(clips * length, 3, dtype=torch.float64),
        times=torch.rand(clips),
        time_index=torch.arange(clips).repeat_interleave(length),
        positions=torch.zeros(clips * length, 3),
        single=torch.zeros(clips * length, dtype=torch.bool),
        lengths=(length,) * clips,
        text=torch.zeros(clips, 12),
        text_lengths=(1,) * clips,
    )
    return LatentBatch(pack, torch.ones(clips * length, dtype=torch.bool), 1.0)


@pytest.mark.parametrize(("count", "euler"), [(12, 1), (4, 3)])
def test_loss_is_zero_where_the_teachers_own_steps_end(count, euler):
    def end(x: Tensor, t: Tensor) -> Tensor:
        result = x.clone()
        for time in t.unique().tolist():
            even, times = diffusion.unshift_times(time, SHIFT), [time]
            while even > 1e-6:
                after = max(0.0, even - 1 / count)
                steps = [even + (after - even) * n / euler for n in range(1, 1 + euler)]
                times, even = [*times, *(diffusion.shift_times(step, SHIFT) for step in steps)], after
            here = t[:, 0] == time
            result[here] = diffusion.euler(lambda x, t: posterior(x, t[:, None]), x[here], times)
        return result

    torch.manual_seed(0)
    noise = torch.Generator().manual_seed(1)
    loss = loss_of(count, euler=euler)
    assert float(loss(Oracle(end), gaussian_batch(), noise)["loss"]) < 1e-5
    assert float(loss(Oracle(posterior), gaussian_batch(), noise)["loss"]) > 1e-2


def test_loss_of_the_exact_flow_falls_as_the_square_of_the_steps(monkeypatch):
    """What is left is the error of one Euler step, and the loss then its size."""
    monkeypatch.setattr(student, "HUBER", 0.0)
    torch.manual_seed(0)
    few, many = (
        float(loss_of(steps)(Oracle(flow_end), gaussian_batch(2000), torch.Generator().manual_seed(1))["loss"])
        for steps in (32, 64)
    )
    assert 3.3 < few / many < 4.7


def test_the_teacher_is_guided_as_in_sampling(bundle):
    """A first frame and an inner picture are known.

    One time is inside the guided interval, one below it.
    """
    shape = Shape(num_frames=9, height=32, width=48, fps=8.0)
    canvas = build(bundle, shape, [Condition(picture(1, 32, 48)), Condition(picture(1, 32, 48, seed=2), at=6)])
    how = Settings(guidance=3.0, guidance_given=2.0, context_noise=0.1)
    told, length = encode_prompt(bundle, "a ball"), len(canvas.levels)
    draw = torch.Generator().manual_seed(0)
    eps, known = (torch.randn(canvas.known.shape, generator=draw) for _ in range(2))
    canvas = replace(canvas, known=known)
    loss_mask, text_length = canvas.levels > 0, told.lengths[0]
    loss = StudentLoss(null_text=told.tokens[text_length:], teacher=how, shift=1.0, shift_tokens=length, times=8)
    for t in (0.6, 0.2):
        x = torch.randn(known.shape, generator=draw)
        shown = torch.where(loss_mask[:, None], x, diffusion.interpolate(known, eps, torch.tensor([how.context_noise])))
        times, index = distinct_times(torch.where(loss_mask, t, how.context_noise))
        state = Pack(
            tokens=shown[0],
            times=times,
            time_index=index,
            positions=canvas.positions,
            single=canvas.single,
            lengths=(length,),
            text=told.tokens[:text_length],
            text_lengths=(text_length,),
        )
        ours = loss.guided_x0(bundle.dit, state, loss_mask, eps[0])
        theirs = guided_denoiser(bundle, canvas, told, how, eps)(x, torch.tensor([t]))[0]
        torch.testing.assert_close(ours[loss_mask], theirs[loss_mask], atol=2e-5, rtol=1e-5)


def test_without_adapters_it_is_the_teacher_bit_for_bit():
    plain, adapted = network(), add_lora(network(), 3)
    for layer in adapted.modules():
        if isinstance(layer, LoRALinear):
            nn.init.normal_(layer.up, std=0.2)
    with torch.no_grad():
        taught = plain(batch(0).clean)
        with without_adapters(adapted):
            assert torch.equal(adapted(batch(0).clean), taught)
        assert not torch.allclose(adapted(batch(0).clean), taught, atol=1e-3)


def test_gradients_are_of_adapters_alone_and_what_is_given_carries_none():
    dit, given = add_lora(network(), 3), batch(0)
    how = Settings(guidance=3.0, guidance_given=2.0)
    parts = loss_of(6, how)(dit, given, torch.Generator().manual_seed(0))
    parts["loss"].backward()
    with_gradient = {name for name, p in dit.named_parameters() if p.grad is not None and p.grad.any()}
    assert with_gradient and all(
        name.endswith(".up") for name in with_gradient
    )  # `down` waits for an `up` that is not 0
    assert {"loss", "t0", "t3"} <= set(parts)


def test_it_repeats_by_its_noise():
    dit, given = add_lora(network(), 3), batch(1)
    first, again, other = (
        float(loss_of(6)(dit, given, torch.Generator().manual_seed(seed))["loss"].detach()) for seed in (0, 0, 1)
    )
    assert first == again != other


@pytest.mark.parametrize("lengths", [(3, 1, 2), (5,)])
def test_which_clip_a_token_is_of(lengths):
    total = sum(lengths)
    pack = Pack(
        tokens=torch.zeros(total, 1),
        times=torch.zeros(1),
        time_index=torch.zeros(total, dtype=torch.long),
        positions=grid_positions(torch.arange(total), 1, 1),
        single=torch.zeros(total, dtype=torch.bool),
        lengths=lengths,
        text=torch.zeros(len(lengths), 1),
        text_lengths=(1,) * len(lengths),
    )
    assert clips_of(pack).tolist() == [n for n, length in enumerate(lengths) for _ in range(length)]


def run_of(base: Path, data: Path, folder: Path) -> RunConfig:
    return distilled(
        "tiny-student",
        base,
        write=lambda vae, text: write_clip_latents(folder, Shards(data), vae, text, side=16),
        batches=lambda null_text: windows_of(Shards(folder), bundle=opened(base)),
        dummy=dummy_batch(DIT_384, (2, 2, 2), tokens=64, words=4),
        prompts=["a ball"],
        steps=3,
        rank=2,
    )


def test_a_run_leaves_the_bundle_with_a_student_beside_its_weights(tmp_path, base, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "matmul_peak", lambda *_: 1e15)
    config = replace(run_of(base, data, tmp_path / "latents"), prefetch=0, bf16=False, preview_every=2)
    trained = loop.run(config, tmp_path / "run")
    before, after = opened(base), opened(tmp_path / "run" / "bundle")
    for file in ("vae.safetensors", "dit.safetensors"):
        assert (tmp_path / "run" / "bundle" / file).read_bytes() == (base / file).read_bytes()
    assert after.sampling == before.sampling and after.trained["student"] == {"recipe": "tiny-student", "steps": 3}
    assert before.student is None and after.student is not None and after.student.steps == 4
    learned = adapters_of(trained)
    assert any(value.any() for name, value in learned.items() if name.endswith(".up"))
    assert all(torch.equal(value, learned[name].bfloat16()) for name, value in after.student.adapters.items())
    assert {name for name, value in weights(after.with_student()).items() if not value.equal(weights(before)[name])}
    assert len(list(tmp_path.glob("run/**/samples/*/sheet.png"))) == 1
    assert Model(after).image("a ball").frames.shape == (1, 32, 32, 3)


def test_packs_of_another_network_are_refused(tmp_path, base, data):
    with pytest.raises(UsageError, match="tiny-student are not for tiny"):
        distilled(
            "tiny-student",
            base,
            write=lambda *_: None,
            batches=lambda _: windows_of(Shards(data), bundle=opened(base)),
            dummy=dummy_batch(replace(DIT_384, text_width=7), (2, 2, 2), tokens=64, words=4),
            prompts=[],
            steps=3,
        )
