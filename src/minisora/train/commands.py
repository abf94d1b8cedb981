"""The commands `plan` and `runs`: what a training run takes before it is begun, and how those that were begun go.

Here: their options. Not here: planning (plan.py), logs (watch.py), the page (watch_page.py), references
(reference.py); recipes and sizes, which the command line hands in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minisora.errors import UsageError
from minisora.train.watch import RUNS

if TYPE_CHECKING:
    from minisora.train.config import RunConfig
    from minisora.train.plan import Plan

Recipes = Mapping[str, Callable[[], "RunConfig"]]
SizeParser = Callable[[str | None], tuple[int, int] | None]
LETTERS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}


def add_training_commands(app: typer.Typer, *, recipes: Callable[[], Recipes], parse_size: SizeParser) -> None:
    """Put `plan` and `runs` into the command line. recipes: called when it is needed, as its import is slow."""

    @app.command()
    def plan(
        name: Annotated[str, typer.Argument(help="A recipe, wan-1.3b, wan-5b, wan-14b, or a bundle.")],
        gpus: Annotated[str, typer.Option(help="How many of what, such as 8xH100; cpu is this machine.")] = "cpu",
        size: Annotated[
            str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Of the clips.", show_default=False)
        ] = None,
        seconds: Annotated[float | None, typer.Option(help="Length of the clips.", show_default=False)] = None,
        fps: Annotated[float | None, typer.Option(help="Frames per second.", show_default=False)] = None,
        samples: Annotated[str | None, typer.Option(help="Clips to train on, such as 10M.", show_default=False)] = None,
        batch: Annotated[
            int | None, typer.Option(help="Clips of a step; as many as are fast.", show_default=False)
        ] = None,
        mfu: Annotated[float, typer.Option(help="Share of the peak that the arithmetic reaches.")] = 0.4,
        price: Annotated[float | None, typer.Option(help="For one device and hour.", show_default=False)] = None,
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """What a training run takes: memory, the fastest layout that fits, hours, cost, storage."""
        _check_positive(seconds=seconds, fps=fps, batch=batch, price=price)
        if not 0 < mfu <= 1:
            raise UsageError(f"--mfu {mfu:g}: give a share above 0, at most 1; 0.4 is usual.")
        from minisora.train.devices import devices_named
        from minisora.train.known import known
        from minisora.train.plan import plan_model, plan_run

        number = None if samples is None else parse_count(samples)
        count, device = devices_named(gpus)
        known_recipes = recipes()
        made: Plan
        if name in known_recipes:
            if (size, seconds, fps) != (None, None, None):
                raise UsageError(f"the recipe {name} says what its clips are: leave out --size, --seconds and --fps.")
            run = known_recipes[name]()
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
                mfu=mfu,
                price=price,
            )
        if as_json:
            typer.echo(made.to_json())
            return
        from rich import print as show

        show(made)

    @app.command()
    def runs(
        folder: Annotated[Path, typer.Argument(help="A run's name or folder, or a folder of runs.")] = RUNS,
        page: Annotated[
            Path | None,
            typer.Option(metavar="HTML", help="Write one page with curves and samples.", show_default=False),
        ] = None,
        tensorboard: Annotated[
            Path | None, typer.Option(metavar="FOLDER", help="Write the logs for TensorBoard.", show_default=False)
        ] = None,
        keep_reference: Annotated[
            bool, typer.Option("--keep-reference", help="From now on, runs of this recipe are held against this one.")
        ] = False,
    ) -> None:
        """The training runs here, or one of them: how far, how well, and its curves."""
        from rich.console import Console

        from minisora.train.reference import keep, make_reference
        from minisora.train.watch import chart, find_runs, quantities, table, to_tensorboard
        from minisora.train.watch_page import write_page

        found = find_runs(folder)
        if keep_reference and len(found) > 1:
            raise UsageError(f"--keep-reference: {folder} holds {len(found)} runs. Name one of them.")
        console = Console()
        console.print(table(found))
        if len(found) == 1:
            width = min(100, max(20, console.width - 12))
            for quantity in quantities(found)[:4]:
                typer.echo(f"\n{chart(found[0], quantity, width=width)}")
        if page is not None:
            typer.echo(f"{write_page(found, page)}: curves and samples of {len(found)} runs")
        if tensorboard is not None:
            typer.echo(f"{tensorboard}: {to_tensorboard(found, tensorboard):,} values")
        if keep_reference:
            typer.echo(f"{keep(make_reference(found[0].folder.resolve().name, found[0].rows))}: the reference")


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
