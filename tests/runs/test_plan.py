"""Plans against what is measured: autograd, real optimisers, and the memory of a real run."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from minisora import recipes
from minisora.caption.model import CaptionerConfig
from minisora.caption.train import caption_run
from minisora.caption.words import playroom_words
from minisora.cli import app
from minisora.cli.plan import parse_count
from minisora.data.frames import FrameBatch
from minisora.data.latents import LatentBatch
from minisora.data.pack import Pack, distinct_times
from minisora.data.patch import grid_positions
from minisora.device import default_device, has_fast_bf16
from minisora.dit.lora import add_lora
from minisora.dit.model import DiT, DiTConfig
from minisora.errors import UsageError
from minisora.runs import estimate
from minisora.runs.clips import clips_of
from minisora.runs.devices import DEVICES, Device, devices_named
from minisora.runs.estimate import describe, estimate_memory, plan_model, plan_run
from minisora.runs.known import known
from minisora.runs.layouts import Work, candidates, fastest, memory_of, seconds_of
from minisora.runs.memory import trace
from minisora.train.config import OptimConfig, RunConfig
from minisora.train.loop import run
from minisora.train.optim import build_optimizers
from minisora.train.parallel import Layout
from minisora.train.reference import make_reference
from minisora.train.velocity import dit_loss
from minisora.vae.loss import VAELoss
from minisora.vae.model import VAEConfig, VideoVAE

ROOT = Path(__file__).parents[2]
TINY = DiTConfig(width=48, depth=2, num_heads=4, mlp_width=96, text_width=20, latent_channels=4, patch=(1, 1, 1))


def clips(config: DiTConfig, grid: tuple[int, int, int], count: int, words: int = 12) -> LatentBatch:
    tokens = grid[0] * grid[1] * grid[2]
    lengths, text_lengths = (tokens,) * count, (words,) * count
    times, index = distinct_times(torch.linspace(0.1, 0.9, count).repeat_interleave(tokens))
    pack = Pack(
        tokens=torch.randn(tokens * count, config.token_channels),
        times=times,
        time_index=index,
        positions=grid_positions(torch.arange(grid[0]), *grid[1:]).repeat(count, 1),
        single=torch.zeros(tokens * count, dtype=torch.bool),
        lengths=lengths,
        text=torch.randn(words * count, config.text_width),
        text_lengths=text_lengths,
    )
    return LatentBatch(pack, torch.ones(tokens * count, dtype=torch.bool), 3 * config.flops(lengths, text_lengths))


def recipe(build: Any, batch: Any, loss: Any, *, muon_lr: float | None = None) -> RunConfig:
    return RunConfig(
        name="small",
        steps=2,
        build=build,
        batch=lambda step: batch,
        loss=loss,
        publish=lambda *_: None,
        optim=OptimConfig(lr=1e-4, muon_lr=muon_lr),
        prefetch=0,
    )


def narrow() -> RunConfig:
    """Many tokens, few weights: activations are nearly all of it."""
    config = replace(TINY, width=192, depth=3, mlp_width=768)
    return recipe(lambda: DiT(config), clips(config, (5, 4, 4), 24), dit_loss)


def wide() -> RunConfig:
    """Few tokens, many weights, and Muon."""
    config = replace(TINY, width=512, depth=2, mlp_width=2048)
    return recipe(lambda: DiT(config), clips(config, (5, 4, 4), 2), dit_loss, muon_lr=0.01)


def frames() -> RunConfig:
    batch = FrameBatch(torch.zeros(2, 9, 64, 64, 3, dtype=torch.uint8), 1e9)
    return recipe(lambda: VideoVAE(VAEConfig()), batch, VAELoss(latent_noise=0.2))


RECIPES = {"narrow": narrow, "wide": wide, "frames": frames}


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", RECIPES)
def test_memory_is_within_a_fifth_of_what_a_run_takes(name):
    """In a process whose allocator returns freed memory, so that its peak is the step's peak."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.runs.test_plan", name],
        cwd=ROOT,
        env={"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    estimated, measured = json.loads(child.stdout.splitlines()[-1])
    assert measured > 80e6, "too small to tell from what libraries take"
    assert estimated == pytest.approx(measured, rel=0.2)


def measure(name: str) -> tuple[float, float]:
    """Bytes by the estimate and by the system, the libraries' own apart."""
    config = RECIPES[name]()
    estimated = sum(estimate_memory(config, config.batch(0), bf16=has_fast_bf16(default_device())).values())
    with tempfile.TemporaryDirectory() as folder:
        run(recipe(lambda: DiT(TINY), clips(TINY, (2, 2, 2), 2), dit_loss, muon_lr=0.1), Path(folder) / "warm-up")
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # from here on the high-water mark counts anew
        before = _status("VmRSS")
        run(config, Path(folder) / "run")
    return estimated, _status("VmHWM") - before


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith(name))


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
def test_what_is_kept_is_what_autograd_keeps(bf16):
    """torch's own hooks see every tensor that the backward pass will need."""
    batch = clips(TINY, (2, 4, 4), 3)
    torch.manual_seed(0)
    model = DiT(TINY).train()
    ours = {p.untyped_storage().data_ptr() for p in model.parameters()}
    ours |= {
        t.untyped_storage().data_ptr() for t in (*vars(batch.clean).values(), batch.loss_mask) if isinstance(t, Tensor)
    }
    saved: dict[int, int] = {}
    held = []  # so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        held.append(tensor)
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ours:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = dit_loss(model, batch, torch.Generator().manual_seed(0))["loss"]
    step = trace(model, dit_loss, batch, bf16=bf16)
    assert loss.requires_grad
    assert step.kept + step.casts == pytest.approx(sum(saved.values()), rel=0.03)
    assert (step.casts > 0) == bf16
    assert step.peak > step.kept > step.matmuls > 0


