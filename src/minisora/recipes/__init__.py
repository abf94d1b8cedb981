"""Whole runs, each a function that returns a complete config; such as the embedded weights'.

A variant calls one of these and applies `dataclasses.replace`. `minisora train NAME` runs one; the
same command again goes on where it stopped.

    vae.py          the VAE
    transformer.py  the transformer: first pictures, then clips
    student.py      a student of few steps, beside the transformer
    captioner.py    the captioner
    upscaler.py     the upscaler
    tuning.py       a bundle trained on, with a user's own clips
    published.py    what runs of the transformer show on the way and leave at the end

Here: which there are, and files of a user's own.
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
    "begun_from",
    "captioner_playroom",
    "fine_tune",
    "of_file",
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


def of_file(path: Path) -> RunConfig:
    """The run that a user's own file describes: what its function `recipe()` returns."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}.")
    sys.path.insert(0, str(path.parent.resolve()))  # so that the processes that make batches find it too
    known = {
        name: value
        for part in (vae, transformer, student, captioner, upscaler, tuning)
        for name, value in vars(part).items()
    }
    return run_of(lambda: importlib.import_module(path.stem), path, known)


def begun_from(run: RunConfig, base: str | Path) -> RunConfig:
    """The run of a transformer, from a bundle's weights instead of fresh ones."""
    weights = find(base) / "dit.safetensors"

    def build() -> DiT:
        dit = run.build()
        if not isinstance(dit, DiT):
            raise UsageError(f"{run.name} does not train a transformer: leave out --from.")
        return filled(dit, weights)

    on_meta(build)  # what does not fit is refused before any data is made
    return replace(run, build=build, origin=f"{run.origin} from {base}".strip(), content=content_of(weights))
