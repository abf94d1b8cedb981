"""The command `minisora`: thin shells around the Python interface.

Here: the commands, their options, and errors as one line.
Not here: what is refused before any work starts (console.py), the verbs (generate/), files (video/),
training runs (recipes.py), scores (eval/).

Heavy imports stand inside the commands, so that `minisora --help` answers at once. Exit status: 0 done, 1 our own
mistake, 2 something for the user to mend, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from minisora.caption.command import caption
from minisora.console import check_numbers, make_folder, parse_size, progress
from minisora.curate.command import curate
from minisora.errors import UsageError
from minisora.plan.command import add_plan_command
from minisora.produce import ModelName, Zoom, load
from minisora.progress import Event
from minisora.verbs import add_verbs
from minisora.watch.command import add_runs_command

if TYPE_CHECKING:
    from types import ModuleType

    from minisora.generate.model import Model
    from minisora.train.config import RunConfig

WORLDS = ("playroom", "stickers")
SHEET_ROWS = 12  # clips on the contact sheet of a world


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


def _version(wanted: bool) -> None:
    if wanted:
        import minisora

        typer.echo(f"minisora {minisora.__version__}")
        raise typer.Exit


@app.callback()
def minisora(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Text to video, small enough to read. `minisora COMMAND --help` says more about each command."""


def _recipes() -> dict[str, Callable[..., RunConfig]]:
    from minisora.recipes import RECIPES

    return RECIPES


add_verbs(app)
app.command()(curate)
app.command()(caption)
add_plan_command(app, recipes=_recipes, parse_size=parse_size)
add_runs_command(app)


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Print the card of this one.")] = None,
) -> None:
    """The models on this machine, or what one of them knows and cannot do."""
    from minisora.bundle import available

    if name is not None:
        import minisora

        typer.echo(minisora.load(name, upscale="none").card())
        return
    if not available():
        raise UsageError("no model came with this installation. Give --model a folder that holds one.")
    for found, folder in available().items():
        size_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        typer.echo(f"{found}  {size_bytes / 1e6:.0f} MB  {folder}")