@pytest.mark.parametrize("muon_lr", [None, 0.01], ids=["AdamW", "Muon"])
def test_weights_and_moments_are_those_of_the_optimisers(muon_lr):
    batch = clips(TINY, (1, 2, 2), 1)
    parts = estimate_memory(recipe(lambda: DiT(TINY), batch, dit_loss, muon_lr=muon_lr), batch, bf16=False)
    model = DiT(TINY)
    optimizers = build_optimizers(model, OptimConfig(lr=1e-3, muon_lr=muon_lr))
    dit_loss(model, batch, torch.Generator())["loss"].backward()
    for optimizer in optimizers:
        optimizer.step()
    held = [value for optimizer in optimizers for state in optimizer.state.values() for value in state.values()]
    moments = sum(value.numel() * value.element_size() for value in held if value.ndim)
    assert parts["optimiser"] == moments
    assert parts["weights"] == sum(p.numel() * p.element_size() for p in model.parameters())


def test_frozen_weights_have_no_moments_and_checkpointing_keeps_less():
    batch = clips(TINY, (2, 4, 4), 3)
    kept = DiT(TINY).state_dict()

    def adapted() -> DiT:
        model = DiT(TINY)
        model.load_state_dict(kept)
        return add_lora(model, 4)

    plain, lora = (recipe(build, batch, dit_loss) for build in (lambda: DiT(TINY), adapted))
    again = replace(plain, layout=Layout(recompute=True))
    whole, small, less = (estimate_memory(each, batch, bf16=False) for each in (plain, lora, again))
    assert small["optimiser"] == 8 * sum(p.numel() for p in adapted().parameters() if p.requires_grad)
    assert small["weights"] > whole["weights"]
    assert less["activations"] < 0.5 * whole["activations"]
    assert less["weights"] == whole["weights"]


