"""The training loop, one for all models; the loss is a function that it gets.

Each step is a function of (weights, step): batch, noise and learning rate follow from the step's
number. So a run that was stopped resumes bit for bit as an unbroken one, by the same command. Files
it writes:

    step-00000042/              the newest checkpoints of the stable phase
    cooldown-from-00000042/     a cool-down that begins there: its checkpoints, its log, its samples
    averaged/step-00000042.safetensors
                                EMA weights in bf16, where the run asks for them
    log.jsonl, samples/         log and samples of the stable phase

Here: stepping, skipping steps that are not finite, the log, when to save.
Not here: optimiser and clipping (optim.py), files (checkpoint.py), the run's configuration
(config.py, recipes.py).
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minisora.bundle import save_part
from minisora.device import (
    give_back_freed_memory,
    has_fast_bf16,
    keep_freed_memory,
    matmul_peak,
    peak_memory_bytes,
    use_affinity_threads,
)
from minisora.errors import UsageError
from minisora.train.checkpoint import Checkpoints, all_checkpoints, git_commit
from minisora.train.config import Batch, RunConfig, on_meta
from minisora.train.optim import EMA, AdaptiveClip, build_optimizers, fill_states, lr_scale, set_lr
from minisora.train.parallel import (
    Ranks,
    check_context,
    joined,
    main_process_first,
    mean_of_rows,
    prepare,
    sync_gradients,
    use_float8,
)
from minisora.train.reference import Reference, loss_warning, reference_of
from minisora.video.files import cannot_write
from minisora.workers.ahead import ahead
from minisora.workers.lock import one_run

NEVER_CHANGED = ("recipe", "seed", "packs", "origin", "content")  # settings that must match when a run resumes
MOST_SKIPS = 10  # consecutive steps that are not finite before the run gives up


@dataclass(frozen=True, kw_only=True)
class Phase:
    """The stable phase or a cool-down, which has its own folder for checkpoints and log.

    cooldown: the steps over which the learning rate falls to zero; empty in the stable phase
    """

    folder: Path
    stop: int
    batch: Callable[[int], Batch]
    cooldown: range = range(0)

    @property
    def name(self) -> str:
        return "cool-down" if self.cooldown else "stable"


class State:
    """Everything that changes during a run, which is the content of a checkpoint."""

    def __init__(self, config: RunConfig, ranks: Ranks, *, bf16: bool = False) -> None:
        torch.manual_seed(config.seed)
        self.model: nn.Module = config.build().to(ranks.device).train()
        prepare(self.model, ranks, compiled=config.compile, bf16=bf16, float8=config.float8)
        self.optimizers = build_optimizers(self.model, config.optim)
        fill_states(self.optimizers)
        self.clip = AdaptiveClip(config.optim.clip_sigmas)
        self.ema = EMA(self.model, config.ema_decay)
        self.step = 0
        self.skipped = 0
        self.skips_in_a_row = 0
        self.bf16 = bf16

    def tensors(self) -> dict[str, Any]:
        states = [optimizer.state_dict()["state"] for optimizer in self.optimizers]
        numbered = {str(n): {str(i): moments for i, moments in state.items()} for n, state in enumerate(states)}
        return {"model": self.model.state_dict(), "ema": self.ema.weights, "optimizers": numbered}

    def about(self) -> dict[str, Any]:
        return {"clip": self.clip.state_dict(), "skipped": self.skipped}

    def load(self, checkpoints: Checkpoints, config: RunConfig, cooldown: range = range(0)) -> None:
        """Load the newest checkpoint; UsageError if it is of another run or another cool-down."""
        if not all_checkpoints(checkpoints.folder):
            return
        about = checkpoints.load_newest(self.tensors())
        if about is None:
            raise UsageError(f"no checkpoint in {checkpoints.folder} is whole. Remove them to start over.")
        settings = config.settings()
        for name in NEVER_CHANGED:
            now = settings[name]
            if (was := about["run"].get(name, now)) != now:
                raise UsageError(
                    f"{checkpoints.folder} holds a run with another {name}: {was!r} there, {now!r} asked for. "
                    "Give another --folder, or remove it."
                )
        if (steps := about.get("cooldown_steps", 0)) != len(cooldown):
            raise UsageError(
                f"{checkpoints.folder} holds a cool-down of {steps} steps, {len(cooldown)} asked for. "
                f"Give --cooldown-steps {steps}, or remove it."
            )
        self.clip.load_state_dict(about["clip"])
        self.skipped, self.step = about["skipped"], about["step"]

    def update(self, norm: float, loss: float, rate: float) -> None:
        """Step the optimizers if norm and loss are finite; UsageError after MOST_SKIPS skips."""
        if math.isfinite(norm) and math.isfinite(loss):
            set_lr(self.optimizers, rate)
            for optimizer in self.optimizers:
                optimizer.step()
            self.ema.update(self.model, self.step)
            self.skips_in_a_row = 0
        else:
            self.skipped += 1
            self.skips_in_a_row += 1
            if self.skips_in_a_row == MOST_SKIPS:
                raise UsageError(
                    f"{MOST_SKIPS} steps in a row were not finite (step {self.step}). The newest checkpoint is from "
                    "before. Lower the learning rate, or look at the batch of this step."
                )
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.step += 1


def run(config: RunConfig, folder: Path, *, stop_at: int | None = None, cool_now: bool = False) -> nn.Module:
    """Train through the stable phase and cool down; resume from the newest checkpoint in `folder`.

    Under torchrun every process calls this alike. Batches, noise and learning rate are functions of
    the step.

    stop_at:  stop before this step
    cool_now: cool down the newest checkpoint of the stable phase, whatever `config.steps` says
    returns   a model with the EMA weights, after `config.publish` has written them to `folder`;
        Ctrl-C and SIGTERM save a checkpoint and return without publishing

    Raises UsageError after MOST_SKIPS consecutive steps whose loss or gradient is not finite.
    """
    with joined(config.layout) as ranks, ExitStack() as held:
        if ranks.is_first:
            held.enter_context(one_run(folder, "or give another --folder"))
        return _run(config, folder, ranks, stop_at, cool_now)


def _run(config: RunConfig, folder: Path, ranks: Ranks, stop_at: int | None, cool_now: bool) -> nn.Module:
    ranks.share(config.packs)  # refused before there is any data
    if config.layout.context > 1:
        check_context(on_meta(config.build), config.layout.context)
    if config.float8:
        use_float8(on_meta(config.build), ranks.device)
    if cool_now and not all_checkpoints(folder):
        raise UsageError(f"{folder} holds no checkpoint to cool down. Leave out --cool-down, and let the run begin.")
    if cool_now and not config.cooldown_steps:
        raise UsageError(
            f"{config.name} has no cool-down of its own: give --cooldown-steps, a tenth of its steps or so."
        )
    if config.prepare is not None:
        config = main_process_first(ranks, partial(config.prepare, config))
    threads = use_affinity_threads()
    keep_freed_memory()
    bf16 = has_fast_bf16(ranks.device) if config.bf16 is None else config.bf16
    folder.mkdir(parents=True, exist_ok=True)
    state = State(config, ranks, bf16=bf16)
    peak = matmul_peak(ranks.device, torch.bfloat16 if bf16 else torch.float32)
    precision = ("bf16" if bf16 else "fp32") + (" and float8" if config.float8 else "")
    parameters = sum(p.numel() for p in state.model.parameters())
    ranks.say(
        f"{config.name}: {parameters:,} parameters, {ranks.count} x {ranks.device} with {threads} threads, "
        f"{precision}, peak {peak / 1e12:.2f} TFLOP/s"
    )
    last = config.all_steps if stop_at is None else stop_at
    with Interrupt() as interrupt:
        stable = Phase(folder=folder, stop=0 if cool_now else min(last, config.steps), batch=config.batch)
        stopped = _train(config, stable, state, ranks, interrupt, peak)
        start, steps = state.step, config.cooldown_steps
        if steps and not stopped and (stop_at is None or stop_at > start) and (cool_now or start >= config.steps):
            cooled = Phase(
                folder=folder / f"cooldown-from-{start:08d}",
                stop=start + steps if stop_at is None else min(start + steps, stop_at),
                batch=config.cooldown_batch or config.batch,
                cooldown=range(start, start + steps),
            )
            stopped = _train(config, cooled, state, ranks, interrupt, peak)
    averaged = _averaged(config, state)
    if stopped:
        ranks.say(f"stopped at step {state.step}; the same command goes on from there")
    else:
        main_process_first(ranks, lambda: config.publish(averaged, folder, state.step) if ranks.is_first else None)
    return averaged


def _train(config: RunConfig, phase: Phase, state: State, ranks: Ranks, interrupt: Interrupt, peak: float) -> bool:
    """Run one phase from its newest checkpoint on. Returns True if the run was asked to stop."""
    background = ranks.device.type == "cuda"
    checkpoints = Checkpoints(phase.folder, ranks, background=background, keep=config.keep)
    state.load(checkpoints, config, phase.cooldown)
    reference = None if phase.cooldown else reference_of(config.settings())
    phase.folder.mkdir(parents=True, exist_ok=True)
    log = Log(phase, peak, ranks, reference)
    if state.step < phase.stop:
        ranks.say(
            f"{phase.name}: step {state.step} of {phase.stop}"
            + (f"; its loss is held against a reference up to step {reference.steps[-1]:.0f}" if reference else "")
        )
    saved_at, saved_step, stopped = time.monotonic(), state.step, False
    own = ranks.share(config.packs)
    trained = [p for p in state.model.parameters() if p.requires_grad]
    numbers = (step * config.packs + n for step in range(state.step, phase.stop) for n in own)
    with contextlib.closing(ahead(phase.batch, numbers, workers=config.prefetch)) as batches:
        while state.step < phase.stop and not stopped:
            loss = _backward(config, state, ranks, batches, log)
            norm, bound = state.clip(trained)
            due = time.monotonic() - saved_at > config.save_every_seconds
            loss, asked, due_now = ranks.total(loss, interrupt.asked, due and ranks.is_first)
            rate = lr_scale(state.step, config.optim.warmup_steps, phase.cooldown)
            state.update(norm, loss, rate)
            stopped = asked > 0
            log.stepped(norm, clipped=norm > bound)
            if state.step % config.log_every == 0 or state.step == phase.stop:
                log.write(state.step, rate=rate, skipped=state.skipped)
                checkpoints.finish()
                give_back_freed_memory()
            if due_now:
                _save(checkpoints, state, config, phase)
                saved_at, saved_step = time.monotonic(), state.step
            _show(config, phase, state, ranks)
    if state.step > saved_step or not state.step:
        _save(checkpoints, state, config, phase)
    checkpoints.finish()
    return stopped


def _backward(config: RunConfig, state: State, ranks: Ranks, batches: Iterator[Batch], log: Log) -> float:
    """Accumulate gradients over this process's micro-batches; returns the sum of losses."""
    own, loss = ranks.share(config.packs), 0.0
    for n in own:
        wait = time.monotonic()
        batch = next(batches).to(ranks.device)
        wait = time.monotonic() - wait
        number = state.step * config.packs + n
        noise = torch.Generator(ranks.device).manual_seed(config.seed * 1_000_003 + number)
        sync_gradients(state.model, n == own[-1])
        with torch.autocast(ranks.device.type, torch.bfloat16, enabled=state.bf16):
            parts = config.loss(state.model, batch, noise)
        # gradients are averaged over processes, but those that share a pack hold parts of one
        (parts["loss"] * config.layout.context / len(own)).backward()
        loss += float(parts["loss"].detach())
        log.add(batch, parts, wait=wait)
    return loss


