"""The one training loop: for the VAE, the transformer and the rest, taking the loss.

Each step is a function of (weights, step): the batch, the noise and the learning rate are drawn from the step's number.
So a run that was stopped goes on bit for bit as an unbroken one would have, by the same command.

Here: stepping, skipping what is not finite, the log, when to save.
Not here: optimiser and clipping (optim.py), files (checkpoint.py), what a run is (config.py, recipes.py).
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minisora.data.ahead import ahead
from minisora.data.lock import one_run
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
from minisora.train.optim import EMA, AdaptiveClip, build_optimizers, fill_states, rate_at, set_rate
from minisora.train.parallel import Ranks, check_context, in_turn, joined, mean_of_rows, prepare, syncs, use_float8
from minisora.train.reference import Reference, off_course, reference_of
from minisora.video.files import cannot_write

NEVER_CHANGED = ("recipe", "seed", "packs", "origin")  # of a run's settings, on the way
MOST_SKIPS = 10  # steps in a row that may be not finite before the run gives up


class State:
    """All that changes while a run goes on; what a checkpoint holds."""

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

    def tensors(self) -> dict[str, Any]:
        states = [optimizer.state_dict()["state"] for optimizer in self.optimizers]
        numbered = {str(n): {str(i): moments for i, moments in state.items()} for n, state in enumerate(states)}
        return {"model": self.model.state_dict(), "ema": self.ema.weights, "optimizers": numbered}

    def about(self) -> dict[str, Any]:
        return {"clip": self.clip.state_dict(), "skipped": self.skipped}

    def load(self, checkpoints: Checkpoints, config: RunConfig) -> None:
        """The newest checkpoint, if there is one. Raises UsageError for one of another run."""
        if not all_checkpoints(checkpoints.folder):
            return
        about = checkpoints.load_newest(self.tensors())
        if about is None:
            raise UsageError(f"no checkpoint in {checkpoints.folder} is whole. Remove them to begin anew.")
        settings = config.settings()
        for name in NEVER_CHANGED:
            now = settings[name]
            if (was := about["run"].get(name, now)) != now:
                raise UsageError(
                    f"{checkpoints.folder} holds a run with another {name}: {was!r} there, {now!r} asked for. "
                    "Give another --folder, or remove it."
                )
        self.clip.load_state_dict(about["clip"])
        self.skipped, self.step = about["skipped"], about["step"]


def run(config: RunConfig, folder: Path, *, stop_at: int | None = None) -> nn.Module:
    """Train until `config.steps`, or until `stop_at`; go on from the newest checkpoint in `folder`.

    Under torchrun every process calls this alike. The loader's place, the noise and the rate are functions of the step.

    returns  a model with the averaged weights, after `config.publish` has written them to `folder`; Ctrl-C and
             SIGTERM save and return without that

    Raises UsageError when ten steps in a row give a loss or a gradient that is not finite.
    """
    with joined(config.layout) as ranks, ExitStack() as held:
        if ranks.is_first:
            held.enter_context(one_run(folder, "or give another --folder"))
        return _run(config, folder, ranks, stop_at)


def _run(config: RunConfig, folder: Path, ranks: Ranks, stop_at: int | None) -> nn.Module:
    own = ranks.share(config.packs)
    if config.layout.context > 1:
        check_context(on_meta(config.build), config.layout.context)
    if config.float8:
        use_float8(on_meta(config.build), ranks.device)
    if config.prepare is not None:
        config = in_turn(ranks, partial(config.prepare, config))
    threads = use_affinity_threads()
    keep_freed_memory()
    bf16 = has_fast_bf16(ranks.device) if config.bf16 is None else config.bf16
    folder.mkdir(parents=True, exist_ok=True)
    state = State(config, ranks, bf16=bf16)
    checkpoints = Checkpoints(folder, ranks, background=ranks.device.type == "cuda", keep=config.keep)
    state.load(checkpoints, config)
    peak = matmul_peak(ranks.device, torch.bfloat16 if bf16 else torch.float32)
    reference = reference_of(config.settings())
    log = Log(folder / "log.jsonl", peak, ranks, reference)
    precision = ("bf16" if bf16 else "fp32") + (" and float8" if config.float8 else "")
    log.say(
        f"{config.name}: step {state.step} of {config.steps}, {sum(p.numel() for p in state.model.parameters()):,} "
        f"parameters, {ranks.count} x {ranks.device} with {threads} threads, {precision}, "
        f"peak {peak / 1e12:.2f} TFLOP/s"
        + (f"; its loss is held against a reference up to step {reference.steps[-1]:.0f}" if reference else "")
    )
    last_step = config.steps if stop_at is None else min(stop_at, config.steps)
    saved_at, saved_step, skips_in_a_row, stopped = time.monotonic(), state.step, 0, False
    trained = [p for p in state.model.parameters() if p.requires_grad]
    numbers = (step * config.packs + n for step in range(state.step, last_step) for n in own)
    made = ahead(config.batch, numbers, workers=config.prefetch)
    with Interrupt() as interrupt, contextlib.closing(made) as batches:
        while state.step < last_step and not stopped:
            set_rate(state.optimizers, rate_at(state.step, config.steps, config.optim))
            loss = 0.0
            for n in own:
                wait = time.monotonic()
                batch = next(batches).to(ranks.device)
                wait = time.monotonic() - wait
                number = state.step * config.packs + n
                noise = torch.Generator(ranks.device).manual_seed(config.seed * 1_000_003 + number)
                syncs(state.model, n == own[-1])
                with torch.autocast(ranks.device.type, torch.bfloat16, enabled=bf16):
                    parts = config.loss(state.model, batch, noise)
                # gradients are averaged over all processes; those that share a pack each have a part of one
                (parts["loss"] * config.layout.context / len(own)).backward()
                loss += float(parts["loss"].detach())
                log.add(batch, parts, wait=wait)
            norm, bound = state.clip(trained)
            due = time.monotonic() - saved_at > config.save_every_seconds
            loss, asked, due_now = ranks.total(loss, interrupt.asked, due and ranks.is_first)
            if math.isfinite(norm) and math.isfinite(loss):
                for optimizer in state.optimizers:
                    optimizer.step()
                state.ema.update(state.model, state.step)
                skips_in_a_row = 0
            else:
                state.skipped += 1
                skips_in_a_row += 1
                if skips_in_a_row == MOST_SKIPS:
                    raise UsageError(
                        f"{MOST_SKIPS} steps in a row were not finite (step {state.step}). The newest checkpoint in "
                        f"{folder} is from before. Lower the learning rate, or look at the batch of this step."
                    )
            for optimizer in state.optimizers:
                optimizer.zero_grad(set_to_none=True)
            state.step += 1
            stopped = asked > 0
            log.stepped(norm, clipped=norm > bound)
            if state.step % config.log_every == 0 or state.step == last_step:
                log.write(state.step, rate=rate_at(state.step - 1, config.steps, config.optim), skipped=state.skipped)
                checkpoints.finish()
                give_back_freed_memory()
            if due_now:
                _save(checkpoints, state, config)
                saved_at, saved_step = time.monotonic(), state.step
            if config.preview is not None and state.step % config.preview_every == 0:
                _preview(config, state, ranks, folder / "samples" / f"step-{state.step:08d}")
    if state.step > saved_step or not state.step:
        _save(checkpoints, state, config)
    checkpoints.finish()
    averaged = _averaged(config, state)
    if stopped:
        log.say(f"stopped at step {state.step}; the same command goes on from there")
    else:
        in_turn(ranks, lambda: config.publish(averaged, folder) if ranks.is_first else None)
    return averaged


def _save(checkpoints: Checkpoints, state: State, config: RunConfig) -> None:
    about = {**state.about(), "run": config.settings(), "git": git_commit()}
    checkpoints.save(state.step, state.tensors(), about)


def _averaged(config: RunConfig, state: State) -> nn.Module:
    """A plain model, whole, in the memory of every process: a device may hold no more than its share."""
    model = config.build().eval()
    model.load_state_dict(state.ema.whole())
    return model


def _preview(config: RunConfig, state: State, ranks: Ranks, folder: Path) -> None:
    assert config.preview is not None
    preview, averaged = config.preview, _averaged(config, state)
    folder.mkdir(parents=True, exist_ok=True)
    in_turn(ranks, lambda: preview(averaged, folder) if ranks.is_first else None)


class Interrupt:
    """SIGINT and SIGTERM ask the loop to save and stop; a second one stops at once."""

    asked = False

    def __enter__(self) -> Interrupt:
        self.before = {}
        with contextlib.suppress(ValueError):  # not in the main thread: signals are the caller's
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
    """One line for people, one JSON line for programs, every `log_every` steps; the first process writes them.

    MFU is useful FLOPs (`Batch.flops`) a second over the rate of a square matmul measured when the run began.
    """

    def __init__(self, path: Path, peak: float, ranks: Ranks, reference: Reference | None) -> None:
        self.path, self.peak, self.ranks, self.reference = path, peak, ranks, reference
        self.was_off = False
        self._clear()

    def _clear(self) -> None:
        self.began = time.monotonic()
        self.tokens = self.steps = self.clipped = 0
        self.flops = self.wait = self.norm = 0.0
        self.parts: dict[str, list[Tensor]] = {}

    def say(self, text: str) -> None:
        if self.ranks.is_first:
            print(text, file=sys.stderr, flush=True)

    def add(self, batch: Batch, parts: dict[str, Tensor], *, wait: float) -> None:
        """One batch of this process."""
        self.tokens += batch.tokens
        self.flops += batch.flops
        self.wait += wait
        for name, value in parts.items():
            self.parts.setdefault(name, []).append(value.detach())

    def stepped(self, norm: float, *, clipped: bool) -> None:
        """One step of all of them."""
        self.steps += 1
        self.norm += norm if math.isfinite(norm) else 0.0
        self.clipped += clipped

    def write(self, step: int, *, rate: float, skipped: int) -> None:
        seconds = time.monotonic() - self.began
        means = {name: float(torch.stack(values).float().nanmean(0)) for name, values in self.parts.items()}
        means = mean_of_rows(self.ranks.gather(means))
        memory = max(self.ranks.gather(peak_memory_bytes(self.ranks.device)))
        tokens, flops, wait = self.ranks.total(self.tokens, self.flops, self.wait)
        groups = self.ranks.layout.context  # processes that were given the same batch
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
        # a bin in which no token fell is not a number, which JSON cannot say
        finite = {k: v for k, v in row.items() if not isinstance(v, float) or math.isfinite(v)}
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(finite) + "\n")
        except OSError as error:
            raise cannot_write(self.path, error) from error
        parts = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
        self.say(
            f"{step:>7}  {parts}  |g| {row['norm']:.2f}  {row['tokens_per_second']:,.0f} tok/s  MFU {row['mfu']:.0%}  "
            f"wait {row['wait_share']:.0%}  {memory / 2**30:.1f} GiB" + (f"  skipped {skipped}" if skipped else "")
        )
        said = off_course(self.reference, step, means["loss"]) if self.reference is not None else None
        if said is not None and not self.was_off:
            self.say(f"note: {said}")
        self.was_off = said is not None
