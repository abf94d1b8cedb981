"""`minisora plan`: estimate the memory, time and cost of a training run.

Here: the command. Not here: planning (runs/estimate.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minisora.cli.console import parse_size, say
from minisora.cli.options import taking
from minisora.errors import UsageError
from minisora.outside import as_path

if TYPE_CHECKING:
    from minisora.runs.plan import Plan
    from minisora.train.config import RunConfig

LETTERS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}


@dataclass(frozen=True, kw_only=True)
class Planning:
    """Options of `minisora plan`."""

    name: Annotated[str, typer.Argument(help="A recipe, or your file of one; wan-1.3b, wan-5b, wan-14b, or a bundle.")]
    gpus: Annotated[str, typer.Option(help="Count and kind, such as 8xH100; cpu is this machine.")] = "cpu"
    data: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Curated clips, for fine-tune.")] = None
    size: Annotated[str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Size of the clips.")] = None
    seconds: Annotated[float | None, typer.Option(help="Length of the clips.")] = None
    fps: Annotated[float | None, typer.Option(help="Frames per second.")] = None
    samples: Annotated[str | None, typer.Option(help="Clips to train on, such as 10M.")] = None
    batch: Annotated[int | None, typer.Option(help="Clips of a step; as many as are fast.")] = None
    mfu: Annotated[
        float | None,
        typer.Option(help="Share of the peak that the arithmetic reaches; 0.4, on a CPU what a reference had."),
    ] = None
    price: Annotated[float | None, typer.Option(help="For one device and hour.")] = None
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False

    def check(self) -> None:
        """Raise UsageError for numbers out of range, and for options that exclude each other."""
        for option in ("seconds", "fps", "batch", "price"):
            value = getattr(self, option)
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(f"--{option} {value:g}: give a number above 0.")
        if self.mfu is not None and not 0 < self.mfu <= 1:
            raise UsageError(f"--mfu {self.mfu:g}: give a share above 0, at most 1; 0.4 is usual.")
        if self.data is not None and self.name != "fine-tune":
            raise UsageError(f"--data is for the recipe fine-tune, not for {self.name}.")

    def recipe(self) -> RunConfig | None:
        """Run of a recipe or its file; None for a bundle or a Wan model."""
        from minisora.recipes import RECIPES, recipe_from_file

        if self.name not in RECIPES and not self.name.endswith(".py"):
            return None
        if (self.size, self.seconds, self.fps) != (None, None, None):
            raise UsageError(f"the recipe {self.name} says what its clips are: leave out --size, --seconds and --fps.")
        if self.name.endswith(".py"):
            return recipe_from_file(as_path(self.name))
        return RECIPES[self.name](**({} if self.data is None else {"data": self.data}))

    def planned(self) -> Plan:
        from minisora.runs.clips import clips_of
        from minisora.runs.devices import devices_named
        from minisora.runs.estimate import MFU, plan_model, plan_run
        from minisora.runs.known import known

        number = None if self.samples is None else parse_count(self.samples)
        count, device = devices_named(self.gpus)
        run = self.recipe()
        if run is not None:
            return plan_run(run, count, device, samples=number, batch=self.batch, mfu=self.mfu, price=self.price)
        clips = clips_of(known(self.name), size=parse_size(self.size), seconds=self.seconds, fps=self.fps)
        number = 10**6 if number is None else number
        mfu = MFU if self.mfu is None else self.mfu
        return plan_model(clips, count, device, samples=number, batch=self.batch, mfu=mfu, price=self.price)


@taking(Planning)
def plan(asked: Planning) -> None:
    """Estimate a training run: memory, the fastest layout that fits, hours, cost, storage."""
    asked.check()
    made = asked.planned()
    if asked.as_json:
        say(made.to_json())
        return
    from rich import print as show

    show(made)


def parse_count(text: str) -> int:
    """Parse a count such as "10M", ten million."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGB]?)", text.strip())
    count = round(float(match[1]) * LETTERS[match[2]]) if match else 0
    if count < 1:
        raise UsageError(f"--samples {text}: give a number such as 500k or 10M.")
    return count
