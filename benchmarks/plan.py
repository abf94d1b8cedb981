"""What a plan says of a step's time, against the step itself.

    python benchmarks/plan.py
    python benchmarks/plan.py --widths 256 512 --clip-tokens 80 320 --steps 5

The plan knows the rate of a matmul and of memory, measured in the same run, and assumes an MFU: the
median of the lines. How far they stray from it says how far one MFU serves all sizes. Medians, with
the fastest and the slowest step; eager, AdamW, float32 weights, bf16 products where the CPU has
them fast.

Memory is held against the system's count in tests/runs/test_plan.py, one process for each recipe.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch
from train_step import WORDS, batch_of

from minisora.device import default_device, has_fast_bf16, use_affinity_threads
from minisora.dit.model import DiT, DiTConfig
from minisora.runs.devices import Device, this_machine
from minisora.runs.estimate import dit_work
from minisora.runs.layouts import Work, seconds_of
from minisora.train.config import OptimConfig
from minisora.train.optim import EMA, build_optimizers
from minisora.train.parallel import Layout
from minisora.train.velocity import dit_loss


def measure(config: DiTConfig, clip_tokens: int, tokens: int, steps: int) -> list[float]:
    """Seconds of each step, after two that are not counted."""
    device = default_device()
    torch.manual_seed(0)
    dit = DiT(config).to(device)
    optimizers, ema = build_optimizers(dit, OptimConfig(lr=1e-4)), EMA(dit, 0.999)
    batch = batch_of(config, clip_tokens, tokens).to(device)
    noise = torch.Generator(device).manual_seed(0)
    taken = []
    for _ in range(steps + 2):
        began = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bf16(device)):
            loss = dit_loss(dit, batch, noise)["loss"]
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        ema.update(dit, 0)
        float(next(dit.parameters()).flatten()[0])  # waits for the device
        taken.append(time.perf_counter() - began)
    return taken[2:]


def planned(work: Work, device: Device, mfu: float) -> dict[str, float]:
    return seconds_of(work, Layout(), 1, 1, 1, device, mfu)


def reached(work: Work, device: Device, seconds: float) -> float:
    """MFU of the arithmetic of a step that took so long."""
    return 3 * work.forward / device.flops / (seconds - planned(work, device, 1.0)["updating"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 384, 512], help="multiples of 64")
    parser.add_argument("--clip-tokens", type=int, nargs="+", default=[80, 320])
    parser.add_argument("--tokens", type=int, default=4096, help="of a step")
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--steps", type=int, default=7)
    asked = parser.parse_args()
    threads, device = use_affinity_threads(), this_machine()
    print(f"{threads} threads on {device.name}, {device.flops / 1e12:.2f} TFLOP/s, {device.bandwidth / 1e9:.0f} GB/s")
    lines: list[tuple[str, Work, list[float]]] = []
    for width in asked.widths:
        for clip_tokens in asked.clip_tokens:
            config = DiTConfig(
                width=width, depth=asked.depth, num_heads=width // 64, mlp_width=4 * width, text_width=384
            )
            clips = max(1, asked.tokens // clip_tokens)
            work = dit_work(config, (clip_tokens,) * clips, (WORDS,) * clips, OptimConfig(lr=1e-4))
            taken = measure(config, clip_tokens, asked.tokens, asked.steps)
            lines.append((f"width {width}, {clip_tokens} tokens a clip", work, taken))
    mfu = median(reached(work, device, median(taken)) for _, work, taken in lines)
    for name, work, taken in lines:
        told, middle = sum(planned(work, device, mfu).values()), median(taken)
        print(
            f"{name}: planned {told:.3f} s at {mfu:.0%} MFU, measured {middle:.3f} s ({min(taken):.3f} to "
            f"{max(taken):.3f}) at {reached(work, device, middle):.0%}, {told / middle:.2f} of it"
        )


if __name__ == "__main__":
    main()
