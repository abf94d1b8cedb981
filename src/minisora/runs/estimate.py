"""Estimates for a planned run: parameters, FLOPs, memory, the fastest layout, hours, cost, storage.

    plan_model(clips_of(known("wan-1.3b"), seconds=5), *devices_named("64xH100"),
               samples=10_000_000, price=2.5)
    plan_run(recipe, *devices_named("8xH100"))
    describe(recipe)    a few lines on this machine, before a run

Assumptions, stated in every plan: the MFU of the arithmetic, and precomputed latents and text
states, so that neither the VAE nor the text encoder is in memory. Measurements against these
estimates are in docs/plan.md.

Here: the estimates. Not here: the plan as a value and as text (plan.py); clips.py, devices.py,
layouts.py and memory.py, which it puts together.
"""

from __future__ import annotations

import warnings
from dataclasses import fields, replace
from functools import cache

import torch
from torch import Tensor, nn

from minisora.data.latents import LatentBatch
from minisora.device import default_device, has_fast_bf16
from minisora.dit.model import DiT, DiTConfig
from minisora.runs.clips import Clips
from minisora.runs.devices import HERE, Device, this_machine
from minisora.runs.layouts import FLOAT, HALF, Work, fastest
from minisora.runs.memory import StepMemory, trace
from minisora.runs.plan import Plan, gb, hours_in_words, si
from minisora.train.config import Batch, OptimConfig, RunConfig
from minisora.train.parallel import checkpoint_activations
from minisora.train.reference import reference_of
from minisora.train.velocity import dit_loss, dummy_batch

MFU = 0.4  # for the arithmetic alone; whole runs report 0.38 (Seaweed-7B, arXiv:2504.08685) to 0.43 (Llama 3 405B)
TRACED_TOKENS = 2**16  # so many that weights and their gradients are small next to the activations
KERNELS = 2**25  # bytes for matmul workspaces and the allocator: 20 to 57 MB measured, independent of size
ADAMW = OptimConfig(lr=1e-4)


def plan_model(
    clips: Clips,
    count: int,
    device: Device,
    *,
    samples: int = 1_000_000,
    batch: int | None = None,
    mfu: float = MFU,
    price: float | None = None,
) -> Plan:
    """Plan the training of a known model on these devices, with AdamW for all weights.

    samples: clips seen in training
    batch:   clips of a step; None: the fastest number

    Raises UsageError if no layout fits.
    """
    model = clips.model
    text_tokens = model.config.text_pad or model.text_tokens
    work = dit_work(model.config, (clips.tokens,), (text_tokens,), ADAMW)
    return Plan(
        name=model.name,
        device=device,
        mfu=mfu,
        parameters=work.parameters,
        sample=str(clips),
        tokens=clips.tokens,
        forward=work.forward,
        samples=samples,
        price=price,
        placed=fastest(work, device, count, mfu=mfu, batch=batch),
        storage={what: size * samples for what, size in clips.storage().items()},
        beside={
            "VAE in bf16": float(HALF * model.vae_parameters),
            "text encoder in bf16": float(HALF * model.text_parameters),
        },
    )


def plan_run(
    run: RunConfig,
    count: int,
    device: Device,
    *,
    samples: int | None = None,
    batch: int | None = None,
    mfu: float | None = None,
    price: float | None = None,
) -> Plan:
    """Plan a recipe on these devices.

    A sample is a batch of the recipe, such as a pack of its token budget.

    mfu: None: the expected one, as in `describe`
    """
    mfu, whose = _expected_mfu(run, device) if mfu is None else (mfu, "")
    first = largest_batch(run)
    work = _work(run, first)
    return Plan(
        name=run.name,
        device=device,
        mfu=mfu,
        whose=whose,
        parameters=work.parameters,
        sample="a pack of the recipe" if isinstance(first, LatentBatch) else "a batch of the recipe",
        tokens=first.tokens,
        forward=work.forward,
        samples=run.all_steps * run.packs if samples is None else samples,
        price=price,
        placed=fastest(work, device, count, mfu=mfu, batch=batch),
    )


def dit_work(config: DiTConfig, lengths: tuple[int, ...], text_lengths: tuple[int, ...], optim: OptimConfig) -> Work:
    """Cost of a sample of these clips; fused attention keeps queries, keys, values and results."""
    tokens, text = sum(lengths), sum(text_lengths)
    one, two = (_traced(replace(config, depth=depth, text_pad=0), text / tokens) for depth in (1, 2))
    block, doors = two.kept - one.kept, 2 * one.kept - two.kept
    scale = tokens / TRACED_TOKENS
    with torch.device("meta"):
        model = DiT(config)
    return Work(
        parameters=_count(model),
        trained=_count(model),
        states=_states(model, optim),
        depth=config.depth,
        num_heads=config.num_heads,
        width=config.width,
        tokens=tokens,
        forward=config.flops(lengths, text_lengths),
        repeated=0.0,
        kept=(doors + config.depth * block) * scale,
        matmuls=(doors + config.depth * (two.matmuls - one.matmuls)) * scale,
        working=(one.peak - one.kept - one.casts) * scale,
    )


