"""What a run takes before it is begun: parameters, FLOPs, memory, the fastest layout, hours, cost, storage.

    plan_model(known("wan-1.3b"), *devices_named("64xH100"), seconds=5, samples=10_000_000, price=2.5)
    plan_run(recipe, *devices_named("8xH100"))
    describe(recipe)    a few lines on this machine, before a run

Assumed, and said in every plan: the MFU of the arithmetic, and that latents and text states are made beforehand, so
that neither the VAE nor the text encoder is in memory. What was measured against this is in docs/plan.md.

Here: the plan as a value and as text. Not here: devices.py, layouts.py, memory.py, which it puts together.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from minisora.data.latents import LatentBatch
from minisora.device import default_device, has_fast_bf16
from minisora.dit.model import DiT, DiTConfig
from minisora.errors import UsageError
from minisora.runs.devices import HERE, Device, this_machine
from minisora.runs.known import Known
from minisora.runs.layouts import FLOAT, HALF, Placed, Work, fastest
from minisora.runs.memory import StepMemory, trace
from minisora.train.config import Batch, OptimConfig, RunConfig
from minisora.train.latents import INSIDE
from minisora.train.parallel import recompute_parts
from minisora.train.reference import reference_of
from minisora.train.velocity import dit_loss, sketch
from minisora.vae.codec import Strides

if TYPE_CHECKING:
    from rich.table import Table as RichTable

MFU = 0.4  # of the arithmetic alone: whole runs publish 0.38 (Seaweed-7B, arXiv:2504.08685) to 0.43 (Llama 3 405B)
TRACED_TOKENS = 2**16  # so many that weights and their gradients are small beside what is kept of the tokens
KERNELS = 2**25  # bytes that matmuls and the allocator take beside tensors: 20 to 57 MB measured, whatever the size
BITS_PER_PIXEL = 0.1  # of h264 as it is found on the web, 1.2 Mbit/s at 832x480 and 30 frames a second
ADAMW = OptimConfig(lr=1e-4)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a run takes, on paper. Bytes, seconds and FLOPs; `memory` is of one device, `seconds` of one step.

    whose:   MFU it is, in words to follow it
    sample:  what `samples` counts, in words
    beside:  bytes that making latents and text states takes, before training
    storage: bytes of the data, each sample seen once
    """

    name: str
    device: Device
    mfu: float
    parameters: int
    sample: str
    tokens: int
    forward: float
    samples: int
    price: float | None
    placed: Placed
    whose: str = ""
    beside: dict[str, float] = field(default_factory=dict)
    storage: dict[str, float] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        return -(-self.samples // self.placed.batch)

    @property
    def hours(self) -> float:
        return self.steps * self.placed.step_seconds / 3600

    @property
    def cost(self) -> float | None:
        return None if self.price is None else self.price * self.hours * self.placed.count

    @property
    def whole_mfu(self) -> float:
        """Useful FLOPs of a step over what the devices could do in its time."""
        useful = 3 * self.forward * self.placed.batch
        return useful / self.placed.step_seconds / (self.placed.count * self.device.flops)

    @property
    def limit(self) -> str:
        """What the step waits for most, and whether more memory would help."""
        part, seconds = max(self.placed.seconds.items(), key=lambda item: item[1])
        told = f"{part}, {seconds / self.placed.step_seconds:.0%} of a step"
        return told + ("; memory: what is cheap is worked out twice" if self.placed.layout.recompute else "")

    def to_json(self) -> str:
        told = {name: getattr(self, name) for name in ("steps", "hours", "cost", "whole_mfu", "limit")}
        return json.dumps({**asdict(self), **told}, indent=2)

    def rows(self) -> list[tuple[str, str]]:
        """What it says, line by line: a heading, or nothing, and the text."""
        placed, layout = self.placed, self.placed.layout
        split = placed.count // layout.replicate
        flops = 3 * self.forward * placed.batch
        rows = [
            ("model", f"{self.name}, {self.parameters:,} parameters"),
            ("devices", f"{placed.count} x {self.device.name}, {si(self.device.flops)}FLOP/s each"),
            ("sample", f"{self.sample}: {self.tokens:,} tokens, {si(self.forward)}FLOP forward, twice that backward"),
            ("layout", f"weights split over {split}, {layout.replicate} copies; a sample on {layout.context} devices"),
            ("", f"packs of {placed.samples}, {placed.packs} packs a step; {_kept(layout.recompute)}"),
            ("", f"--replicate {layout.replicate} --context {layout.context}" + " --recompute" * layout.recompute),
            ("memory", f"{gb(placed.bytes)} of {gb(self.device.memory)} on each device"),
            *(("", f"{part} {gb(size)}") for part, size in placed.memory.items()),
            ("step", f"{placed.step_seconds:.3g} s for {placed.batch:,} samples, {si(flops)}FLOP"),
            *(("", f"{part} {seconds:.3g} s") for part, seconds in placed.seconds.items() if seconds > 0),
            ("assumed", f"{self.mfu:.0%} MFU of the arithmetic{self.whose}; with all the rest {self.whole_mfu:.0%}"),
            ("limit", self.limit),
            ("run", f"{self.samples:,} samples, {self.steps:,} steps, {_hours(self.hours)}"),
        ]
        if self.cost is not None:
            rows.append(("cost", f"{self.cost:,.0f} at {self.price:g} for a device and hour"))
        rows += [
            ("storage" if n == 0 else "", f"{what} {gb(size)}") for n, (what, size) in enumerate(self.storage.items())
        ]
        rows += [
            ("before" if n == 0 else "", f"{what} {gb(size)}") for n, (what, size) in enumerate(self.beside.items())
        ]
        return rows

    def __str__(self) -> str:
        return "\n".join(f"{head:<9}{text}" for head, text in self.rows())

    def __rich__(self) -> RichTable:
        from rich.table import Table

        grid = Table.grid(padding=(0, 2))
        for head, text in self.rows():
            grid.add_row(f"[bold]{head}[/]", text)
        return grid


def _kept(recompute: bool) -> str:
    return (
        "all but matmuls and attention worked out again in the backward pass"
        if recompute
        else "nothing worked out twice"
    )


def plan_model(
    model: Known,
    count: int,
    device: Device,
    *,
    size: tuple[int, int] | None = None,
    seconds: float | None = None,
    fps: float | None = None,
    samples: int = 1_000_000,
    batch: int | None = None,
    mfu: float = MFU,
    price: float | None = None,
) -> Plan:
    """A plan for clips of one size and length, AdamW for all weights.

    size:    (height, width); this, `seconds` and `fps` are the model's own where not given
    samples: clips seen in training
    batch:   clips of a step; None: as many as are fast

    Raises UsageError for a size or length that the model cannot have, and where nothing fits.
    """
    config = model.config
    height, width = model.size if size is None else size
    fps = model.fps if fps is None else fps
    num_frames = 1 + _whole_groups((model.seconds if seconds is None else seconds) * fps, fps, model.strides)
    pt, ph, pw = config.patch
    for side, cells, name in ((height, ph, "height"), (width, pw, "width")):
        if side % (unit := model.strides.pixels * cells):
            down = max(unit, side // unit * unit)
            raise UsageError(
                f"{model.name} has no {name} of {side}: use a multiple of {unit}, {down} or {down + unit}."
            )
    latents = model.strides.num_latents(num_frames)
    rows, columns = height // model.strides.pixels, width // model.strides.pixels
    tokens = -(-latents // pt) * (rows // ph) * (columns // pw)
    text_tokens = config.text_pad or model.text_tokens
    work = dit_work(config, (tokens,), (text_tokens,), ADAMW)
    placed = fastest(work, device, count, mfu=mfu, batch=batch)
    stored = (2 * latents + INSIDE) * rows * columns * config.latent_channels  # singles too, see train/latents.py
    return Plan(
        name=model.name,
        device=device,
        mfu=mfu,
        parameters=work.parameters,
        sample=f"{width}x{height}, {num_frames} frames at {fps:g} a second",
        tokens=tokens,
        forward=work.forward,
        samples=samples,
        price=price,
        placed=placed,
        storage={
            "latents in float16, single frames too": float(HALF * stored * samples),
            f"text states in float16, {model.text_tokens} tokens": float(
                HALF * model.text_tokens * config.text_width * samples
            ),
            f"clips in h264 at {BITS_PER_PIXEL:g} bits a pixel": BITS_PER_PIXEL
            / 8
            * num_frames
            * height
            * width
            * samples,
        },
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
    """A plan for a recipe on these devices. A sample is a batch of the recipe, such as a pack of its token budget.

    mfu: None for what can be expected, as in `describe`
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
    """A sample of these clips, on devices whose attention keeps queries, keys, values and results only."""
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
    return trace(model, dit_loss, sketch(config, (TRACED_TOKENS, 1, 1), tokens=TRACED_TOKENS, words=text), bf16=True)


def _work(run: RunConfig, batch: Batch) -> Work:
    """A recipe's batch as a sample."""
    model = _shapes(run)
    if isinstance(model, DiT) and isinstance(batch, LatentBatch):
        work = dit_work(model.config, batch.clean.lengths, batch.clean.text_lengths, run.optim)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        return replace(work, parameters=_count(model), trained=trained, states=_states(model, run.optim))
    step = trace(model, run.loss, batch, bf16=True)
    parts: list[nn.Module] = model.parts() if hasattr(model, "parts") else [model]  # type: ignore[operator]
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
    """Of the first and the last step of each phase, between which a recipe may change what it draws."""
    some = [run.batch(0), run.batch(run.steps * run.packs - 1)]
    if run.cooldown_steps and run.cooldown_batch is not None:
        some.append(run.cooldown_batch(run.all_steps * run.packs - 1))
    return max(some, key=lambda batch: batch.tokens)


def estimate_memory(run: RunConfig, batch: Batch, *, bf16: bool) -> dict[str, float]:
    """Bytes of each part on one device that holds all of it, for the code as it runs here; compiled, it keeps less."""
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
        # of several batches the gradients lie beside all of the next one
        "gradients and working": float(step.peak - step.kept - step.casts + (FLOAT * trained if run.packs > 1 else 0)),
    }


def describe(run: RunConfig, device: Device | None = None) -> str:
    """Memory, tokens a step, time and settings of a recipe on this machine, for `minisora train --dry-run`.

    Its time is that of its reference run's share of the peak, where it has one and this is a CPU.

    device: as this_machine() measures it
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
        f"{si(device.flops)}FLOP/s of {device.name}{whose}; all steps {_hours(run.all_steps * seconds / 3600)}",
        f"memory: {gb(whole)} of {gb(device.memory)}, beside Python and its libraries: "
        + ", ".join(f"{part} {gb(size)}" for part, size in memory.items()),
    ]
    if whole > device.memory:
        lines.append("this does not fit: make the batch smaller, or split the run over processes (minisora plan)")
    told = {each.name: getattr(run, each.name) for each in fields(run)}
    lines += [
        "settings:",
        *(f"  {name}: {value}" for name, value in told.items() if value is not None and not callable(value)),
    ]
    return "\n".join(lines)


def _expected_mfu(run: RunConfig, device: Device) -> tuple[float, str]:
    """And whose it is: references were run on a CPU, and their MFU is of whole steps."""
    reference = reference_of(run.settings()) if device.name == HERE else None
    return (MFU, "") if reference is None else (reference.mfu, ", as its reference had")


def _shapes(run: RunConfig) -> nn.Module:
    """The model without its numbers, recomputing what the run would."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "for .*: copying from a non-meta parameter")  # a build that reads weights
        model = run.build().train()
    if run.layout.recompute:
        recompute_parts(model)
    return model


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _states(model: nn.Module, optim: OptimConfig) -> float:
    """Bytes: two moments of AdamW, one of Muon."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    matrices: list[Tensor] = model.matrices() if optim.muon_lr is not None else []  # type: ignore[operator]
    return float(FLOAT * (2 * trained - sum(p.numel() for p in matrices if p.requires_grad)))


def _whole_groups(frames: float, fps: float, strides: Strides) -> int:
    group = strides.frames
    if abs(frames - round(frames)) > 1e-6 or round(frames) % group:
        down = max(group, int(frames // group) * group)
        raise UsageError(
            f"{frames / fps:g} s at {fps:g} frames a second are not whole groups of {group} frames: "
            f"use {down / fps:g} or {(down + group) / fps:g} s."
        )
    return round(frames)


def si(value: float) -> str:
    """1.42e9 -> "1.42 G", for a unit to follow."""
    for power, letter in ((18, "E"), (15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if value >= 0.9995 * 10**power:  # what .3g would round up to it
            return f"{value / 10**power:.3g} {letter}"
    return f"{value:.3g} "


def gb(size: float) -> str:
    return f"{si(size)}B"


def _hours(hours: float) -> str:
    return f"{hours / 24:,.1f} days" if hours >= 48 else f"{hours:.3g} h" if hours >= 1 else f"{hours * 60:.2g} min"
