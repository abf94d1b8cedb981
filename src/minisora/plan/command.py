"""The command `plan`: what a training run takes before it is begun.

Here: its options. Not here: planning (estimate.py); recipes and sizes, which the command line hands in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minisora.errors import UsageError

if TYPE_CHECKING:
    from minisora.plan.estimate import Plan
    from minisora.train.config import RunConfig

Recipes = Mapping[str, Callable[..., "RunConfig"]]
SizeParser = Callable[[str | None], tuple[int, int] | None]
LETTERS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}


def add_plan_command(app: typer.Typer, *, recipes: Callable[[], Recipes], parse_size: SizeParser) -> None:
    """Put `plan` into the command line. recipes: called when it is needed, as its import is slow."""

    @app.command()
    def plan(
        name: Annotated[
            str, typer.Argument(help="A recipe, or your file of one; wan-1.3b, wan-5b, wan-14b, or a bundle.")
        ],
        gpus: Annotated[str, typer.Option(help="How many of what, such as 8xH100; cpu is this machine.")] = "cpu",
        data: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Curated clips, for fine-tune.")] = None,
        size: Annotated[str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Of the clips.")] = None,
        seconds: Annotated[float | None, typer.Option(help="Length of the clips.")] = None,
        fps: Annotated[float | None, typer.Option(help="Frames per second.")] = None,
        samples: Annotated[str | None, typer.Option(help="Clips to train on, such as 10M.")] = None,
        batch: Annotated[int | None, typer.Option(help="Clips of a step; as many as are fast.")] = None,
        mfu: Annotated[
            float | None,
            typer.Option(help="Share of the peak that the arithmetic reaches; 0.4, on a CPU what a reference had."),
        ] = None,
        price: Annotated[float | None, typer.Option(help="For one device and hour.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """What a training run takes: memory, the fastest layout that fits, hours, cost, storage."""
        _check_positive(seconds=seconds, fps=fps, batch=batch, price=price)
        if mfu is not None and not 0 < mfu <= 1:
            raise UsageError(f"--mfu {mfu:g}: give a share above 0, at most 1; 0.4 is usual.")
        from minisora.plan.devices import devices_named
        from minisora.plan.estimate import MFU, plan_model, plan_run
        from minisora.plan.known import known

        number = None if samples is None else parse_count(samples)
        count, device = devices_named(gpus)
        known_recipes: Recipes = recipes()
        made: Plan
        if name.endswith(".py"):
            from minisora.recipes import of_file

            known_recipes = {name: lambda: of_file(Path(name))}
        if data is not None and name != "fine-tune":
            raise UsageError(f"--data is for the recipe fine-tune, not for {name}.")
        if name in known_recipes:
            if (size, seconds, fps) != (None, None, None):
                raise UsageError(f"the recipe {name} says what its clips are: leave out --size, --seconds and --fps.")
            run = known_recipes[name](**({} if data is None else {"data": data}))
            made = plan_run(run, count, device, samples=number, batch=batch, mfu=mfu, price=price)
        else:
            made = plan_model(
                known(name),
                count,
                device,
                size=parse_size(size),
                seconds=seconds,
                fps=fps,
                samples=10**6 if number is None else number,
                batch=batch,
                mfu=MFU if mfu is None else mfu,
                price=price,
            )
        if as_json:
            typer.echo(made.to_json())
            return
        from rich import print as show

        show(made)


def parse_count(text: str) -> int:
    """Reads "10M" as ten million."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGB]?)", text.strip())
    count = round(float(match[1]) * LETTERS[match[2]]) if match else 0
    if count < 1:
        raise UsageError(f"--samples {text}: give a number such as 500k or 10M.")
    return count


def _check_positive(**given: float | None) -> None:
    for name, value in given.items():
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"--{name} {value:g}: give a number above 0.")