WORK = Work(
    parameters=1_000_000_000,
    trained=1_000_000_000,
    states=8e9,
    depth=20,
    num_heads=12,
    width=1536,
    tokens=10_000,
    forward=2e13,
    repeated=0.0,
    kept=30e9,
    matmuls=8e9,
    working=2e9,
)
H100 = DEVICES["H100"]


def test_splitting_shares_out_what_it_splits():
    whole, split = (memory_of(WORK, Layout(replicate=r), 8, 1) for r in (8, 1))
    for part in ("weights", "gradients", "optimiser", "average"):
        assert split[part] == whole[part] / 8
    assert split["activations"] == whole["activations"]
    shared = memory_of(WORK, Layout(context=4), 8, 1)
    assert shared["activations"] == split["activations"] / 4
    again = memory_of(WORK, Layout(recompute=True), 8, 1)
    assert again["activations"] < split["activations"] / 2


def test_layouts_are_those_that_a_run_accepts():
    for count in (1, 6, 8, 16, 24):
        for layout in candidates(WORK, H100, count):
            assert count % (layout.replicate * layout.context) == 0
            assert WORK.num_heads % layout.context == 0
    assert Layout(replicate=2, context=4) in set(candidates(WORK, H100, 16))


def test_the_fastest_fits_and_none_that_fits_is_faster():
    placed = fastest(WORK, H100, 16, mfu=0.4, batch=64)
    assert placed.bytes <= 0.9 * H100.memory
    assert placed.batch == 64
    for layout in candidates(WORK, H100, 16):
        if sum(memory_of(WORK, layout, 16, 1).values()) <= 0.9 * H100.memory:
            other = sum(seconds_of(WORK, layout, 16, 1, 64, H100, 0.4).values())
            assert placed.step_seconds <= 1.02 * other


def test_less_memory_means_working_things_out_again():
    small = replace(H100, memory=20e9)
    assert not fastest(WORK, H100, 1, mfu=0.4, batch=1).layout.recompute
    assert fastest(replace(WORK, parameters=10**8, states=8e8), small, 1, mfu=0.4).layout.recompute
    with pytest.raises(UsageError, match=r"no layout fits 1 x H100: the smallest needs \d+ GB"):
        fastest(WORK, replace(small, memory=8e9), 1, mfu=0.4)
    with pytest.raises(UsageError, match="multiple of 8"):
        fastest(replace(WORK, num_heads=1), H100, 8, mfu=0.4, batch=12)


def test_a_released_model_on_paper():
    """Wan's report and config: 1.3 B parameters, 832x480 and 81 frames are 32,760 tokens."""
    plan = plan_model(clips_of(known("wan-1.3b"), seconds=5), *devices_named("64xH100"), price=2.5, samples=10**7)
    assert plan.parameters == pytest.approx(1.42e9, rel=0.01)
    assert plan.tokens == 21 * 30 * 52
    attention = 30 * 4 * 1536 * plan.tokens * (plan.tokens + 512)
    # 2 FLOPs a weight and token, but for the weights that see the text or the time alone
    assert plan.forward == pytest.approx(2 * 1.29e9 * plan.tokens + attention, rel=0.03)
    assert plan.cost == pytest.approx(2.5 * 64 * plan.hours)
    assert plan.steps * plan.placed.batch >= plan.samples
    assert plan.whole_mfu < plan.mfu
    assert json.loads(plan.to_json())["placed"]["layout"]["context"] == plan.placed.layout.context
    assert "40% MFU" in str(plan)
    with pytest.raises(UsageError, match=r"use 5 or 5.25 s"):
        clips_of(known("wan-1.3b"), seconds=5.1)
    with pytest.raises(UsageError, match=r"no height of 470: use a multiple of 16, 464 or 480"):
        clips_of(known("wan-1.3b"), size=(470, 832))


