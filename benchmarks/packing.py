"""Packing clips of mixed sizes and lengths: end to end, in buckets of one shape, or padded.

    python benchmarks/packing.py
    python benchmarks/packing.py --samples 100 --width 128 --depth 2

All three train on the same samples. Packed: as the loop does, filled to the budget. Buckets: a
sample waits in the bucket of its shape until this holds a budget of them; what waits at the end of
the epoch runs as it is. Padded: samples in order, as many as fit the budget at the longest one's
length, the padding computed and thrown away. Useful tokens are those of samples; seconds are of
forward, backward and AdamW, after a warm-up on the first batch; the ways take turns over the
batches of each, so what the machine does meanwhile meets all.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from random import Random

import torch

from minisora.data.latents import LatentBatch
from minisora.data.pack import Pack, distinct_times
from minisora.data.patch import grid_positions
from minisora.device import has_fast_bf16, keep_freed_memory, matmul_peak, use_affinity_threads
from minisora.dit.model import DiT, DiTConfig
from minisora.train.velocity import dit_loss

Shape = tuple[int, int, int]  # latents, rows, columns of tokens
SIZES = (((8, 8), 0.5), ((12, 7), 0.15), ((7, 12), 0.15), ((12, 12), 0.1), ((16, 9), 0.05), ((9, 16), 0.05))
LENGTHS = ((1, 0.3), (2, 0.05), (3, 0.1), (4, 0.05), (5, 0.35), (7, 0.05), (9, 0.1))  # 1: pictures
WORDS = 24


def shapes(count: int) -> list[Shape]:
    rng = Random(0)
    drawn = []
    for _ in range(count):
        (rows, columns), *_ = rng.choices([size for size, _ in SIZES], [weight for _, weight in SIZES])
        (length,) = rng.choices([n for n, _ in LENGTHS], [weight for _, weight in LENGTHS])
        drawn.append((length, rows, columns))
    return drawn


def tokens_of(shape: Shape) -> int:
    return shape[0] * shape[1] * shape[2]


def packed(samples: list[Shape], budget: int) -> Iterator[list[Shape]]:
    batch: list[Shape] = []
    for shape in samples:
        if sum(map(tokens_of, batch)) + tokens_of(shape) > budget:
            yield sorted(batch, key=tokens_of)
            batch = []
        batch.append(shape)
    yield sorted(batch, key=tokens_of)


def bucketed(samples: list[Shape], budget: int) -> Iterator[list[Shape]]:
    waiting: dict[Shape, list[Shape]] = defaultdict(list)
    for shape in samples:
        waiting[shape].append(shape)
        if (len(waiting[shape]) + 1) * tokens_of(shape) > budget:
            yield waiting.pop(shape)
    yield from waiting.values()


def padded(samples: list[Shape], budget: int) -> Iterator[list[Shape]]:
    batch: list[Shape] = []
    for shape in samples:
        longest = max(map(tokens_of, [*batch, shape]))
        if longest * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(shape)
    yield batch


def batch_of(config: DiTConfig, batch: list[Shape], *, pad: bool) -> LatentBatch:
    """`pad`: every clip has the tokens of the longest one, and attention sees them all."""
    longest = max(map(tokens_of, batch))
    lengths = tuple(longest if pad else tokens_of(shape) for shape in batch)
    places = []
    for (frames, rows, columns), length in zip(batch, lengths, strict=True):
        own = grid_positions(torch.arange(frames).float(), rows, columns)
        places.append(torch.cat([own, own.new_zeros(length - len(own), 3)]))
    total = sum(lengths)
    times, index = distinct_times(torch.rand(len(batch)).repeat_interleave(torch.tensor(lengths)))
    pack = Pack(
        tokens=torch.randn(total, config.token_channels),
        times=times,
        time_index=index,
        positions=torch.cat(places),
        single=torch.zeros(total, dtype=torch.bool),
        lengths=lengths,
        text=torch.randn(len(batch) * WORDS, config.text_width),
        text_lengths=(WORDS,) * len(batch),
    )
    return LatentBatch(pack, torch.ones(total, dtype=torch.bool), 3 * config.flops(lengths, pack.text_lengths))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--budget", type=int, default=4096, help="tokens of a step")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=8)
    asked = parser.parse_args()
    config = DiTConfig(
        width=asked.width, depth=asked.depth, num_heads=asked.width // 64, mlp_width=4 * asked.width, text_width=384,
        patch=(1, 1, 1),
    )  # fmt: skip
    keep_freed_memory()
    threads, bf16 = use_affinity_threads(), has_fast_bf16(torch.device("cpu"))
    peak = matmul_peak(torch.device("cpu"), torch.bfloat16 if bf16 else torch.float32)
    torch.manual_seed(0)
    dit = DiT(config)
    optimizer = torch.optim.AdamW(dit.parameters(), lr=1e-5, fused=True)
    drawn = shapes(asked.samples)
    ways = {
        "packed": (list(packed(drawn, asked.budget)), False),
        "buckets": (list(bucketed(drawn, asked.budget)), False),
        "padded": (list(padded(drawn, asked.budget)), True),
    }

    def step(batch: list[Shape], pad: bool) -> float:
        made = batch_of(config, batch, pad=pad)
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = dit_loss(dit, made, torch.Generator().manual_seed(0))["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - began

    seconds: dict[str, float] = defaultdict(float)
    for batches, pad in ways.values():
        step(batches[0], pad)
    for place in range(max(len(batches) for batches, _ in ways.values())):
        for name, (batches, pad) in ways.items():
            if place < len(batches):
                seconds[name] += step(batches[place], pad)
    useful = sum(map(tokens_of, drawn))
    print(
        f"{threads} threads, matmul peak {peak / 1e12:.2f} TFLOP/s; {len(drawn)} samples of {len(set(drawn))} shapes, "
        f"{useful:,} useful tokens\n\n"
        "| way | batches | computed tokens wasted | mean filling of a step | useful tokens/s | packed is faster by |\n"
        "| --- | --- | --- | --- | --- | --- |"
    )
    for name, (batches, pad) in ways.items():
        computed = sum((max(map(tokens_of, b)) * len(b)) if pad else sum(map(tokens_of, b)) for b in batches)
        print(
            f"| {name} | {len(batches)} | {1 - useful / computed:.1%} | {computed / len(batches) / asked.budget:.0%} | "
            f"{useful / seconds[name]:,.0f} | {seconds[name] / seconds['packed']:.2f}x |"
        )


if __name__ == "__main__":
    main()
