"""The command `minisora`: thin shells around the Python interface.

Here: the commands, their options, and errors as one line.
Not here: what is refused before any work starts (console.py), the verbs (tasks.py, model.py), files (video/),
training runs (recipes.py), scores (eval/).

Heavy imports stand inside the commands, so that `minisora --help` answers at once. Exit status: 0 done, 1 our own
mistake, 2 something for the user to mend, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from minisora.console import check_numbers, make_folder, parse_size, progress
from minisora.errors import UsageError
from minisora.verbs import ModelName, Seconds, Zoom, add_verbs, load

if TYPE_CHECKING:
    from types import ModuleType

    from minisora.train.config import RunConfig

WORLDS = ("playroom", "stickers")
SHEET_ROWS = 12  # clips on the contact sheet of a world

Step = Callable[[int, int], None]  # (steps done, steps in all)


class _Commands(TyperGroup):
    """Turns what a user can mend into one line on stderr."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UsageError as error:
            typer.echo(f"error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            typer.echo("stopped", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def minisora() -> None:
    """Text to video, small enough to read. `minisora COMMAND --help` says more about each command."""


add_verbs(app)


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Print the card of this one.", show_default=False)] = None,
) -> None:
    """The models on this machine, or what one of them knows and cannot do."""
    from minisora.bundle import available

    if name is not None:
        import minisora

        typer.echo(minisora.load(name).card())
        return
    if not available():
        raise UsageError("no model came with this installation. Give --model a folder that holds one.")
    for found, folder in available().items():
        size_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        typer.echo(f"{found}  {size_bytes / 1e6:.0f} MB  {folder}")


@app.command()
def train(
    recipe: Annotated[
        str | None, typer.Argument(help="Its name, or a file of your own; none lists them.", show_default=False)
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Checkpoints, log and weights; .cache/runs/RECIPE.", show_default=False),
    ] = None,
    base: Annotated[
        str | None, typer.Option("--from", metavar="MODEL", help="Begin with its weights.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Curated clips, for fine-tune.", metavar="FOLDER", show_default=False)
    ] = None,
    lora: Annotated[
        int | None, typer.Option(metavar="RANK", help="For fine-tune: adapters only.", show_default=False)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Instead of the recipe's own.", show_default=False)] = None,
    replicate: Annotated[int, typer.Option(help="Under torchrun: whole copies of the weights.")] = 1,
    context: Annotated[int, typer.Option(help="Under torchrun: processes that share each clip's tokens.")] = 1,
    recompute: Annotated[bool, typer.Option("--recompute", help="Less memory, more arithmetic.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would take.")] = False,
) -> None:
    """Run a recipe. The same command again goes on where the last one stopped; under torchrun, on all processes."""
    from minisora.recipes import RECIPES, RUNS, begun_from, fine_tune, of_file

    if recipe is None:
        for name, make in RECIPES.items():
            typer.echo(f"{name}  {(make.__doc__ or '').strip().splitlines()[0]}")
        return
    is_file = recipe.endswith(".py")
    if is_file and steps is not None:
        raise UsageError(f"--steps is for recipes by name; {recipe} says its own.")
    if not is_file and recipe not in RECIPES:
        raise UsageError(f"there is no recipe {recipe!r}. There are: {', '.join(RECIPES)}; or give a file of your own.")
    if recipe != "fine-tune" and (data is not None or lora is not None):
        raise UsageError(f"--data and --lora are for the recipe fine-tune, not for {recipe}.")
    if steps is not None and steps < 1:
        raise UsageError(f"--steps {steps}: give 1 or more.")
    from minisora.train.loop import run
    from minisora.train.parallel import Layout, in_turn, joined
    from minisora.train.plan import describe

    def configured() -> RunConfig:
        given = {} if steps is None else {"steps": steps}
        if recipe == "fine-tune":
            return fine_tune(data, base or "toybox", lora=lora, **given)
        config = of_file(Path(recipe)) if is_file else RECIPES[recipe](**given)
        return config if base is None else begun_from(config, base)

    name = Path(recipe).stem if is_file else recipe if data is None else f"{recipe}-{data.resolve().name}"
    folder = RUNS / name if folder is None else folder
    layout = Layout(replicate=replicate, context=context, recompute=recompute)
    with joined(layout) as ranks:
        config = replace(in_turn(ranks, configured), layout=layout)
        if dry_run:
            typer.echo(describe(config))
            return
        make_folder(folder)
        run(config, folder)


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A model, its folder, or the folder of a run that left one.")],
    out: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
    as_wan: Annotated[bool, typer.Option("--wan", help="The transformer alone, for diffusers.")] = False,
) -> None:
    """A model as a folder of safetensors, to take along or to open elsewhere."""
    from minisora.train.export import export_bundle, export_wan

    typer.echo(f"{(export_wan if as_wan else export_bundle)(model, out)}: exported")


