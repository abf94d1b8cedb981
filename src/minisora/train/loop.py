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
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minisora.data.ahead import ahead
from minisora.device import default_device, has_fast_bf16, matmul_peak, peak_memory_bytes, use_affinity_threads
from minisora.errors import UsageError
from minisora.train import checkpoint
from minisora.train.config import Batch, RunConfig
from minisora.train.optim import EMA, AdaptiveClip, build_optimizers, rate_at, set_rate

MOST_SKIPS = 10  # steps in a row that may be not finite before the run gives up


class State:
    """All that changes while a run goes on; what a checkpoint holds."""

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        self.model: nn.Module = config.build().to(device).train()
        self.optimizers = build_optimizers(self.model, config.optim)
        self.clip = AdaptiveClip(config.optim.clip_sigmas)
        self.ema = EMA(self.model, config.ema_decay)
        self.step = 0
        self.skipped = 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "clip": self.clip.state_dict(),
            "ema": self.ema.weights,
            "skipped": self.skipped,
        }

    def load(self, step: int, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            asked = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
            optimizer.load_state_dict(kept)
            for group, options in zip(optimizer.param_groups, asked, strict=True):
                group.update(options)  # the config's, which may have been changed since
        self.clip.load_state_dict(state["clip"])
        for name, value in state["ema"].items():
            self.ema.weights[name].copy_(value)
        self.skipped = state["skipped"]
        self.step = step


def run(config: RunConfig, folder: Path, *, stop_at: int | None = None) -> nn.Module:
    """Train until `config.steps`, or until `stop_at`; go on from the newest checkpoint in `folder`.

    returns  the model with the averaged weights, after `config.publish` has written them to `folder`; Ctrl-C and
             SIGTERM save and return without that

    Raises UsageError when ten steps in a row give a loss or a gradient that is not finite.
    """
    device = default_device()
    threads = use_affinity_threads()
    bf16 = has_fast_bf16(device) if config.bf16 is None else config.bf16
    folder.mkdir(parents=True, exist_ok=True)
    state = State(config, device)
    newest = checkpoint.load_newest(folder)
    if newest is not None:
        state.load(*newest)
    peak = matmul_peak(device, torch.bfloat16 if bf16 else torch.float32)
    log = Log(folder / "log.jsonl", peak)
    log.say(
        f"{config.name}: step {state.step} of {config.steps}, {sum(p.numel() for p in state.model.parameters()):,} "
        f"parameters, {device} with {threads} threads, {'bf16' if bf16 else 'fp32'}, peak {peak / 1e12:.2f} TFLOP/s"
    )
    if config.compile:
        state.model.compile_parts()  # type: ignore[operator]  # every trainable part has it
    last_step = config.steps if stop_at is None else min(stop_at, config.steps)
    saved_at, skips_in_a_row = time.monotonic(), 0
    made = ahead(config.batch, range(state.step, last_step), workers=config.prefetch)
    with Interrupt() as interrupt, contextlib.closing(made) as batches:
        while state.step < last_step and not interrupt.asked:
            wait = time.monotonic()
            batch = next(batches).to(device)
            wait = time.monotonic() - wait
            set_rate(state.optimizers, rate_at(state.step, config.steps, config.optim))
            noise = torch.Generator(device).manual_seed(config.seed * 1_000_003 + state.step)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                parts = config.loss(state.model, batch, noise)
            parts["loss"].backward()
            norm, bound = state.clip([p for p in state.model.parameters() if p.requires_grad])
            if math.isfinite(norm) and math.isfinite(float(parts["loss"].detach())):
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
            log.add(batch, parts, norm=norm, clipped=norm > bound, wait=wait)
            if state.step % config.log_every == 0 or state.step == last_step:
                log.write(state.step, rate=rate_at(state.step - 1, config.steps, config.optim), skipped=state.skipped)
            if time.monotonic() - saved_at > config.save_every_seconds:
                checkpoint.save(folder, state.step, state.state_dict())
                saved_at = time.monotonic()
    checkpoint.save(folder, state.step, state.state_dict())
    state.model.load_state_dict(state.ema.weights)
    averaged = state.model.eval()
    if interrupt.asked:
        log.say(f"stopped at step {state.step}; the same command goes on from there")
    else:
        config.publish(averaged, folder)
    return averaged


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
    """One line for people, one JSON line for programs, every `log_every` steps.

    MFU is useful FLOPs (`Batch.flops`) a second over the rate of a square matmul measured when the run began.
    """

    def __init__(self, path: Path, peak: float) -> None:
        self.path, self.peak = path, peak
        self._clear()

    def _clear(self) -> None:
        self.began = time.monotonic()
        self.tokens = self.steps = self.clipped = 0
        self.flops = self.wait = self.norm = 0.0
        self.parts: dict[str, list[Tensor]] = {}

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def add(self, batch: Batch, parts: dict[str, Tensor], *, norm: float, clipped: bool, wait: float) -> None:
        self.steps += 1
        self.tokens += batch.tokens
        self.flops += batch.flops
        self.wait += wait
        self.norm += norm if math.isfinite(norm) else 0.0
        self.clipped += clipped
        for name, value in parts.items():
            self.parts.setdefault(name, []).append(value.detach())

    def write(self, step: int, *, rate: float, skipped: int) -> None:
        seconds = time.monotonic() - self.began
        means = {name: float(torch.stack(values).float().nanmean(0)) for name, values in self.parts.items()}
        memory = peak_memory_bytes()
        row = {
            "step": step,
            **means,
            "rate": rate,
            "norm": self.norm / self.steps,
            "clipped": self.clipped / self.steps,
            "seconds_per_step": seconds / self.steps,
            "tokens_per_second": self.tokens / seconds,
            "mfu": self.flops / seconds / self.peak,
            "wait_share": self.wait / seconds,
            "memory_bytes": memory,
            "skipped": skipped,
        }
        with self.path.open("a") as file:
            # a bin in which no token fell is not a number, which JSON cannot say
            finite = {k: v for k, v in row.items() if not isinstance(v, float) or math.isfinite(v)}
            file.write(json.dumps(finite) + "\n")
        parts = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
        self.say(
            f"{step:>7}  {parts}  |g| {row['norm']:.2f}  {row['tokens_per_second']:,.0f} tok/s  MFU {row['mfu']:.0%}  "
            f"wait {row['wait_share']:.0%}  {memory / 2**30:.1f} GiB" + (f"  skipped {skipped}" if skipped else "")
        )
        self._clear()
