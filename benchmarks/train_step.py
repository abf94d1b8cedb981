"""A training step of the transformer by parts: forward, backward, optimiser.

Tokens/s and MFU, eager and compiled.

    python benchmarks/train_step.py
    python benchmarks/train_step.py --widths 256 --clip-tokens 80 --tokens 2048 --steps 10 --eager

A step is that of the training loop: bf16 autocast where the CPU has it fast, one backward pass,
clipping, AdamW, EMA. MFU is three times `DiTConfig.flops`, over the seconds, over the rate of a
matmul measured before and after each line's run; the better counts. Medians, with the fastest and
the slowest step.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch

from minisora.data.latents import LatentBatch
from minisora.data.pack import Pack, distinct_times
from minisora.data.patch import grid_positions
from minisora.device import default_device, has_fast_bf16, keep_freed_memory, matmul_peak, use_affinity_threads
from minisora.dit.model import DiT, DiTConfig
from minisora.train.config import OptimConfig
from minisora.train.optim import EMA, AdaptiveClip, build_optimizers
from minisora.train.velocity import dit_loss

GRIDS = {  # tokens of a 17-frame clip of 64, 96 and 128 pixels, of 29 frames of 128, of 17 of 320
    **{80: (5, 4, 4), 180: (5, 6, 6), 320: (5, 8, 8)},
    **{512: (8, 8, 8), 2000: (5, 20, 20)},
}
WORDS = 24  # text tokens of a clip


def batch_of(config: DiTConfig, clip_tokens: int, tokens: int) -> LatentBatch:
    """Clips of one size, one time each, all of it to generate."""
    frames, rows, columns = GRIDS[clip_tokens]
    clips = max(1, tokens // clip_tokens)
    lengths, text_lengths = (clip_tokens,) * clips, (WORDS,) * clips
    times, index = distinct_times(torch.rand(clips).repeat_interleave(clip_tokens))
    pack = Pack(
        tokens=torch.randn(clips * clip_tokens, config.token_channels),
        times=times,
        time_index=index,
        positions=grid_positions(torch.arange(frames), rows, columns).repeat(clips, 1),
        single=(torch.arange(clip_tokens) < rows * columns).repeat(clips),
        lengths=lengths,
        text=torch.randn(clips * WORDS, config.text_width),
        text_lengths=text_lengths,
    )
    loss_mask = torch.ones(clips * clip_tokens, dtype=torch.bool)
    return LatentBatch(pack, loss_mask, 3 * config.flops(lengths, text_lengths))


def now(device: torch.device) -> float:
    """Seconds, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(
    width: int, clip_tokens: int, *, depth: int, tokens: int, steps: int, warmup: int, compiled: bool, muon: bool
) -> str:
    device = default_device()
    bf16 = has_fast_bf16(device)
    dtype = torch.bfloat16 if bf16 else torch.float32
    torch.manual_seed(0)
    config = DiTConfig(width=width, depth=depth, num_heads=width // 64, mlp_width=4 * width, text_width=384)
    dit = DiT(config).to(device)
    if compiled:
        dit.compile_parts()
    optimizers = build_optimizers(dit, OptimConfig(lr=1e-4, muon_lr=1e-3 if muon else None))
    clip, ema = AdaptiveClip(3.0), EMA(dit, 0.999)
    batch = batch_of(config, clip_tokens, tokens).to(device)
    noise = torch.Generator(device).manual_seed(0)
    parts: dict[str, list[float]] = {"forward": [], "backward": [], "optimiser": []}

    def update() -> None:
        clip(list(dit.parameters()))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        ema.update(dit, 0)

    def forward() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return dit_loss(dit, batch, noise)["loss"]

    peak = matmul_peak(device, dtype)
    for step in range(warmup + steps):
        began = now(device)
        loss = forward()
        between = now(device)
        loss.backward()
        after = now(device)
        update()
        ended = now(device)
        if step >= warmup:
            for part, seconds in zip(parts.values(), (between - began, after - between, ended - after), strict=True):
                part.append(seconds)
    peak = max(peak, matmul_peak(device, dtype))
    whole = [sum(taken) for taken in zip(*parts.values(), strict=True)]
    middle = median(whole)
    name = f"width {width}, {clip_tokens} tokens a clip, {'compiled' if compiled else 'eager'}"
    shares = "  ".join(f"{part} {1000 * median(taken):.0f}" for part, taken in parts.items())
    return (
        f"{name:<42} {shares}  step {1000 * middle:.0f} ms ({1000 * min(whole):.0f} to {1000 * max(whole):.0f})  "
        f"{batch.tokens / middle:,.0f} tokens/s  MFU {batch.flops / middle / peak:.1%} of {peak / 1e12:.2f} TFLOP/s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 384, 512, 768], help="multiples of 64")
    parser.add_argument("--clip-tokens", type=int, nargs="+", default=list(GRIDS), choices=list(GRIDS))
    parser.add_argument("--tokens", type=int, default=4096, help="of a step")
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--eager", action="store_true", help="leave out the compiled lines")
    parser.add_argument("--muon", action="store_true", help="Muon for the matrices of the blocks")
    asked = parser.parse_args()
    keep_freed_memory()
    print(
        f"{use_affinity_threads()} threads on {default_device()}; depth {asked.depth}, {asked.tokens} tokens a step; ms"
    )
    for width in asked.widths:
        for clip_tokens in asked.clip_tokens:
            for compiled in (False,) if asked.eager else (False, True):
                line = measure(
                    width,
                    clip_tokens,
                    depth=asked.depth,
                    tokens=asked.tokens,
                    steps=asked.steps,
                    warmup=asked.warmup,
                    compiled=compiled,
                    muon=asked.muon,
                )
                print(line, flush=True)


if __name__ == "__main__":
    main()