@app.command()
def evaluate(
    model: ModelName = "toybox",
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder for the report.")] = Path("out/evaluation"),
    count: Annotated[int, typer.Option(help="Held-out prompts to ask for.")] = 200,
    verbs: Annotated[int, typer.Option(help="Held-out clips that every other verb is measured on; 0 for none.")] = 24,
    aspects: Annotated[int, typer.Option(help="Held-out prompts at each of three aspects; 0 for none.")] = 24,
    motions: Annotated[int, typer.Option(help="Held-out clips of each motion that are extended; 0 for none.")] = 6,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="OLD NEW", help="Only say how two reports differ beyond noise.", show_default=False),
    ] = None,
) -> None:
    """Score a model by what it shows, between shuffled captions and real renders.

    Stickers are judged too, where they were fetched. Each of the two worlds gets a table; so do the other verbs, three
    aspects, and what a world must keep to: hidden things come back, pushed ones stay where they came to rest.
    """
    from minisora.eval import (
        aspect_figures,
        evaluate,
        left_out,
        motion_figures,
        sticker_report,
        verb_figures,
        verb_table,
    )
    from minisora.eval.compare import compare as compared
    from minisora.eval.page import write_page
    from minisora.eval.stickers import COUNT

    if compare is not None:
        typer.echo(compared(*compare))
        return
    if count < 1 or min(verbs, aspects, motions) < 0:
        raise UsageError(f"--count {count}, --verbs {verbs} ...: give 1 or more prompts, 0 or more of the others.")
    make_folder(out)
    with progress() as bar:
        loaded = load(model, bar)
        report = evaluate(loaded, out, count=count, on_step=bar.step)
        reason = left_out()
        told = sticker_report(loaded, out, count=min(count, COUNT), on_step=bar.step) if reason is None else None
        figures = verb_figures(loaded, out, count=verbs, on_step=bar.step) if verbs else []
        figures += aspect_figures(loaded, out, count=aspects, on_step=bar.step) if aspects else []
        figures += motion_figures(loaded, out, count=motions, on_step=bar.step) if motions else []
    typer.echo(str(report))
    if told is None:
        typer.echo(f"note: stickers are not judged: {reason}", err=True)
    else:
        typer.echo(f"\n{told}")
    if figures:
        typer.echo(f"\n{verb_table(figures)}")
    typer.echo(f"{write_page(out)}: the report")


@app.command()
def world(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(WORLDS)}.", show_default=False)],
    seed: Annotated[int, typer.Option(help="Of the first clip; each next one adds 1.")] = 0,
    count: Annotated[int, typer.Option(help="Clips to render.")] = 4,
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder for the clips.")] = Path("out/world"),
    seconds: Seconds = 4.0,
    fps: Annotated[float, typer.Option(help="Frames per second.")] = 8.0,
    size: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="In pixels.")] = "128x128",
    zoom: Zoom = 1,
) -> None:
    """True clips of a world that models are trained on, with their captions, to look at."""
    if name not in WORLDS:
        raise UsageError(f"there is no world {name!r}. There are: {', '.join(WORLDS)}.")
    check_numbers(seconds=seconds, fps=fps, seed=seed, count=count, zoom=zoom)
    height, width = parse_size(size) or (128, 128)
    num_frames = round(seconds * fps) + 1
    from minisora.device import check_memory

    check_memory(num_frames * height * width * 64, f"{seconds:g} s of {width}x{height}")  # the renderer's float planes
    make_folder(out)
    from minisora.video import Video, contact_sheet

    module = _world(name)
    rows = []
    with progress() as bar:
        for index in range(count):
            bar.step(index, count, "rendering")
            clip = module.clip(seed + index, height=height, width=width, fps=fps, num_frames=num_frames)
            Video(clip.frames, fps).save(out / f"{clip.key}.mp4", zoom=zoom)
            caption = max(clip.captions, key=lambda caption: caption.stop - caption.start).text
            rows.append((caption, clip.frames, fps))
            typer.echo(f"{clip.key}.mp4: {caption}")
        contact_sheet(rows[:SHEET_ROWS]).save(out / "sheet.png")
    typer.echo(f"{out}: {count} clips, and the first of them on sheet.png")


def _world(name: str) -> ModuleType:
    if name == "playroom":
        from minisora.worlds import playroom

        return playroom
    from minisora.worlds import stickers

    return stickers


def main() -> None:
    """The installed command."""
    app()