def test_devices_by_name():
    assert devices_named("8xH100") == (8, H100)
    assert devices_named("rtx 4090") == (1, DEVICES["RTX4090"])
    assert devices_named("2 x a100-80")[1].memory == 80e9
    with pytest.raises(UsageError, match="B200"):
        devices_named("8xH900")
    shared = devices_named("4xcpu")[1]
    count, here = devices_named("cpu")
    assert shared.memory == here.memory / 4 and shared.flops < here.flops
    assert (count, here.name) == (1, "cpu")
    assert here.flops > 1e9


@pytest.fixture
def slow() -> Device:
    return replace(H100, name="cpu", memory=8e9, flops=1e11)


def test_describing_a_recipe(slow):
    told = describe(narrow(), slow)
    assert "1,920 tokens" in told
    assert "does not fit" not in told
    for setting in ("  seed: 0", "  optim: OptimConfig(lr=", "  layout: Layout(replicate=1", "  packs: "):
        assert setting in told
    assert "  build" not in told and "  prepare" not in told
    assert "does not fit" in describe(narrow(), replace(slow, memory=1e6))


def test_a_recipe_with_a_reference_takes_the_time_that_it_had(slow, monkeypatch):
    run = narrow()
    rows = [{"step": step, "loss": 1.0, "mfu": mfu} for step, mfu in enumerate([0.1] * 4 + [0.2] * 11)]
    monkeypatch.setattr(estimate, "reference_of", lambda settings: make_reference(settings, rows))
    seconds = run.batch(0).flops / (0.2 * slow.flops)
    assert f"{seconds:.3g} s at 20% of the 100 GFLOP/s of cpu, as its reference had; all" in describe(run, slow)
    assert "20% MFU of the arithmetic, as its reference had;" in str(plan_run(run, 1, slow))
    assert plan_run(run, 1, slow).placed.seconds["arithmetic"] == pytest.approx(seconds)
    assert plan_run(run, 1, slow, mfu=0.5).mfu == 0.5


def test_a_reference_says_nothing_of_another_device(monkeypatch):
    monkeypatch.setattr(estimate, "reference_of", lambda settings: pytest.fail("it was run on a CPU"))
    assert plan_run(narrow(), 1, H100).mfu == estimate.MFU
    assert "at 40% of the" in describe(narrow(), H100)


def test_the_captioner_is_described_too(slow):
    """Its loss picks by a mask of two axes."""
    config = CaptionerConfig(words=playroom_words(), width=24, num_heads=2, encoder_depth=1, decoder_depth=1)
    made = caption_run(config, scenes=1)
    run = RunConfig(name="captions", steps=4, **vars(made), optim=OptimConfig(lr=1e-3), prefetch=0)
    assert "parameters, 4 steps" in describe(run, slow)


def test_a_recipe_on_other_devices():
    two = replace(narrow(), packs=2, steps=100)
    plan = plan_run(two, 2, H100)
    assert plan.samples == 200
    assert plan.forward == pytest.approx(two.batch(0).flops / 3)
    assert plan_run(frames(), 1, H100).placed.bytes < H100.memory


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(recipes.RECIPES, "narrow", narrow)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "planned_by_me.py").write_text("from tests.runs.test_plan import narrow as recipe\n")
    mine = CliRunner().invoke(app, ["plan", str(tmp_path / "planned_by_me.py"), "--gpus", "1xH100", "--json"])
    assert json.loads(mine.stdout)["parameters"] > 0
    plan = CliRunner().invoke(app, ["plan", "narrow", "--gpus", "4xL40S", "--price", "1", "--json"])
    assert json.loads(plan.stdout)["placed"]["count"] == 4
    text = CliRunner().invoke(app, ["plan", "narrow", "--gpus", "1xH100"])
    assert "parameters" in text.stdout
    for wrong in (["--size", "64x64"], ["--data", "clips"]):
        assert CliRunner().invoke(app, ["plan", "narrow", *wrong]).exit_code == 2
    assert parse_count("10M") == 10_000_000
    with pytest.raises(UsageError, match="500k or 10M"):
        parse_count("many")


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
