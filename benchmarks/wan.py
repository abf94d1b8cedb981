"""Our transformer and diffusers' `WanTransformer3DModel`: one config, weights and clip.

    python benchmarks/wan.py
    python benchmarks/wan.py --sizes small --tokens 320 --runs 5 --memory

Forward: bf16 weights, no gradients, as in sampling, and ours with the text's keys and values at
hand, as it has them from the second step on. Step: float32 weights under bf16 autocast, forward,
backward, fused AdamW, both alike. Each is run as it is and compiled block by block. They take
turns, so that what the machine does meanwhile meets all of them; medians. Memory is what the
allocator gives out during a step in a process of its own, at its peak.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from minisora.data.pack import Pack, distinct_times
from minisora.data.patch import grid_positions, patchify, unpatchify
from minisora.device import keep_freed_memory, matmul_peak, use_affinity_threads
from minisora.dit.model import DiT
from minisora.dit.wan import config_from_wan, state_from_wan

SIZES = {  # about 10 and 100 million parameters
    "small": {"num_attention_heads": 4, "attention_head_dim": 64, "ffn_dim": 1024, "num_layers": 8},
    "large": {"num_attention_heads": 12, "attention_head_dim": 64, "ffn_dim": 3072, "num_layers": 9},
}
GRIDS = {320: (5, 8, 8), 1024: (4, 16, 16), 3328: (13, 16, 16)}  # of tokens
WORDS, TEXT_WIDTH = 32, 384


class Pair:
    """Both networks, and one clip as each wants it."""

    def __init__(self, size: str, tokens: int) -> None:
        from diffusers import WanTransformer3DModel

        torch.manual_seed(0)
        common = {"in_channels": 16, "out_channels": 16, "text_dim": TEXT_WIDTH, "cross_attn_norm": True}
        self.theirs: Any = WanTransformer3DModel(**SIZES[size], **common)
        config = config_from_wan(self.theirs.config, text_pad=0)
        self.ours = DiT(config)
        with torch.no_grad():
            for p in self.theirs.parameters():
                p.add_(torch.randn_like(p) * 0.02)
        self.ours.load_state_dict(state_from_wan(self.theirs.state_dict(), config))
        frames, rows, columns = self.grid = GRIDS[tokens]
        self.z = torch.randn(1, frames, 2 * rows, 2 * columns, 16)
        self.text, self.t = torch.randn(WORDS, TEXT_WIDTH), 0.6
        times, index = distinct_times(torch.full((tokens,), self.t))
        self.pack = Pack(
            tokens=patchify(self.z, config.patch)[0],
            times=times,
            time_index=index,
            positions=grid_positions(torch.arange(frames), rows, columns),
            single=torch.zeros(tokens, dtype=torch.bool),
            lengths=(tokens,),
            text=self.text,
            text_lengths=(WORDS,),
        )

    def run_theirs(self, dtype: torch.dtype) -> Tensor:
        given = self.z.permute(0, 4, 1, 2, 3).to(dtype)
        told = torch.tensor([1000 * self.t])
        return self.theirs(given, told, self.text[None].to(dtype), return_dict=False)[0]

    def outputs_differ(self) -> tuple[float, float]:
        """Largest difference of the two in bf16, and of theirs from itself in float32."""
        with torch.no_grad():
            exact = self.run_theirs(torch.float32).permute(0, 2, 3, 4, 1)
            self.theirs.bfloat16(), self.ours.bfloat16()
            theirs = self.run_theirs(torch.bfloat16).float().permute(0, 2, 3, 4, 1)
            ours = unpatchify(self.ours(self.pack)[None], self.ours.config.patch, self.grid)
        return float((ours - exact).abs().max()), float((theirs - exact).abs().max())


def alternating(runs: int, *ways: Callable[[], object]) -> list[float]:
    """Median seconds of each way; they take turns, after one round that does not count."""
    taken: list[list[float]] = [[] for _ in ways]
    for run in range(runs + 2):
        for way, seconds in zip(ways, taken, strict=True):
            began = time.perf_counter()
            way()
            if run > 1:
                seconds.append(time.perf_counter() - began)
    return [median(seconds) for seconds in taken]


def pairs(size: str, tokens: int) -> dict[str, Pair]:
    """The two as they are, and both compiled block by block."""
    both = {"eager": Pair(size, tokens), "compiled": Pair(size, tokens)}
    both["compiled"].theirs.compile_repeated_blocks(dynamic=False)
    both["compiled"].ours.compile_parts()
    return both


def forward_of(pair: Pair, which: str) -> Callable[[], object]:
    if which == "theirs":
        return lambda: pair.run_theirs(torch.bfloat16)
    context = pair.ours.context(pair.text, (WORDS,))
    return lambda: pair.ours(pair.pack, context)


def step_of(pair: Pair, which: str) -> Callable[[], None]:
    network: nn.Module = pair.ours if which == "ours" else pair.theirs
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            out = pair.ours(pair.pack) if which == "ours" else pair.run_theirs(torch.float32)
            loss = out.float().square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def step_memory(size: str, tokens: int, which: str, how: str) -> int:
    """Bytes that a step adds at its peak to weights and moments.

    These are gradients and what the backward pass needs.
    """
    use_affinity_threads()
    step = step_of(pairs(size, tokens)[how], which)
    for _ in range(2):
        step()
    return most_allocated(step)


def most_allocated(run: Callable[[], object]) -> int:
    """Bytes allocated at the peak of a run, beyond those that were held before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    with TemporaryDirectory() as folder:
        seen.export_chrome_trace(f"{folder}/trace.json")
        events = json.loads(Path(folder, "trace.json").read_text())["traceEvents"]
    return max(event["args"]["Total Allocated"] for event in events if event["name"] == "[memory]")


