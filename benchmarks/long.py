"""Long videos: memory by second, and what drifts.

Run: python benchmarks/long.py [--seconds 60] [--prompts 4]

Memory: what the process holds after each piece of a video that goes to a file as it is made, also
as a picture. It should be flat after the first window. Drift: by second, how far the mean colour of
the frame is from that of the first two seconds, in 0..255; how many of the colours asked for the
judge still finds, and its mean mark for the prompt; and the motion against that of the first two
seconds; for several ways to hold on to context.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from curves import EDGE, HIGH, PAPER, WIDE, curve
from PIL import Image, ImageDraw

import minisora
from minisora.eval.metrics import motion_energy
from minisora.eval.report import prompts
from minisora.eval.score import marks
from minisora.generate.verbs import Generate
from minisora.judge.network import load_judge
from minisora.judge.playroom import PlayroomJudge

WAYS = (  # what is changed of the settings, and of the bundle's sampling
    ("as it is", {}, {}),
    ("context noise 0.1", {"context_noise": 0.1}, {}),
    ("context noise 0.2", {"context_noise": 0.2}, {}),
    ("no history guidance", {"history_guidance": False}, {}),
    ("context of 2", {}, {"context": 2}),
    ("context of 6", {}, {"context": 6}),
)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def memory(seconds: float, size: tuple[int, int] | None, plot: Path) -> None:
    model = minisora.load(upscale="none")
    request = Generate("a large red ball rolls to the left on grass", seconds=seconds, size=size)
    stream = model.stream(request).video
    held: list[tuple[int, int]] = []
    pieces = stream.pieces

    def watched():
        for piece in pieces:
            held.append((stream.made + len(piece), resident_bytes()))
            yield piece

    stream.pieces = watched()
    with tempfile.TemporaryDirectory() as folder:
        stream.save(Path(folder) / "long.mp4")
    print("| second | MiB held |\n| --- | --- |")
    shown = [*held[:: max(1, len(held) // 12)], held[-1]]
    for frames, size_bytes in shown:
        print(f"| {(frames - 1) / stream.fps:.1f} | {size_bytes / 2**20:.0f} |")
    points = [(frames / stream.fps, *[size_bytes / 2**20] * 3) for frames, size_bytes in shown]
    picture = Image.new("RGB", (WIDE + 2 * EDGE, HIGH + 2 * EDGE), PAPER)
    title, words = "MiB held, by second of the video", "{:.0f}".format
    curve(ImageDraw.Draw(picture), EDGE, EDGE, title, points[::2], words, even=True)
    picture.save(plot)
    first_window = next(n for n, (frames, _) in enumerate(held) if frames > 40)
    grown = max(b for _, b in held) - held[first_window][1]
    print(f"\nAfter the first window it grew by {grown / 2**20:.0f} MiB in {seconds:g} s.\n")


def drift(seconds: float, count: int) -> None:
    judge, (_, asked) = load_judge(PlayroomJudge), prompts(count)
    print("| way | second | colour moved | colours found | marks | motion |\n| --- | --- | --- | --- | --- | --- |")
    for way, settings, sampling in WAYS:
        model = minisora.load(upscale="none")
        model.bundle.sampling = replace(model.bundle.sampling, **sampling)
        rows: dict[int, list[tuple[float, float, float, float]]] = {}
        for n, one in enumerate(asked):
            wanted = {thing["colour"] for thing in one.facts["things"]}
            frames = model.generate(one.prompt, seconds=seconds, seed=n, **settings).frames
            first = frames[:17]
            for start in (0, *range(16, len(frames) - 16, 32)):
                part = frames[start : start + 17]
                moved = float((part.float().mean((0, 1, 2)) - first.float().mean((0, 1, 2))).abs().mean())
                told = judge.describe([part])[0]
                found = len({thing.colour for thing in told.things} & wanted) / len(wanted)
                score = float(torch.tensor(marks(told, one)).nanmean())
                motion = motion_energy(part) / max(motion_energy(first), 1e-6)
                rows.setdefault(start // 8, []).append((moved, found, score, motion))
        later = [value for second, values in rows.items() if second for value in values]
        for second, values in [*rows.items(), ("later", later)]:
            moved, found, score, motion = torch.tensor(values).mean(0).tolist()
            print(f"| {way} | {second} | {moved:.1f} | {found:.2f} | {score:.2f} | {motion:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--prompts", type=int, default=4, help="0: memory alone")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--plot", type=Path, default=Path("out/long.png"))
    options = parser.parse_args()
    options.plot.parent.mkdir(parents=True, exist_ok=True)
    memory(options.seconds, (options.size, options.size), options.plot)
    if options.prompts:
        drift(min(options.seconds, 20.0), options.prompts)


if __name__ == "__main__":
    main()
