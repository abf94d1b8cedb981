"""What prompt expansion adds to prompt following: short prompts as typed, and expanded.

Run: python benchmarks/expand.py [MODEL] --count 60

A short prompt names colour, shape and motion of each thing of a held-out scene, in bare words ("red
ball rolls left, blue cube still"), and a camera that moves. The judge sees frames only. The ceiling
is real renders of the scenes, the floor each prompt held against the clips of others. Scored is
what the short prompt says, so no size. Clips are kept in the folder: the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import minisora
from minisora.eval.report import other_world
from minisora.eval.rows import DRAWS, INTERVAL
from minisora.eval.score import ATTRIBUTES, PromptCase, marks, normalised, shuffled
from minisora.generate.model import Model
from minisora.generate.verbs import Generate
from minisora.judge.network import load_judge
from minisora.judge.playroom import FPS, Description, PlayroomJudge
from minisora.video import at_fps, read_video
from minisora.worlds import playroom
from minisora.worlds.playroom import WORLD_VERSION
from minisora.worlds.seeds import EXPANDED

SECONDS = 2.0
STATED = [name for name in ATTRIBUTES if name != "size"]
MOTIONS = {
    "bounces": "bounces",
    "spins": "spins",
    "still": "still",
    "circles": "rolls in a circle",
    "leaves_and_returns": "rolls out of the frame {side} and comes back",
    "leaves": "rolls out of the frame {side}",
    "turns_back": "rolls {side} and comes back",
    "trail": "leaves a trail, rolls {side}",
}
SIDES = {"left": "left", "right": "right", "toward": "toward the camera", "away": "away"}
CAMERAS = {"orbit": "camera orbits {}", "pan": "camera pans {}", "zoom": "zoom {}"}


def short(facts: dict[str, Any]) -> str:
    """The prompt of a scene's facts, in as few words as they take."""
    things, parts = facts["things"], list[str]()
    for thing in things:
        name, motion, side = f"{thing['colour']} {thing['shape']}", thing["motion"], SIDES.get(thing["direction"], "")
        if motion == "struck" and any(one["motion"] == "collides" for one in things):
            continue
        does = MOTIONS.get(motion, "rolls {side}").format(side=side)
        if motion in ("collides", "passes_behind"):
            other = next(one for one in things if one["number"] == 1)
            does += f" {'and hits' if motion == 'collides' else 'behind'} {other['colour']} {other['shape']}"
        parts.append(f"{name} {' '.join(does.split())}")
    move, _, way = facts["camera"].partition("_")
    return ", ".join([*parts, *([CAMERAS[move].format(way)] if move in CAMERAS else [])])


def cases(count: int, size: tuple[int, int]) -> tuple[list[playroom.Scene], list[PromptCase]]:
    """Held-out scenes without a cut, and their short prompts."""
    scenes = [
        scene for n in range(2 * count) if (scene := playroom.draw(EXPANDED.start + n, split="held_out")).cut is None
    ]
    aspect = size[1] / size[0]
    facts = [playroom.facts(scene, 0.0, SECONDS, aspect=aspect) for scene in scenes[:count]]
    return scenes[:count], [PromptCase(short(known), known, "train") for known in facts]


def clips_of(model: Model, asked: Sequence[PromptCase], how: str | None, folder: Path) -> list[Tensor]:
    """The model's clips of the prompts, each with its own seed; those in the folder are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number, one in enumerate(asked):
        path = folder / f"{number:03d}.mkv"
        if not path.exists():
            request = Generate(one.prompt, seconds=SECONDS, seed=number, expand=how)
            result = model.run(request)
            result.video.save(path)
            print(f"{path}: {result.request.prompt}", flush=True)  # type: ignore[attr-defined]
        video = read_video(path)
        made.append(at_fps(video.frames, video.fps, FPS, 1 + round(SECONDS * FPS)))
    return made


def table_of(described: Sequence[Description], asked: Sequence[PromptCase]) -> Tensor:
    """(P, ATTRIBUTES) marks; the camera only of prompts that name one."""
    rows = torch.tensor([marks(each, one) for each, one in zip(described, asked, strict=True)], dtype=torch.float64)
    return masked(rows, asked)


def masked(rows: Tensor, asked: Sequence[PromptCase]) -> Tensor:
    still = torch.tensor([one.facts["camera"] == "static" for one in asked])
    rows[still, ATTRIBUTES.index("camera")] = float("nan")
    return rows


def difference(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean of other - one by attribute, with a 95 % bootstrap interval over prompts."""
    draws = torch.randint(len(one), (DRAWS, len(one)), generator=torch.Generator().manual_seed(0))
    gap = other - one
    drawn = torch.stack([gap[rows].nanmean(0) for rows in draws])
    low, high = (drawn.nanquantile(share, 0) for share in INTERVAL)
    return gap.nanmean(0), low, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="toybox")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("out/expand"))
    asked = parser.parse_args()
    began = time.perf_counter()
    model = minisora.load(asked.model, upscale="none")
    size = model.bundle.sampling.size
    scenes, prompts = cases(asked.count, size)
    judge = load_judge(PlayroomJudge)
    frames = round(SECONDS * FPS) + 1
    real = [playroom.render([s], height=size[0], width=size[1], fps=FPS, num_frames=frames).frames[0] for s in scenes]
    described = {"real renders": judge.describe(real)}
    for name, how in (("as typed", None), ("expanded", "auto")):
        described[name] = judge.describe(clips_of(model, prompts, how, asked.out / name.replace(" ", "-")))
    tables = {name: table_of(each, prompts) for name, each in described.items()}
    lines = [f"| {' | '.join(['', *STATED])} |", f"|{' --- |' * (len(STATED) + 1)}"]
    columns = [ATTRIBUTES.index(name) for name in STATED]

    def line(name: str, cells: Sequence[str]) -> None:
        lines.append(f"| {' | '.join([name, *(cells[at] for at in columns)])} |")

    for name, table in tables.items():
        line(name, [f"{value:.3f}" for value in table.nanmean(0).tolist()])
    for name in ("as typed", "expanded"):
        floor = masked(shuffled(described[name], prompts), prompts)
        line(f"{name}, shuffled", [f"{value:.3f}" for value in floor.nanmean(0).tolist()])
        line(f"{name}, normalised", [str(each) for each in normalised(tables[name], floor, tables["real renders"])])
    gaps = zip(*(each.tolist() for each in difference(tables["as typed"], tables["expanded"])), strict=True)
    line("expanded - as typed", [f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]" for mean, low, high in gaps])
    words = [len(one.prompt.split()) for one in prompts]
    lines += ["", f"{len(prompts)} prompts of {min(words)} to {max(words)} words; {time.perf_counter() - began:.0f} s."]
    if model.bundle.world != WORLD_VERSION:
        lines.append(other_world(model.bundle.world, WORLD_VERSION))
    text = "\n".join(lines)
    (asked.out / "expand.md").write_text(text + "\n", encoding="utf-8")
    (asked.out / "expand.json").write_text(
        json.dumps({name: table.tolist() for name, table in tables.items()}) + "\n", encoding="utf-8"
    )
    print(text)


if __name__ == "__main__":
    main()
