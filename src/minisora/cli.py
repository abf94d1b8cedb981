"""The command `minisora`: thin shells around the Python interface.

Here: the commands, their options, and errors as one line.
Not here: what is refused before any work starts (console.py), the verbs (tasks.py, model.py), files (video/),
training runs (recipes.py), scores (eval/).

Heavy imports stand inside the commands, so that `minisora --help` answers at once. Exit status: 0 done, 1 our own
mistake, 2 something for the user to mend, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from minisora.console import (
    Bar,
    check_bytes,
    check_numbers,
    check_outputs,
    check_prompt,
    make_folder,
    parse_size,
    progress,
)
from minisora.errors import UsageError

if TYPE_CHECKING:
    from types import ModuleType

    from minisora.model import Model
    from minisora.video import Video

STARTED = time.perf_counter()  # nothing before this line takes long
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

Prompt = Annotated[str, typer.Argument(help="What to show, in English.", show_default=False)]
Seconds = Annotated[float, typer.Option(help="Length of the video.")]
Fps = Annotated[float | None, typer.Option(help="Frames per second; the model's own if not given.", show_default=False)]
Size = Annotated[
    str | None,
    typer.Option(metavar="WIDTHxHEIGHT", help="In pixels; the model's own if not given.", show_default=False),
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.")]
Steps = Annotated[int, typer.Option(help="Sampler steps: more are slower and finer.")]
Guidance = Annotated[float, typer.Option(help="How far to push along the prompt; 1 adds nothing.")]
Sampler = Annotated[str, typer.Option(help="Such as dpmpp_2m, unipc, heun or euler.")]
ModelName = Annotated[str, typer.Option("--model", help="A name from `minisora models`, or a folder.")]
Zoom = Annotated[int, typer.Option(help="Write each pixel this many times as wide and as high.")]
Sheet = Annotated[Path | None, typer.Option(metavar="PNG", help="A contact sheet too.", show_default=False)]
Timings = Annotated[bool, typer.Option("--timings", help="Print how long each stage took.")]
VideoFile = Annotated[Path, typer.Option("--out", "-o", help="By suffix: mp4, webm, gif, or mkv (lossless).")]
ImageFile = Annotated[Path, typer.Option("--out", "-o", help="A png.")]


@app.callback()
def minisora() -> None:
    """Text to video, small enough to read. `minisora COMMAND --help` says more about each command."""


@app.command()
def generate(
    prompt: Prompt,
    out: VideoFile = Path("out.mp4"),
    seconds: Seconds = 2.0,
    fps: Fps = None,
    size: Size = None,
    seed: Seed = 0,
    steps: Steps = 24,
    guidance: Guidance = 4.0,
    sampler: Sampler = "dpmpp_2m",
    model: ModelName = "toybox",
    zoom: Zoom = 1,
    sheet: Sheet = None,
    timings: Timings = False,
) -> None:
    """A video of what the prompt says."""
    check_prompt(prompt)
    check_numbers(seconds=seconds, fps=fps, seed=seed, steps=steps, guidance=guidance, zoom=zoom)
    height_width = parse_size(size)

    def make(loaded: Model, on_step: Step) -> Video:
        _check_memory(loaded, seconds, height_width, fps)
        return loaded.generate(
            prompt,
            seconds=seconds,
            fps=fps,
            size=height_width,
            seed=seed,
            steps=steps,
            guidance=guidance,
            sampler=sampler,
            on_step=on_step,
        )

    _produce(make, prompt, model, out, sheet, zoom=zoom, timings=timings)


@app.command()
def image(
    prompt: Prompt,
    out: ImageFile = Path("out.png"),
    size: Size = None,
    seed: Seed = 0,
    steps: Steps = 24,
    guidance: Guidance = 4.0,
    sampler: Sampler = "dpmpp_2m",
    model: ModelName = "toybox",
    zoom: Zoom = 1,
    timings: Timings = False,
) -> None:
    """One picture of what the prompt says."""
    check_prompt(prompt)
    check_numbers(seed=seed, steps=steps, guidance=guidance, zoom=zoom)
    height_width = parse_size(size)

    def make(loaded: Model, on_step: Step) -> Video:
        _check_memory(loaded, 0.0, height_width, None)
        return loaded.image(
            prompt, size=height_width, seed=seed, steps=steps, guidance=guidance, sampler=sampler, on_step=on_step
        )

    _produce(make, prompt, model, out, None, zoom=zoom, timings=timings, moving=False)


@app.command()
def animate(
    photo: Annotated[Path, typer.Argument(help="The first frame of the video.", show_default=False)],
    prompt: Prompt,
    out: VideoFile = Path("out.mp4"),
    seconds: Seconds = 2.0,
    fps: Fps = None,
    size: Size = None,
    seed: Seed = 0,
    steps: Steps = 24,
    guidance: Guidance = 4.0,
    sampler: Sampler = "dpmpp_2m",
    model: ModelName = "toybox",
    zoom: Zoom = 1,
    sheet: Sheet = None,
    timings: Timings = False,
) -> None:
    """A video that starts from a picture and goes on as the prompt says.

    The picture is fitted to the model's pixel area at its own aspect first, or to --size.
    """
    check_prompt(prompt)
    check_numbers(seconds=seconds, fps=fps, seed=seed, steps=steps, guidance=guidance, zoom=zoom)
    height_width = parse_size(size)
    from minisora.video import read_image

    first = read_image(photo)

    def make(loaded: Model, on_step: Step) -> Video:
        _check_memory(loaded, seconds, height_width, fps)
        return loaded.animate(
            first,
            prompt,
            seconds=seconds,
            fps=fps,
            size=height_width,
            seed=seed,
            steps=steps,
            guidance=guidance,
            sampler=sampler,
            on_step=on_step,
        )

    video = _produce(make, prompt, model, out, sheet, zoom=zoom, timings=timings)
    if video.frames.shape[1:3] != first.shape[:2]:
        (height, width), (rows, columns) = first.shape[:2], video.frames.shape[1:3]
        typer.echo(f"note: {photo} ({width}x{height}) was fitted to {columns}x{rows}", err=True)


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
    recipe: Annotated[str | None, typer.Argument(help="Its name; none lists them.", show_default=False)] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Checkpoints, log and weights; .cache/runs/RECIPE.", show_default=False),
    ] = None,
) -> None:
    """Run a recipe. The same command again goes on where the last one stopped."""
    from minisora.recipes import RECIPES, RUNS

    if recipe is None:
        for name, make in RECIPES.items():
            typer.echo(f"{name}  {(make.__doc__ or '').strip().splitlines()[0]}")
        return
    if recipe not in RECIPES:
        raise UsageError(f"there is no recipe {recipe!r}. There are: {', '.join(RECIPES)}.")
    from minisora.train.loop import run

    folder = RUNS / recipe if folder is None else folder
    make_folder(folder)
    run(RECIPES[recipe](), folder)


@app.command()
def evaluate(
    model: ModelName = "toybox",
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder for the report.")] = Path("out/evaluation"),
    count: Annotated[int, typer.Option(help="Held-out prompts to ask for.")] = 200,
) -> None:
    """Score a model by what it shows, between shuffled captions and real renders.

    Stickers are judged too, where they were fetched; each of the two worlds gets a table.
    """
    from minisora.eval import evaluate, left_out, sticker_report
    from minisora.eval.stickers import COUNT

    if count < 1:
        raise UsageError(f"--count {count}: give 1 or more.")
    make_folder(out)
    with progress() as bar:
        loaded = _load(model, bar)
        report = evaluate(loaded, out, count=count, on_step=bar.step)
        reason = left_out()
        told = sticker_report(loaded, out, count=min(count, COUNT), on_step=bar.step) if reason is None else None
    typer.echo(str(report))
    if told is None:
        typer.echo(f"note: stickers are not judged: {reason}", err=True)
    else:
        typer.echo(f"\n{told}")
    typer.echo(f"{out}: the report")


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
    check_bytes(num_frames * height * width * 64, f"{seconds:g} s of {width}x{height}")  # the renderer's float planes
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


def _load(name: str, bar: Bar) -> Model:
    import minisora

    bar.doing(f"loading {name}")
    return minisora.load(name)


def _produce(
    make: Callable[[Model, Step], Video],
    prompt: str,
    model: str,
    out: Path,
    sheet: Path | None,
    *,
    zoom: int,
    timings: bool,
    moving: bool = True,
) -> Video:
    """Refuses what cannot be written, loads the model, makes the video, writes it and says what there is now."""
    check_outputs(out, sheet, moving=moving)
    with progress() as bar:
        loaded = _load(model, bar)
        video = make(loaded, bar.step)
        bar.doing(f"writing {out}")
        started = time.perf_counter()
        notes = video.save(out, zoom=zoom)
        if sheet is not None:
            video.contact_sheet(sheet)
        write_seconds = time.perf_counter() - started
    for note in [*loaded.notes(prompt), *notes]:
        typer.echo(f"note: {note}", err=True)
    num_frames, height, width, _ = video.frames.shape
    length = f", {num_frames} frames at {video.fps:g} fps" if num_frames > 1 else ""
    typer.echo(f"{out}: {width}x{height}{length}")
    if sheet is not None:
        typer.echo(f"{sheet}: contact sheet")
    if timings:
        whole = time.perf_counter() - STARTED
        for stage, seconds in {**loaded.timings, "write": write_seconds, "all of it": whole}.items():
            typer.echo(f"{stage:>10} {seconds:7.2f} s")
    return video


def _check_memory(model: Model, seconds: float, size: tuple[int, int] | None, fps: float | None) -> None:
    asked = f"{seconds:g} s" + (f" of {size[1]}x{size[0]}" if size else "")
    check_bytes(model.memory_bytes(seconds, size, fps), asked)


def main() -> None:
    """The installed command."""
    app()