def _save(checkpoints: Checkpoints, state: State, config: RunConfig, phase: Phase) -> None:
    settings = {"run": config.settings(), "cooldown_steps": len(phase.cooldown), "git": git_commit()}
    checkpoints.save(state.step, state.tensors(), {**state.about(), **settings})


def _averaged(config: RunConfig, state: State) -> nn.Module:
    """A model with the full EMA weights, in CPU memory as a GPU may only hold its shard."""
    model = config.build().eval()
    model.load_state_dict(state.ema.whole())
    return config.published(model)


def _show(config: RunConfig, phase: Phase, state: State, ranks: Ranks) -> None:
    """Write samples and EMA weights at the steps for which the run asks for them."""
    name = f"step-{state.step:08d}"
    kept = not phase.cooldown and state.step in config.averages_at
    preview = config.preview if state.step % config.preview_every == 0 else None
    if not kept and preview is None:
        return
    averaged = _averaged(config, state)

    def write() -> None:
        if kept:
            path = phase.folder / "averaged" / f"{name}.safetensors"
            path.parent.mkdir(exist_ok=True)
            save_part(averaged, path)
        if preview is not None:
            samples = phase.folder / "samples" / name
            samples.mkdir(parents=True, exist_ok=True)
            preview(averaged, samples)

    main_process_first(ranks, lambda: write() if ranks.is_first else None)