WAYS = [(which, how) for how in ("eager", "compiled") for which in ("ours", "theirs")]


def row(name: str, seconds: list[float]) -> str:
    """Milliseconds in the order of WAYS, and how many times as fast ours are."""
    eager, their_eager, compiled, their_compiled = seconds
    times = " | ".join(f"{1000 * taken:.1f}" for taken in seconds)
    ratios = (their_eager / eager, their_eager / compiled, their_compiled / compiled)
    return f"| {name} | {times} | {' | '.join(f'{ratio:.2f}x' for ratio in ratios)} |"


def measure(size: str, tokens: int, runs: int, memory: bool) -> Iterator[str]:
    torch._dynamo.reset()  # or theirs reaches torch's limit of recompilations, and what is called compiled is not
    differ = Pair(size, tokens).outputs_differ()
    both = pairs(size, tokens)
    for pair in both.values():
        for network in (pair.ours, pair.theirs):
            network.bfloat16().requires_grad_(False)  # as weights are in sampling
    with torch.no_grad():
        forward = alternating(runs, *(forward_of(both[how], which) for which, how in WAYS))
    yield row(f"{size} | {tokens} | forward, ms", forward)
    both = pairs(size, tokens)
    yield row(f"{size} | {tokens} | step, ms", alternating(runs, *(step_of(both[how], which) for which, how in WAYS)))
    if memory:
        del both
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            held = pool.starmap(step_memory, [(size, tokens, which, how) for which, how in WAYS], 1)
        ratios = (held[0] / held[1], held[2] / held[1], held[2] / held[3])
        told = [*(f"{taken / 2**20:.0f}" for taken in held), *(f"{ratio:.2f} of it" for ratio in ratios)]
        yield f"| {size} | {tokens} | memory of a step, MiB | {' | '.join(told)} |"
    yield f"| {size} | {tokens} | largest error in bf16 | {differ[0]:.3f} | {differ[1]:.3f} | | | | | |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--tokens", type=int, nargs="+", default=list(GRIDS), choices=list(GRIDS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="the memory of a step, too")
    asked = parser.parse_args()
    keep_freed_memory()
    threads, peak = use_affinity_threads(), matmul_peak(torch.device("cpu"), torch.bfloat16)
    print(f"{threads} threads, bf16 matmul peak {peak / 1e12:.2f} TFLOP/s; medians of {asked.runs}\n")
    head = ["size", "tokens", "", *(f"{which}, {how}" for which, how in WAYS)]
    head += ["eager / eager", "their eager / our compiled", "compiled / compiled"]
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for size in asked.sizes:
        for tokens in asked.tokens:
            for line in measure(size, tokens, asked.runs, asked.memory):
                print(line, flush=True)


if __name__ == "__main__":
    main()
