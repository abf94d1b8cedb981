"""Our transformer beside diffusers' `WanTransformer3DModel`: one config, the same weights, the same clip.

    python benchmarks/wan.py
    python benchmarks/wan.py --sizes small --tokens 320 --runs 5 --compiled

Forward: bf16 weights, no gradients, as in sampling, and ours with the text's keys and values at hand, as it has them
from the second step on. Step: float32 weights under bf16 autocast, forward, backward, fused AdamW, both alike. The two
take turns, so that what the machine does meanwhile meets both; medians. Memory is the growth of the resident set of a
process of its own over a step.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from minisora.data.pack import Pack, distinct_times
from minisora.data.patch import grid_positions, patchify, unpatchify
from minisora.device import matmul_peak, use_affinity_threads
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


def in_turn(runs: int, *ways: Callable[[], object]) -> list[float]:
    """Median seconds of each way; they take turns, after one round that does not count."""
    taken: list[list[float]] = [[] for _ in ways]
    for run in range(runs + 2):
        for way, seconds in zip(ways, taken, strict=True):
            began = time.perf_counter()
            way()
            if run > 1:
                seconds.append(time.perf_counter() - began)
    return [median(seconds) for seconds in taken]


def forward_seconds(size: str, tokens: int, runs: int, compiled: bool) -> tuple[list[float], tuple[float, float]]:
    pair = Pair(size, tokens)
    differ = pair.outputs_differ()
    if compiled:
        pair.theirs.compile_repeated_blocks(dynamic=False)
        pair.ours.compile_parts()
    with torch.no_grad():
        context = pair.ours.context(pair.text, (WORDS,))
        return in_turn(runs, lambda: pair.ours(pair.pack, context), lambda: pair.run_theirs(torch.bfloat16)), differ


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


def step_seconds(size: str, tokens: int, runs: int, compiled: bool) -> list[float]:
    pair = Pair(size, tokens)
    if compiled:
        pair.theirs.compile_repeated_blocks(dynamic=False)
        pair.ours.compile_parts()
    return in_turn(runs, step_of(pair, "ours"), step_of(pair, "theirs"))


def step_memory(size: str, tokens: int, which: str) -> int:
    """Bytes that three steps add at their peak to what the process held before, the weights of both included. Linux."""
    use_affinity_threads()
    pair = Pair(size, tokens)
    step, status = step_of(pair, which), Path("/proc/self/status")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew

    def held(name: str) -> int:
        return 1024 * int(next(line for line in status.read_text().splitlines() if line.startswith(name)).split()[1])

    before = held("VmRSS")
    for _ in range(3):
        step()
    return held("VmHWM") - before


def measure(size: str, tokens: int, runs: int, compiled: bool) -> str:
    (ours, theirs), (error, their_error) = forward_seconds(size, tokens, runs, compiled)
    our_step, their_step = step_seconds(size, tokens, runs, compiled)
    line = (
        f"| {size} | {tokens} | {'compiled' if compiled else 'eager'} | {1000 * ours:.1f} | {1000 * theirs:.1f} | "
        f"{theirs / ours:.2f}x | {1000 * our_step:.1f} | {1000 * their_step:.1f} | {their_step / our_step:.2f}x | "
        f"{error:.3f} / {their_error:.3f} |"
    )
    if compiled:
        return f"{line} |"
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        ours_held, theirs_held = pool.starmap(step_memory, [(size, tokens, "ours"), (size, tokens, "theirs")], 1)
    return f"{line} {ours_held / 2**20:.0f} / {theirs_held / 2**20:.0f} MiB, {ours_held / max(theirs_held, 1):.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--tokens", type=int, nargs="+", default=list(GRIDS), choices=list(GRIDS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--compiled", action="store_true", help="both compiled, too")
    asked = parser.parse_args()
    threads, peak = use_affinity_threads(), matmul_peak(torch.device("cpu"), torch.bfloat16)
    print(f"{threads} threads, bf16 matmul peak {peak / 1e12:.2f} TFLOP/s; ms, medians of {asked.runs}\n")
    head = ["size", "tokens", "", "forward: ours", "theirs", "ratio", "step: ours", "theirs", "ratio"]
    head += ["largest error in bf16: ours / theirs", "memory of a step: ours / theirs"]
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for size in asked.sizes:
        for tokens in asked.tokens:
            for compiled in (False, True) if asked.compiled else (False,):
                print(measure(size, tokens, asked.runs, compiled), flush=True)


if __name__ == "__main__":
    main()
