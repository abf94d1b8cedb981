"""What a training step costs, in seconds and in memory, as clips, weights and processes grow.

    python benchmarks/scaling.py            every row, each in a fresh process, to out/scaling.png
                                            and out/scaling.jsonl
    python benchmarks/scaling.py --quick    few and small ones, in about a minute
    python benchmarks/scaling.py --only "one clip" shared --steps 3

    one clip     tokens of one clip: attention grows with their square
    short clips  tokens of a pack of clips of 256: attention grows with their number
    parameters   the width of the transformer, at 1,024 tokens
    split        processes that the weights are split over (FSDP), each with its share of four packs
    shared       processes that share the tokens of each of four packs (Ulysses)

A step is that of the training loop: forward, backward, clipping, AdamW, EMA; eager, bf16 where the
CPU has it fast. Medians, with the fastest and the slowest step. The cores are dealt out to the
processes of a row; on a CPU they talk through gloo. Memory is the most that a process held, beside
what it held before the model was built, libraries and all; of several processes that of the
largest.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from curves import EDGE, HIGH, PAPER, WIDE, curve
from PIL import Image, ImageDraw

from minisora.device import has_fast_bf16, keep_freed_memory, peak_memory_bytes
from minisora.dit.model import DiT, DiTConfig
from minisora.runs.plan import gb, si
from minisora.train.config import OptimConfig, RunConfig
from minisora.train.loop import State
from minisora.train.parallel import Layout, Ranks, joined, leave, sync_gradients
from minisora.train.velocity import dit_loss, dummy_batch

SHORT = (4, 8, 8)  # tokens of a short clip along time, rows and columns
WORDS = 24  # text tokens of a clip
WARMUP = 2  # steps that are not counted


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement to make. `x`: what its sweep varies."""

    sweep: str
    x: int
    width: int = 256
    depth: int = 8
    grid: tuple[int, int, int]  # tokens of a clip
    tokens: int  # of a pack
    ranks: int = 1
    context: int = 1
    packs: int = 1

    @property
    def config(self) -> DiTConfig:
        return DiTConfig(
            width=self.width, depth=self.depth, num_heads=self.width // 64, mlp_width=4 * self.width, text_width=384
        )


@dataclass(frozen=True, kw_only=True)
class Told:
    """Measured: seconds of each step, bytes of a process, useful FLOPs of the whole step."""

    parameters: int
    seconds: list[float]
    memory: float
    flops: float