@app.command()
def train(
    recipe: Annotated[str | None, typer.Argument(help="Its name, or a file of your own; none lists them.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Checkpoints, log and weights; .cache/runs/RECIPE.")
    ] = None,
    base: Annotated[str | None, typer.Option("--from", metavar="MODEL", help="Begin with its weights.")] = None,
    data: Annotated[Path | None, typer.Option(help="Curated clips, for fine-tune.", metavar="FOLDER")] = None,
    pictures: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Curated pictures beside them: a quarter of a step.")
    ] = None,
    lora: Annotated[int | None, typer.Option(metavar="RANK", help="For fine-tune: adapters only.")] = None,
    steps: Annotated[int | None, typer.Option(help="Of all, cool-down included; instead of the recipe's own.")] = None,
    cooldown_steps: Annotated[int | None, typer.Option(help="Of them in the cool-down; 0 leaves it out.")] = None,
    cool_down: Annotated[
        bool, typer.Option("--cool-down", help="Cool the newest checkpoint down now; the run can go on from it later.")
    ] = False,
    replicate: Annotated[int | None, typer.Option(help="Under torchrun: whole copies of the weights.")] = None,
    context: Annotated[
        int | None, typer.Option(help="Under torchrun: processes that share each clip's tokens.")
    ] = None,
    recompute: Annotated[bool | None, typer.Option("--recompute", help="Less memory, more arithmetic.")] = None,
    float8: Annotated[bool | None, typer.Option("--float8", help="Matmuls in float8, on GPUs that have it.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would take.")] = False,
) -> None:
    """Run a recipe. The same command again goes on where the last one stopped; under torchrun, on all processes."""
    from minisora.recipes import RECIPES, begun_from, of_file
    from minisora.tuning import called, fine_tune
    from minisora.watch.logs import RUNS

    if recipe is None and data is not None:
        raise UsageError("--data is for the recipe fine-tune: minisora train fine-tune --data FOLDER.")
    if recipe is None:
        for name, make in RECIPES.items():
            typer.echo(f"{name}  {(make.__doc__ or '').strip().splitlines()[0]}")
        return
    is_file = recipe.endswith(".py")
    if is_file and steps is not None:
        raise UsageError(f"--steps is for recipes by name; {recipe} says its own.")
    if not is_file and recipe not in RECIPES:
        raise UsageError(f"there is no recipe {recipe!r}. There are: {', '.join(RECIPES)}; or give a file of your own.")
    if recipe != "fine-tune" and any(given is not None for given in (data, pictures, lora)):
        raise UsageError(f"--data, --pictures and --lora are for the recipe fine-tune, not for {recipe}.")
    if steps is not None and steps < 1:
        raise UsageError(f"--steps {steps}: give 1 or more.")
    from minisora.plan.estimate import describe
    from minisora.train.loop import run
    from minisora.train.parallel import Layout, in_turn, joined

    def configured() -> RunConfig:
        given = {} if steps is None else {"steps": steps}
        if recipe == "fine-tune":
            return fine_tune(data, base or "toybox", pictures=pictures, lora=lora, **given)
        if recipe in ("toybox-pictures", "toybox", "toybox-student", "captioner-playroom"):
            return RECIPES[recipe](base=base, **given)
        config = of_file(Path(recipe)) if is_file else RECIPES[recipe](**given)
        return config if base is None else begun_from(config, base)

    name = Path(recipe).stem if is_file else recipe if data is None else f"{recipe}-{called(data)}"
    name += "" if lora is None else "-lora"
    folder = RUNS / name if folder is None else folder

    def laid_out(own: Layout) -> Layout:
        """The recipe's own layout, but for what was asked for."""
        return Layout(
            replicate=own.replicate if replicate is None else replicate,
            context=own.context if context is None else context,
            recompute=own.recompute if recompute is None else recompute,
        )

    with joined(laid_out(Layout())) as ranks:
        config = in_turn(ranks, configured)
        config = replace(config, layout=laid_out(config.layout), float8=config.float8 if float8 is None else float8)
        if cooldown_steps is not None:
            config = replace(config, cooldown_steps=cooldown_steps)
        if dry_run:
            typer.echo(describe(config))
            return
        make_folder(folder)
        run(config, folder, cool_now=cool_down)


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
    size: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="In pixels; the model's own if not given.")
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            min=0, help="First frames to choose from; 0: all frames in one stage; the model's own if not given."
        ),
    ] = None,
    stickers: Annotated[int, typer.Option(help="Held-out stagings of stickers to ask for; 0 for none.")] = 160,
    verbs: Annotated[int, typer.Option(help="Held-out clips that every other verb is measured on; 0 for none.")] = 24,
    aspects: Annotated[int, typer.Option(help="Held-out prompts at each of three aspects; 0 for none.")] = 24,
    motions: Annotated[int, typer.Option(help="Held-out clips of each motion that are extended; 0 for none.")] = 6,
    world: Annotated[int, typer.Option(help="Held-out scenes of each kind for 3D and physics; 0 for none.")] = 6,
    variety: Annotated[int, typer.Option(help="Prompts for combinations, seeds and copying; 0 for none.")] = 8,
    i3d: Annotated[Path | None, typer.Option(metavar="FILE", help="i3d_torchscript.pt, for FVD.")] = None,
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="OLD NEW", help="Only say how two reports differ beyond noise.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Only score these videos, whoever made them.")
    ] = None,
    write_prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Only write the held-out prompts: .txt, .csv, .jsonl.")
    ] = None,
    export: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only make the clips of vbench, vbench2, compbench, physics-iq, worldmodelbench[-images].",
        ),
    ] = None,
    prompts: Annotated[Path | None, typer.Option(metavar="FILE", help="With --export: its prompts.")] = None,
    given: Annotated[Path | None, typer.Option(metavar="DIR", help="With physics-iq: its switch-frames.")] = None,
    read: Annotated[
        tuple[str, Path] | None, typer.Option(metavar="NAME FILE", help="Only read a benchmark's result file.")
    ] = None,
) -> None:
    """Score a model by what it shows, between shuffled captions and real renders.

    Stickers are judged too, where they were fetched. Each of the two worlds gets a table; so do the other verbs, three
    aspects, and what a world must keep to: things come back, stay where they were put, and move as the simulator says.
    """
    from minisora.eval import command

    if read is not None:
        typer.echo(command.read(*read))
        return
    if compare is not None:
        from minisora.eval.compare import compare as compared

        typer.echo(compared(*compare))
        if all(each.is_dir() for each in compare):
            from minisora.eval.page import write_page

            old, new = compare
            typer.echo(f"\n{write_page(new, old)}: the same with sheets side by side")
        return
    numbers = {"verbs": verbs, "aspects": aspects, "motions": motions, "world": world, "variety": variety}
    counts = command.Counts(prompts=count, stickers=stickers, **numbers)
    if write_prompts is not None:
        from minisora.eval import folder as folders

        folders.write_prompts(write_prompts, count)
        typer.echo(f"{write_prompts}: {count} held-out prompts")
        return
    if export is not None:
        command.check_export(export, given)
        if prompts is None:
            raise UsageError(f"--export {export} needs --prompts: the benchmark's own file of prompts.")
    pixels = parse_size(size)
    make_folder(out)
    if folder is not None:
        from minisora.eval.folder import folder_figures
        from minisora.eval.rows import verb_table

        typer.echo(verb_table(folder_figures(folder, out, count=count, i3d=i3d)))
        return
    with progress() as bar:
        loaded = load(model, bar, "none")  # what is measured is what the model makes
        how = loaded.bundle.sampling
        if candidates is not None:
            how = replace(how, candidates=candidates)
        loaded.bundle = replace(loaded.bundle, sampling=how if pixels is None else replace(how, size=pixels))
        if export is not None and prompts is not None:
            bar.doing(f"making the clips of {export}")
            told = f"{out}: {len(command.export(loaded, export, prompts, out, given=given))} new clips of {export}"
        else:
            seeds = _training_seeds(loaded)
            told = command.evaluate_all(loaded, out, counts, training=seeds, i3d=i3d, on_event=bar.step)
    typer.echo(told)


