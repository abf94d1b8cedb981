"""What twenty clips of something new teach.

Run: python benchmarks/finetune.py [--steps 300] [--lora 8] [--quick]

The new thing is a colour, pink, which the playroom can render and its captions can say, and which
no clip of training had. It is put on the first thing of scenes of unseen seeds; nothing else in
them is new. Twenty such clips with their captions in files beside them are all that the user has:
`curate` makes shards of them, `fine-tune` trains the base on those.

Both models are then asked for other pink scenes, with the same noise. How much of a frame is pink
is read off its pixels, by bounds on hue and saturation that are those of the pink things in the
twenty clips:

  shown       share of prompts whose clip is pink on at least a quarter of the area that it is in
              the real clip
  area        the pink area over that of the real clip, or the reverse, whichever is below 1
  unasked     share of prompts of other colours whose clip is pink on half a percent of its area;
              lower is better
  colour...   what the judge says of those clips: what the new colour cost of what was known

Each row has the base as floor, and as ceiling the real clip as the VAE gives it back; so 0 is
nothing learnt, and 1 all that can be. The folder keeps clips, shards, checkpoints and
`finetune.md`; the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import colorsys
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import minisora
from minisora.curate.recipe import read_recipe
from minisora.curate.runner import local_engine, run
from minisora.eval.report import prompts, render_all
from minisora.eval.rows import Marks, figures_of, verb_table, write_rows
from minisora.eval.score import ATTRIBUTES, marks
from minisora.generate.model import Model
from minisora.judge.network import load_judge
from minisora.judge.playroom import PlayroomJudge
from minisora.recipes.tuning import fine_tune
from minisora.train import loop
from minisora.vae.codec import round_trip
from minisora.video import contact_sheet, write_video
from minisora.worlds import playroom
from minisora.worlds.playroom.scene import COLOURS, Scene
from minisora.worlds.seeds import FINE_TUNED, FINE_TUNED_ASKED

NAME, RGB = "pink", (0.98, 0.36, 0.68)  # its hue is 50 degrees from purple's and 31 from red's
SIDE, FPS = 64, 8.0
SECONDS = {"learnt": 4.0, "asked": 2.0}
RECIPE = """
out: curated
input: {media: videos}
captions: {required: true}
clips: {longest_side: 64, multiple: 16, fps: 8}
"""


@contextmanager
def new_colour() -> Iterator[None]:
    """Scenes are drawn outside, where the colours are those of training, and rendered inside."""
    COLOURS[NAME] = RGB
    try:
        yield
    finally:
        del COLOURS[NAME]


def scenes_of(first: int, count: int) -> list[Scene]:
    """Scenes without a cut, whose first thing has the new colour."""
    drawn = (playroom.draw(seed) for seed in range(first, first + 100 * count))
    whole = (scene for scene in drawn if scene.cut is None)
    found = [next(whole) for _ in range(count)]
    return [replace(scene, things=(replace(scene.things[0], colour=NAME), *scene.things[1:])) for scene in found]


def rendered(scenes: list[Scene], seconds: float) -> tuple[list[Tensor], Tensor]:
    """(T, H, W, 3) each, and all pixels of new things: (N, 3)."""
    clips, pixels = [], []
    with new_colour():
        for scene in scenes:
            shown = playroom.render(
                [scene], height=SIDE, width=SIDE, fps=FPS, num_frames=round(seconds * FPS) + 1, truth=True
            )
            assert shown.masks is not None
            clips.append(shown.frames[0])
            pixels.append(shown.frames[0][shown.masks[0] == 1])
    return clips, torch.cat(pixels)


def said_of(scene: Scene, seconds: float) -> list[str]:
    with new_colour():
        return [one.text for one in playroom.captions(scene, seed=scene.seed, start=0.0, stop=seconds)]


def hue_and_saturation(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """(*, 3) uint8 -> degrees from the new colour's own hue, and saturation: (*) each"""
    red, green, blue = pixels.float().unbind(-1)
    most, least = pixels.float().amax(-1), pixels.float().amin(-1)
    hue = torch.atan2(math.sqrt(3) * (green - blue), 2 * red - green - blue).rad2deg()
    own = 360 * colorsys.rgb_to_hsv(*RGB)[0]
    return (hue - own + 180) % 360 - 180, (most - least) / most.clamp(min=1)


@dataclass(frozen=True)
class Pink:
    """Bounds of the new colour, as its things look in all lights."""

    low: float
    high: float
    saturation: float

    @classmethod
    def of(cls, pixels: Tensor) -> Pink:
        hue, saturation = hue_and_saturation(pixels)
        low, high = hue.quantile(torch.tensor([0.1, 0.9])).tolist()
        return cls(low, high, float(saturation.quantile(0.1)))

    def share(self, frames: Tensor) -> float:
        """Of all pixels of a clip."""
        hue, saturation = hue_and_saturation(frames)
        return float(((hue >= self.low) & (hue <= self.high) & (saturation >= self.saturation)).float().mean())