def sweeps(quick: bool) -> Iterator[Row]:
    widths, depth = ((64, 128), 2) if quick else ((192, 384, 768, 1536), 8)  # 5 to 316 million
    counts = (256, 1024) if quick else (256, 1024, 4096, 8192, 16384, 32768)
    for count in counts:
        yield Row(sweep="one clip", x=count, width=widths[1], depth=depth, grid=(count // 64, 8, 8), tokens=count)
    for count in counts:
        yield Row(sweep="short clips", x=count, width=widths[1], depth=depth, grid=SHORT, tokens=count)
    for width in widths:
        with torch.device("meta"):
            row = Row(sweep="parameters", x=0, width=width, depth=depth, grid=SHORT, tokens=1024)
            parameters = sum(p.numel() for p in DiT(row.config).parameters())
        yield Row(sweep="parameters", x=parameters, width=width, depth=depth, grid=SHORT, tokens=1024)
    wide, clip = (256, (4, 8, 8)) if quick else (512, (16, 8, 8))
    for name in ("split", "shared"):
        for ranks in (1, 2) if quick else (1, 2, 4):
            yield Row(
                sweep=name,
                x=ranks,
                width=wide,
                depth=depth,
                grid=clip,
                tokens=math.prod(clip),
                ranks=ranks,
                context=ranks if name == "shared" else 1,
                packs=4,
            )


def apart(row: Row, steps: int) -> Told:
    """The row, measured by processes that have done nothing else."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, cores // row.ranks))}
    launch = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(row.ranks)] if row.ranks > 1 else []
    )
    command = [sys.executable, *launch, __file__, "--row", json.dumps(asdict(row)), "--steps", str(steps)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    if ended.returncode:
        said = [line for line in ended.stderr.splitlines() if line.strip("=- ")]
        raise RuntimeError(said[-1].strip() if said else f"ended with status {ended.returncode}")
    return Told(**json.loads(ended.stdout.strip().splitlines()[-1]))


def measure(row: Row, steps: int) -> Told | None:
    """In this process, and those that torchrun started with it; told by the first of them."""
    keep_freed_memory()
    with joined(Layout(context=row.context)) as ranks:
        batch = dummy_batch(row.config, row.grid, tokens=row.tokens, words=WORDS).to(ranks.device)
        run = RunConfig(
            name="scaling",
            steps=steps,
            build=lambda: DiT(row.config),
            batch=lambda _: batch,
            loss=dit_loss,
            publish=lambda *_: None,
            optim=OptimConfig(lr=1e-4),
            packs=row.packs,
            layout=ranks.layout,
        )
        before = held(ranks)
        bf16 = has_fast_bf16(ranks.device)
        state = State(run, ranks, bf16=bf16)
        taken = [step(run, state, ranks, bf16=bf16) for _ in range(WARMUP + steps)][WARMUP:]
        memory = max(ranks.gather(held(ranks) - before))
        parameters = sum(p.numel() for p in state.model.parameters())
        flops = batch.flops * row.packs
        return Told(parameters=parameters, seconds=taken, memory=memory, flops=flops) if ranks.is_first else None


def step(run: RunConfig, state: State, ranks: Ranks, *, bf16: bool) -> float:
    """Seconds of one step, until every process is through it."""
    ranks.wait()
    began = time.perf_counter()
    own = ranks.share(run.packs)
    for n in own:
        noise = torch.Generator(ranks.device).manual_seed(n)
        sync_gradients(state.model, n == own[-1])
        with torch.autocast(ranks.device.type, torch.bfloat16, enabled=bf16):
            loss = run.loss(state.model, run.batch(n), noise)["loss"]
        (loss * run.layout.context / len(own)).backward()
    state.clip([p for p in state.model.parameters() if p.requires_grad])
    for optimizer in state.optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    state.ema.update(state.model, state.step)
    if ranks.device.type == "cuda":
        torch.cuda.synchronize()
    ranks.wait()
    return time.perf_counter() - began


def held(ranks: Ranks) -> float:
    """The most bytes so far, of the device that computes."""
    return float(torch.cuda.max_memory_allocated() if ranks.device.type == "cuda" else peak_memory_bytes())


def line(row: Row, told: Told) -> str:
    middle = median(told.seconds)
    return (
        f"{row.sweep:<12} {si(row.x):>7} {si(told.parameters):>8} {row.tokens * row.packs:>8,} {row.ranks:>5} "
        f"{middle:>9.3f} ({min(told.seconds):.3f} to {max(told.seconds):.3f})  {gb(told.memory):>8}  "
        f"{si(told.flops / middle)}FLOP/s"
    )


def plot(rows: Sequence[tuple[Row, Told]], path: Path) -> None:
    """A column for each sweep, axes in powers of two: seconds of a step above, memory below."""
    names = list(dict.fromkeys(row.sweep for row, _ in rows))
    picture = Image.new("RGB", (len(names) * (WIDE + EDGE) + EDGE, 2 * (HIGH + EDGE) + EDGE), PAPER)
    draw = ImageDraw.Draw(picture)
    for column, name in enumerate(names):
        own = [(row.x, told) for row, told in rows if row.sweep == name]
        left = EDGE + column * (WIDE + EDGE)
        seconds = [(x, median(told.seconds), min(told.seconds), max(told.seconds)) for x, told in own]
        memory = [(x, told.memory, told.memory, told.memory) for x, told in own]
        curve(draw, left, EDGE, f"{name}: s a step", seconds, lambda value: f"{value:.3g}")
        curve(draw, left, 2 * EDGE + HIGH, f"{name}: memory of a process", memory, gb)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few and small rows")
    parser.add_argument("--only", nargs="+", metavar="SWEEP", help="these sweeps")
    parser.add_argument("--steps", type=int, default=5, help="that are counted, of each row")
    parser.add_argument("--out", type=Path, default=Path("out/scaling"), help="without a suffix")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.row is not None:
        given = json.loads(asked.row)
        told = measure(Row(**{**given, "grid": tuple(given["grid"])}), asked.steps)
        if told is not None:
            print(json.dumps(asdict(told)), flush=True)
        leave()
    rows: list[tuple[Row, Told]] = []
    print(f"{'sweep':<12} {'':>7} {'weights':>8} {'tokens':>8} {'ranks':>5} {'s a step':>9}", flush=True)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    with asked.out.with_suffix(".jsonl").open("w") as file:
        for row in sweeps(asked.quick):
            if asked.only is not None and row.sweep not in asked.only:
                continue
            try:
                told = apart(row, asked.steps)
            except RuntimeError as error:
                print(f"{row.sweep:<12} {si(row.x):>7} did not run: {error}", flush=True)
                continue
            rows.append((row, told))
            print(line(row, told), flush=True)
            file.write(json.dumps({**asdict(row), **asdict(told)}) + "\n")
            file.flush()
    if rows:
        plot(rows, asked.out.with_suffix(".png"))
        print(f"{asked.out.with_suffix('.png')}: the curves")


if __name__ == "__main__":
    main()
