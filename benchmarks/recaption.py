"""Training on our captioner's words against training on the true ones.

Run: python benchmarks/recaption.py [CAPTIONER]

The same clips of the playroom, of seeds that nothing else uses, are told three ways: by the
captioner; truly, by the playroom itself; and by the playroom of another scene, words that say
nothing of the clip. The base is trained on for the same steps on each: same clips, same order, same
noise. Then each is shown clips of held-out triples with their true words. What differs between the
models is what the training's words were worth:

  loss   the training loss, of all of a clip at one noise level; floor: training on wrong words,
         ceiling: on true ones
  worth  how much the loss rises when the words of another clip are given: what a model makes of
         words
  base_  the same of the base, which was not trained on

The folder keeps latents, checkpoints and `recaption.md`, each captioner's in a folder of its own
name; the same command goes on where it stopped. A captioner that was trained anew under its old
name needs another --out.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import torch

from minisora.bundle import Bundle
from minisora.bundle import load as load_bundle
from minisora.caption.adapters import captions_named
from minisora.caption.protocol import Captions
from minisora.data.latents import LatentBatches
from minisora.data.shards import Shards
from minisora.data.windows import WindowConfig
from minisora.dit.model import DiT
from minisora.eval.rows import Marks, figures_of, verb_table, write_rows
from minisora.recipes.tuning import windows_of
from minisora.train import loop
from minisora.train.config import OptimConfig, RunConfig, split
from minisora.train.latents import LatentJob, write_latents
from minisora.train.velocity import dit_loss
from minisora.video import Shape, Video
from minisora.worlds import playroom
from minisora.worlds.clip import Caption, Clip
from minisora.worlds.seeds import RECAPTIONED, RECAPTIONED_ASKED

SIDE, FPS, SECONDS = 64, 8.0, 2.0
OTHER = 500_000  # from a clip's seed to that of the scene whose words it is wrongly given
WAYS = ("ours", "true", "other")


@cache
def captioner_at(name: str) -> Captions:
    return captions_named(name)


def told(way: str, name: str, split: str, seeds: Sequence[int], height: int, width: int, num_frames: int) -> list[Clip]:
    """Clips with a short and a long caption each."""
    clips = playroom.clips(seeds, Shape(num_frames=num_frames, height=height, width=width, fps=FPS), split=split)
    if way == "ours":
        videos = [Video(clip.frames, FPS) for clip in clips]
        said = zip(*(captioner_at(name)(videos, long=long) for long in (False, True)), strict=True)
        texts = [[one if isinstance(one, str) else "" for one in both] for both in said]
    else:
        scenes = [playroom.draw(seed + (OTHER if way == "other" else 0), split=split) for seed in seeds]
        both = [playroom.captions(scene, seed=scene.seed, start=0.0, stop=SECONDS)[:2] for scene in scenes]
        texts = [[one.text for one in some] for some in both]
    return [
        replace(clip, captions=tuple(Caption(text, 0.0, SECONDS) for text in some))
        for clip, some in zip(clips, texts, strict=True)
    ]


def latents(folder: Path, name: str, count: int, shown: int, bundle: Bundle) -> dict[str, Shards]:
    """Training clips with captions of each kind; preview clips with true and wrong captions."""
    frames = round(SECONDS * FPS) + 1
    wanted = [(way, way, "train", RECAPTIONED[:count]) for way in WAYS]
    wanted += [(f"shown-{way}", way, "held_out", RECAPTIONED_ASKED[:shown]) for way in ("true", "other")]
    jobs = [
        LatentJob(
            name=title,
            clips=partial(told, way, name, split),
            seeds=seeds,
            height=SIDE,
            width=SIDE,
            num_frames=frames,
        )
        for title, way, split, seeds in wanted
    ]
    write_latents(folder, jobs, bundle.vae, bundle.text)
    return {job.name: Shards(folder / job.name) for job in jobs}


def trained(folder: Path, way: str, shards: Shards, bundle: Bundle, steps: int) -> DiT:
    weights = {name: value.float().cpu() for name, value in bundle.dit.state_dict().items()}

    def build() -> DiT:
        dit = DiT(bundle.dit.config)
        dit.load_state_dict(weights)
        return dit

    stable_steps, cooldown_steps = split(steps, cooldown=0.4)
    config = RunConfig(
        name=f"recaption-{way}",
        steps=stable_steps,
        cooldown_steps=cooldown_steps,
        build=build,
        batch=windows_of(shards, bundle=bundle),
        loss=dit_loss,
        publish=lambda *_: None,
        optim=OptimConfig(lr=2e-4, warmup_steps=20, weight_decay=0.0),
        origin=f"{len(shards)} clips, from {bundle.name}",
        ema_decay=0.99,
        prefetch=1,
    )
    dit = loop.run(config, folder / "runs" / way)
    assert isinstance(dit, DiT)
    return dit


def whole_clips(shards: Shards, bundle: Bundle) -> LatentBatches:
    """All of every clip to be made, with its words."""
    how = WindowConfig(
        lengths=((5, 1.0),), begin_later=0.0, drop_text=0.0, extra_frame=0.0, patterns=(("all", 1.0),), shift=1.0
    )
    return replace(windows_of(shards, bundle=bundle), windows=how)


@torch.no_grad()
def losses(dit: DiT, batches: LatentBatches, packs: int) -> list[float]:
    return [float(dit_loss(dit, batches(n), torch.Generator().manual_seed(n))["loss"]) for n in range(packs)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captioner", nargs="?", default="playroom", help="as `minisora caption --model` takes it")
    parser.add_argument("--base", default="toybox")
    parser.add_argument("--clips", type=int, default=400, help="to learn from")
    parser.add_argument("--steps", type=int, default=200, help="of training, for each way of telling")
    parser.add_argument("--packs", type=int, default=24, help="of held-out clips to be shown")
    parser.add_argument("--out", type=Path, default=Path("out/recaption"))
    asked = parser.parse_args()
    bundle = load_bundle(asked.base, device=torch.device("cpu"), dtype=torch.float32)
    folder = asked.out / re.sub(r"\W+", "-", asked.captioner).strip("-")
    shards = latents(folder / "latents", asked.captioner, asked.clips, 8 * asked.packs, bundle)
    models = {way: trained(folder, way, shards[way], bundle, asked.steps) for way in WAYS}
    shown = {way: whole_clips(shards[f"shown-{way}"], bundle) for way in ("true", "other")}
    found = {
        name: {way: losses(dit.eval(), batches, asked.packs) for way, batches in shown.items()}
        for name, dit in {**models, "base": bundle.dit.float().cpu()}.items()
    }
    rows: list[Marks] = []
    for n in range(asked.packs):
        loss = {name: by["true"][n] for name, by in found.items()}
        worth = {name: by["other"][n] - by["true"][n] for name, by in found.items()}
        rows.append(
            {
                "loss": ("lower", loss["ours"], loss["other"], loss["true"]),
                "worth": ("higher", worth["ours"], worth["other"], worth["true"]),
                "base_loss": ("lower", loss["base"], loss["other"], loss["true"]),
                "base_worth": ("higher", worth["base"], worth["other"], worth["true"]),
            }
        )
    figures = figures_of("recaption", rows)
    write_rows(figures, folder, "recaption")
    print(verb_table(figures))


if __name__ == "__main__":
    main()