def prepare(folder: Path, count: int) -> Pink:
    """The user's folder: videos, each with its captions in a text file.

    Returns how the new colour looks in them.
    """
    scenes = scenes_of(FINE_TUNED.start, count)
    clips, pixels = rendered(scenes, SECONDS["learnt"])
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    for number, (scene, clip) in enumerate(zip(scenes, clips, strict=True)):
        path = folder / "videos" / f"{number:02d}.mp4"
        if not path.exists():  # a file that is written again counts as changed
            path.with_suffix(".txt").write_text("\n".join(said_of(scene, SECONDS["learnt"])) + "\n")
            write_video(path, clip, fps=FPS)
    return Pink.of(pixels)


def tuned(folder: Path, base: str, steps: int, lora: int | None) -> Path:
    """Curate, train, and say where the bundle is."""
    ledger = run(read_recipe(folder / "recipe.yaml"), local_engine(1, 600.0))
    print(f"curated: {ledger.kept} clips kept of {ledger.rows} files, in {ledger.samples} samples")
    config = fine_tune(folder / "curated" / "clips", base, lora=lora, steps=steps)
    loop.run(replace(config, preview=None), folder / "run")
    return folder / "run" / "bundle"


def made(model: Model, asked: list[str], steps: int | None) -> list[Tensor]:
    how: dict[str, Any] = {} if steps is None else {"steps": steps}
    video_of = model.generate
    return [
        video_of(prompt, seconds=SECONDS["asked"], fps=FPS, size=(SIDE, SIDE), seed=n, **how).frames
        for n, prompt in enumerate(asked)
    ]


def likeness(one: float, other: float) -> float:
    return min(one, other) / max(one, other, 1e-9)


def measure(folder: Path, pink: Pink, base: Model, after: Model, count: int, steps: int | None) -> None:
    """Both models on prompts of the new colour, and on prompts of the others."""
    scenes = scenes_of(FINE_TUNED_ASKED.start, count)
    real, _ = rendered(scenes, SECONDS["asked"])
    words = [said_of(scene, SECONDS["asked"])[-(n % 2)] for n, scene in enumerate(scenes)]  # a short one, a long one
    best = [round_trip(base.bundle.vae, clip) for clip in real]
    clips = {"base": made(base, words, steps), "tuned": made(after, words, steps)}
    areas = {name: [pink.share(clip) for clip in found] for name, found in {**clips, "vae": best, "real": real}.items()}
    new: list[Marks] = []
    for n in range(count):
        truth = areas["real"][n]
        a, b, c = (areas[name][n] for name in ("tuned", "base", "vae"))
        shown = ("higher", float(a >= truth / 4), float(b >= truth / 4), float(c >= truth / 4))
        new.append({"shown": shown, "area": ("higher", likeness(a, truth), likeness(b, truth), likeness(c, truth))})

    judge = load_judge(PlayroomJudge)
    others, asked = prompts(count, split="train")
    known = {"real": [round_trip(base.bundle.vae, clip) for clip in render_all(others, (SIDE, SIDE))]}
    wanted = [one.prompt for one in asked]
    known |= {"base": made(base, wanted, steps), "tuned": made(after, wanted, steps)}
    told = {name: judge.describe(found) for name, found in known.items()}
    old: list[Marks] = []
    for n, one in enumerate(asked):
        a, b, c = (float(pink.share(known[name][n]) > 0.005) for name in ("tuned", "base", "real"))
        after_marks, before_marks, best_marks = (marks(told[name][n], one) for name in ("tuned", "base", "real"))
        judged = zip(ATTRIBUTES, after_marks, before_marks, best_marks, strict=True)
        old.append({"unasked": ("lower", a, b, c)} | {name: ("higher", x, y, z) for name, x, y, z in judged})
    figures = figures_of(NAME, new) + figures_of("others", old)
    write_rows(figures, folder, "finetune")
    print(verb_table(figures))
    rows = [(f"{name}: {words[n]}", clips[name][n], FPS) for n in range(min(4, count)) for name in clips]
    contact_sheet(rows).save(folder / "sheet.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="toybox")
    parser.add_argument("--clips", type=int, default=20, help="to learn from")
    parser.add_argument("--prompts", type=int, default=40, help="of each kind, to ask for")
    parser.add_argument("--steps", type=int, default=300, help="of training")
    parser.add_argument("--lora", type=int, help="rank of adapters; all weights without it")
    parser.add_argument("--out", type=Path, help="out/finetune, or a folder of its own beside it for adapters")
    parser.add_argument("--quick", action="store_true", help="four clips, two steps, one prompt: does it run at all?")
    options = parser.parse_args()
    name = "finetune" + ("" if options.lora is None else f"-lora-{options.lora}") + ("-quick" if options.quick else "")
    folder: Path = options.out or Path("out") / name
    clips, count, steps = (4, 1, 2) if options.quick else (options.clips, options.prompts, options.steps)
    pink = prepare(folder, clips)
    print(f"{NAME}: hue {pink.low:+.0f} to {pink.high:+.0f} degrees of its own, saturation from {pink.saturation:.2f}")
    bundle = tuned(folder, options.base, steps, options.lora)
    base, after = (minisora.load(name, upscale="none") for name in (options.base, bundle))
    measure(folder, pink, base, after, count, 2 if options.quick else None)


if __name__ == "__main__":
    main()
