"""Recipes: functions that return the complete config of a run; here those of the embedded weights.

A variant calls one of these and applies `dataclasses.replace`. `minisora train NAME` runs one; the
same command again resumes it.

    vae.py          the VAE
    transformer.py  the transformer: first pictures, then clips
    student.py      a few-step student of the transformer
    captioner.py    the captioner
    upscaler.py     the upscaler
    tuning.py       fine-tuning of a bundle on a user's own clips
    published.py    initial weights, previews and published files of transformer runs

Here: the table of recipes, and recipes from a user's own file.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from minisora.bundle import find
from minisora.dit.model import DiT
from minisora.errors import UsageError
from minisora.recipes import captioner, student, transformer, tuning, upscaler, vae
from minisora.recipes.captioner import captioner_playroom
from minisora.recipes.student import toybox_student
from minisora.recipes.transformer import filled, toybox, toybox_pictures
from minisora.recipes.tuning import fine_tune
from minisora.recipes.upscaler import toybox_upscale
from minisora.recipes.vae import vae_toybox
from minisora.train.config import RunConfig, content_of, on_meta, run_of

__all__ = [
    "RECIPES",
    "captioner_playroom",
    "fine_tune",
    "initialised_from",
    "recipe_from_file",
    "toybox",
    "toybox_pictures",
    "toybox_student",
    "toybox_upscale",
    "vae_toybox",
]

RECIPES: dict[str, Callable[..., RunConfig]] = {
    "vae-toybox": vae_toybox,
    "toybox-pictures": toybox_pictures,
    "toybox": toybox,
    "toybox-student": toybox_student,
    "fine-tune": fine_tune,
    "captioner-playroom": captioner_playroom,
    "toybox-upscale": toybox_upscale,
}


def recipe_from_file(path: Path) -> RunConfig:
    """The run that the function `recipe()` of a user's own file returns."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}.")
    sys.path.insert(0, str(path.parent.resolve()))  # so that processes that prefetch batches find it too
    known = {
        name: value
        for part in (vae, transformer, student, captioner, upscaler, tuning)
        for name, value in vars(part).items()
    }
    return run_of(lambda: importlib.import_module(path.stem), path, known)


def initialised_from(run: RunConfig, base: str | Path) -> RunConfig:
    """The run of a transformer, initialised with a bundle's weights."""
    weights = find(base) / "dit.safetensors"

    def build() -> DiT:
        dit = run.build()
        if not isinstance(dit, DiT):
            raise UsageError(f"{run.name} does not train a transformer: leave out --from.")
        return filled(dit, weights)

    on_meta(build)  # refuses weights that do not fit, before any data is written
    return replace(run, build=build, origin=f"{run.origin} from {base}".strip(), content=content_of(weights))