@cache
def _traced(config: DiTConfig, text_share: float) -> StepMemory:
    text = max(1, round(text_share * TRACED_TOKENS))
    with torch.device("meta"):
        model = DiT(config)
    return trace(
        model, dit_loss, dummy_batch(config, (TRACED_TOKENS, 1, 1), tokens=TRACED_TOKENS, words=text), bf16=True
    )


def _work(run: RunConfig, batch: Batch) -> Work:
    """Cost of a recipe's batch, as one sample."""
    model = _shapes(run)
    if isinstance(model, DiT) and isinstance(batch, LatentBatch):
        work = dit_work(model.config, batch.clean.lengths, batch.clean.text_lengths, run.optim)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        return replace(work, parameters=_count(model), trained=trained, states=_states(model, run.optim))
    step = trace(model, run.loss, batch, bf16=True)
    parts: list[nn.Module] = model.fsdp_units() if hasattr(model, "fsdp_units") else [model]  # type: ignore[operator]
    return Work(
        parameters=_count(model),
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
        states=_states(model, run.optim),
        depth=len(parts),
        num_heads=1,
        width=0,
        tokens=batch.tokens,
        forward=batch.flops / 3,
        repeated=batch.flops / 3,  # of convolutions nothing is kept where things are worked out again
        kept=step.kept,
        matmuls=step.matmuls,
        working=step.peak - step.kept - step.casts,
    )


def largest_batch(run: RunConfig) -> Batch:
    """The larger of the first and the last batch of each phase, as recipes may change them."""
    some = [run.batch(0), run.batch(run.steps * run.packs - 1)]
    if run.cooldown_steps and run.cooldown_batch is not None:
        some.append(run.cooldown_batch(run.all_steps * run.packs - 1))
    return max(some, key=lambda batch: batch.tokens)


def estimate_memory(run: RunConfig, batch: Batch, *, bf16: bool) -> dict[str, float]:
    """Bytes of each part on one unsharded device, in eager mode; compiled code keeps less."""
    model = _shapes(run)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    held = sum(t.numel() for t in model.state_dict().values())
    step = trace(model, run.loss, batch, bf16=bf16)
    return {
        "weights": float(FLOAT * held),
        "optimiser": _states(model, run.optim),
        "average": float(FLOAT * held),
        "weights in bf16": float(step.casts),
        "activations": float(step.kept),
        "kernels": float(KERNELS),
        # with several batches a step, gradients are held while the next one is worked on
        "gradients and working": float(step.peak - step.kept - step.casts + (FLOAT * trained if run.packs > 1 else 0)),
    }


def describe(run: RunConfig, device: Device | None = None) -> str:
    """Memory, tokens per step, time and settings of a recipe here, for `minisora train --dry-run`.

    The time is based on the MFU of its reference run, if it has one and this is a CPU.

    device: None: `this_machine()`
    """
    device = this_machine() if device is None else device
    batch = largest_batch(run)
    bf16 = has_fast_bf16(default_device()) if run.bf16 is None else run.bf16
    memory = estimate_memory(run, batch, bf16=bf16)
    flops = batch.flops * run.packs
    mfu, whose = _expected_mfu(run, device)
    seconds = flops / (device.flops * mfu)
    whole = sum(memory.values())
    lines = [
        f"{run.name}: {_count(_shapes(run)):,} parameters, {run.all_steps:,} steps",
        f"a step: {batch.tokens * run.packs:,} tokens, {si(flops)}FLOP; {seconds:.3g} s at {mfu:.0%} of the "
        f"{si(device.flops)}FLOP/s of {device.name}{whose}; all steps {hours_in_words(run.all_steps * seconds / 3600)}",
        f"memory: {gb(whole)} of {gb(device.memory)}, plus Python and its libraries: "
        + ", ".join(f"{part} {gb(size)}" for part, size in memory.items()),
    ]
    if whole > device.memory:
        lines.append("this does not fit: make the batch smaller, or split the run over processes (minisora plan)")
    settings = {each.name: getattr(run, each.name) for each in fields(run)}
    lines += [
        "settings:",
        *(f"  {name}: {value}" for name, value in settings.items() if value is not None and not callable(value)),
    ]
    return "\n".join(lines)


def _expected_mfu(run: RunConfig, device: Device) -> tuple[float, str]:
    """Returns (mfu, source); references were run on a CPU, and their MFU is of whole steps."""
    reference = reference_of(run.settings()) if device.name == HERE else None
    return (MFU, "") if reference is None else (reference.mfu, ", as its reference had")


def _shapes(run: RunConfig) -> nn.Module:
    """The model on the meta device, with activation checkpointing if the run has it."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "for .*: copying from a non-meta parameter")  # a build that reads weights
        model = run.build().train()
    if run.layout.recompute:
        checkpoint_activations(model)
    return model


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _states(model: nn.Module, optim: OptimConfig) -> float:
    """Bytes: two moments of AdamW, one of Muon."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    matrices: list[Tensor] = model.muon_params() if optim.muon_lr is not None else []  # type: ignore[operator]
    return float(FLOAT * (2 * trained - sum(p.numel() for p in matrices if p.requires_grad)))
