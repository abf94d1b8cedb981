"""Results of papers: trained, measured, and kept as one JSON file each.

A file is written after every row, so a stopped run goes on with the next. Those that come with the
package (`stored`) are what `minisora zoo table` and the tests read.

Here: running an entry, its file. Not here: pages of them (pages.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from minisora.video.files import replacing
from minisora.video.write import write_picture
from minisora.worlds.playroom import WORLD_VERSION
from minisora.zoo.frame import measure
from minisora.zoo.frame.entry import TABLE, Budget, Entry, Row, with_needs
from minisora.zoo.frame.train import about, train

RESULTS = Path(".cache/zoo/results")
STORED = Path(__file__).parents[1] / "results"
FRAMES_SHOWN = 6  # of a clip, in pictures of samples
Result = dict[str, Any]


def result_of(
    entry: Entry, *, seed: int = 0, budget: Budget = TABLE, folder: Path = RESULTS, say: Callable[[str], None] = print
) -> Result:
    """Train what the entry needs, measure its rows and figures; what is done already is kept."""
    path = path_of(entry, seed=seed, budget=budget, folder=folder)
    done: Result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if done.get("of") != (of := {"world": WORLD_VERSION, "seed": seed, "budget": asdict(budget)}):
        done = {"of": of, "stages": {}, "rows": {}, "bounds": {}, "figures": {}}
    folder.mkdir(parents=True, exist_ok=True)
    models = {}
    for stage in entry.every_stage():
        say(f"{entry.name}: {stage.name}")
        models[stage.name] = train(stage, seed=seed, budget=budget)
        done["stages"][stage.name] = about(stage, seed=seed, budget=budget)
    for row in entry.rows:
        if row.toy.name not in done["bounds"]:
            floor, ceiling = measure.bounds(row.toy, budget)
            done["bounds"][row.toy.name] = {"floor": asdict(floor), "ceiling": asdict(ceiling)}
        if row.name not in done["rows"]:
            figures, frames = measure.measured(row, models, seed=seed, budget=budget)
            picture = path.with_name(f"{path.stem}-row{len(done['rows']) + 1}.png")
            write_picture(picture, strip(frames, 12))
            cost = _cost(row, done)
            done["rows"][row.name] = {**asdict(figures), **cost, "toy": row.toy.name, "picture": picture.name}
            say(f"{row.name}: Frechet distance {figures.frechet:.2f}, score {figures.score:.2f}")
            _save(done, path)
    if entry.figures is not None and not done["figures"]:
        done["figures"] = dict(entry.figures(models, seed))
        say(", ".join(f"{name} {value:.4g}" for name, value in done["figures"].items()))
    _save(done, path)
    return done


def path_of(entry: Entry, *, seed: int, budget: Budget, folder: Path = RESULTS) -> Path:
    return folder / f"{budget.named(entry.name, seed)}.json"


def samples_of(entry: Entry, *, seed: int = 0, budget: Budget = TABLE, count: int = 24) -> Image.Image:
    """Samples of a trained entry as a picture, a line for each of its rows; trains it if needed."""
    models = {stage.name: train(stage, seed=seed, budget=budget) for stage in entry.every_stage()}
    few = replace(budget, samples=count, clips=max(1, count // FRAMES_SHOWN))
    lines = [strip(measure.sampled(row, models, seed=seed, budget=few).frames, count) for row in entry.rows]
    width = max(line.width for line in lines)
    sheet = Image.new("RGB", (width, sum(line.height for line in lines)), "white")
    for n, line in enumerate(lines):
        sheet.paste(line, (0, sum(each.height for each in lines[:n])))
    return sheet


def _cost(row: Row, done: Result) -> Result:
    """Parameters, FLOPs and samples of all stages behind a row; the last one's loss."""
    stages = [done["stages"][stage.name] for stage in with_needs(row.stages)]
    return {
        **{key: sum(each[key] for each in stages) for key in ("parameters", "flops", "samples")},
        "loss": stages[-1]["loss"],
    }


def strip(frames: Tensor, count: int) -> Image.Image:
    """The first `count` pictures (N, T, H, W, 3) uint8 in a line; FRAMES_SHOWN frames of a clip."""
    shown = min(frames.shape[1], FRAMES_SHOWN)
    times = torch.linspace(0, frames.shape[1] - 1, shown).round().long()
    line = frames[: count // shown, times].flatten(0, 1)
    return Image.fromarray(torch.cat(list(line), 1).numpy())


def _save(done: Result, path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