def _training_seeds(model: Model) -> Sequence[int]:
    """Of the two-second playroom clips that a model of our recipes was trained on; none of any other, nor world."""
    from minisora.recipes import RECIPES
    from minisora.sources import latent_jobs
    from minisora.worlds.playroom import WORLD_VERSION

    if model.bundle.trained.get("recipe") not in RECIPES or model.bundle.world != WORLD_VERSION:
        return ()
    return latent_jobs(["playroom-short"])[0].seeds


@app.command()
def world(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(WORLDS)}; or gym:ENV, any of Gymnasium.")],
    seed: Annotated[int, typer.Option(help="Of the first clip; each next one adds 1.")] = 0,
    count: Annotated[int, typer.Option(help="Clips to render.")] = 4,
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder for the clips.")] = Path("out/world"),
    seconds: Annotated[float | None, typer.Option(help="4; of gym:ENV the whole episode.")] = None,
    fps: Annotated[float | None, typer.Option(help="8; for gym:ENV its own.")] = None,
    size: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="In pixels.")] = "128x128",
    zoom: Zoom = 1,
) -> None:
    """True clips of a world that models are trained on, with their captions, to look at.

    Of an environment a JSON file lies beside each clip: its actions, its rewards, how it ended.
    """
    is_gym = name.startswith("gym:")
    if name not in WORLDS and not is_gym:
        raise UsageError(f"there is no world {name!r}. There are: {', '.join(WORLDS)}, gym:ENV.")
    length, rate = 4.0 if seconds is None else seconds, 8.0 if fps is None else fps
    check_numbers(seconds=length, fps=fps, seed=seed, count=count, zoom=zoom)
    height, width = parse_size(size) or (128, 128)
    num_frames = round(length * rate) + 1
    from minisora.device import check_memory

    if not is_gym:
        check_memory(num_frames * height * width * 64, f"{length:g} s of {width}x{height}")  # the renderer's planes
    make_folder(out)
    from minisora.video import Video, contact_sheet

    if is_gym:
        from minisora.worlds.gym import record

        clips = record(name.removeprefix("gym:"), episodes=count, size=(height, width), fps=fps, seed=seed)
    else:
        module, shape = _world(name), {"height": height, "width": width, "fps": rate, "num_frames": num_frames}
        clips = (module.clip(seed + index, **shape) for index in range(count))
    rows = []
    with progress() as bar:
        for index, clip in enumerate(islice(clips, count)):
            bar.step(Event("rendering", index, count))
            shown = clip.frames if seconds is None else clip.frames[: 1 + round(seconds * clip.fps)]
            Video(shown, clip.fps).save(out / f"{clip.key}.mp4", zoom=zoom)
            caption = max(clip.captions, key=lambda caption: caption.stop - caption.start).text
            if is_gym:  # one action leads from a frame to the next
                steps = {name: clip.truth[name][: len(shown) - 1] for name in ("actions", "rewards")}
                told = json.dumps({"caption": caption, **clip.truth, **steps})
                (out / f"{clip.key}.json").write_text(told, encoding="utf-8")
            rows.append((caption, shown, clip.fps))
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
    """The installed command. Under torchrun the first process alone says what it did."""
    if int(os.environ.get("RANK", 0)) > 0:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # until the process ends
    try:
        app()
    except SystemExit as ended:
        if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not ended.code:
            from minisora.train.parallel import leave

            leave()
        raise