class Interrupt:
    """SIGINT and SIGTERM ask the loop to save and stop; a second one stops at once."""

    asked = False

    def __enter__(self) -> Interrupt:
        self.before = {}
        with contextlib.suppress(ValueError):  # raised outside the main thread, where signals are left to the caller
            for number in (signal.SIGINT, signal.SIGTERM):
                self.before[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


class Log:
    """One readable line and one JSON line every `log_every` steps, written by rank 0.

    MFU is useful FLOPs (`Batch.flops`) per second over the FLOP/s of a square matmul, measured when
    the run began.
    """

    def __init__(self, phase: Phase, peak: float, ranks: Ranks, reference: Reference | None) -> None:
        self.path, self.peak, self.ranks, self.reference = phase.folder / "log.jsonl", peak, ranks, reference
        self.mark = f"{phase.name}  " if phase.cooldown else ""
        self.warned = False
        self._clear()

    def _clear(self) -> None:
        self.began = time.monotonic()
        self.tokens = self.steps = self.clipped = 0
        self.flops = self.wait = self.norm = 0.0
        self.parts: dict[str, list[Tensor]] = {}

    def add(self, batch: Batch, parts: dict[str, Tensor], *, wait: float) -> None:
        """Count one micro-batch of this process."""
        self.tokens += batch.tokens
        self.flops += batch.flops
        self.wait += wait
        for name, value in parts.items():
            self.parts.setdefault(name, []).append(value.detach())

    def stepped(self, norm: float, *, clipped: bool) -> None:
        """Count one optimizer step."""
        self.steps += 1
        self.norm += norm if math.isfinite(norm) else 0.0
        self.clipped += clipped

    def write(self, step: int, *, rate: float, skipped: int) -> None:
        seconds = time.monotonic() - self.began
        means = {name: float(torch.stack(values).float().nanmean(0)) for name, values in self.parts.items()}
        means = mean_of_rows(self.ranks.gather(means))
        memory = max(self.ranks.gather(peak_memory_bytes(self.ranks.device)))
        tokens, flops, wait = self.ranks.total(self.tokens, self.flops, self.wait)
        groups = self.ranks.layout.context  # processes that share one micro-batch
        row = {
            "step": step,
            **means,
            "rate": rate,
            "norm": self.norm / self.steps,
            "clipped": self.clipped / self.steps,
            "seconds_per_step": seconds / self.steps,
            "tokens_per_second": tokens / groups / seconds,
            "mfu": flops / groups / seconds / (self.peak * self.ranks.count),
            "wait_share": wait / self.ranks.count / seconds,
            "memory_bytes": memory,
            "skipped": skipped,
        }
        self._clear()
        if not self.ranks.is_first:
            return
        # a time bin without tokens has a loss of NaN, which JSON cannot hold
        finite = {k: v for k, v in row.items() if not isinstance(v, float) or math.isfinite(v)}
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(finite) + "\n")
        except OSError as error:
            raise cannot_write(self.path, error) from error
        parts = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
        self.ranks.say(
            f"{step:>7}  {self.mark}{parts}  |g| {row['norm']:.2f}  {row['tokens_per_second']:,.0f} tok/s  "
            f"MFU {row['mfu']:.0%}  wait {row['wait_share']:.0%}  {memory / 2**30:.1f} GiB"
            + (f"  skipped {skipped}" if skipped else "")
        )
        warning = loss_warning(self.reference, step, means["loss"]) if self.reference is not None else None
        if warning is not None and not self.warned:
            self.ranks.say(f"note: {warning}")
        self.warned = warning is not None
