"""From a verb to a file: the options that all verbs have, and what is done and said around each.

Here: loading the model, making, writing, notes, seconds by stage, several processes.
Not here: the verbs' own options (verbs.py), what is refused before any work starts (console.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minisora.console import Bar, parse_size, progress

if TYPE_CHECKING:
    from minisora.generate.model import Model
    from minisora.video import Stream, Video

STARTED = time.perf_counter()  # nothing before this line takes long

ModelName = Annotated[str, typer.Option("--model", help="A name from `minisora models`, or a folder.")]
Zoom = Annotated[int, typer.Option(help="Write each pixel this many times as wide and as high.")]
Make = Callable[..., Any]  # (model, **settings) -> Video or Stream


@dataclass(frozen=True, kw_only=True)
class Common:
    """The options that all verbs have."""

    out: Annotated[Path, typer.Option("--out", "-o", help="By suffix: mp4, webm, gif, mkv (lossless), png.")]
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTHxHEIGHT",
            help="As delivered, in pixels; the model's own if not given, four times that with an upscaler.",
        ),
    ] = None
    seed: Annotated[int, typer.Option(help="The same seed gives the same result.")] = 0
    steps: Annotated[
        int | None,
        typer.Option(
            help="Sampler steps: more are slower and finer; the model's own. A student, where the model has one, takes "
            "few; steps, guidance or sampler, if given, are of the full weights."
        ),
    ] = None
    guidance: Annotated[
        float | None, typer.Option(help="How far to push along the prompt, 1 adds nothing; the model's own.")
    ] = None
    sampler: Annotated[str | None, typer.Option(help="dpmpp_2m if not given; or unipc, heun, euler.")] = None
    context_noise: Annotated[float, typer.Option(help="How noisy the network sees what is given, 0 to 1.")] = 0.0
    model: ModelName = "toybox"
    upscale: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|none", help="An upscaler; the model's own if not given. With none, --size is what it makes."
        ),
    ] = None
    zoom: Zoom = 1
    sheet: Annotated[Path | None, typer.Option(metavar="PNG", help="A contact sheet too.")] = None
    timings: Annotated[bool, typer.Option("--timings", help="Print how long each stage took.")] = False

    @property
    def settings(self) -> dict[str, Any]:
        """What a method of `Model` takes."""
        names = ("seed", "steps", "guidance", "sampler", "context_noise")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        return {**given, "size": parse_size(self.size)}


def load(name: str, bar: Bar, upscale: str | None = None) -> Model:
    import minisora

    bar.doing(f"loading {name}")
    return minisora.load(name, upscale=upscale)


def produce(make: Make, prompt: str, how: Common) -> None:
    """Load the model, make the video, write it and say what there is now."""
    from minisora.video import Stream

    with progress() as bar, _processes(how) as (how, share):
        loaded = load(how.model, bar, how.upscale)
        share(loaded)
        made, wanted = _made(make, loaded, how, bar)
        started = time.perf_counter()
        notes = made.save(how.out, zoom=how.zoom)
        write_seconds = time.perf_counter() - started
    if isinstance(made, Stream):
        num_frames, height, width = made.made, made.height, made.width
    else:
        num_frames, height, width, _ = made.frames.shape
    if how.sheet is not None:
        made.contact_sheet(how.sheet)
    for note in [*(loaded.notes(prompt) if prompt else ()), *loaded.remarks, *notes]:
        typer.echo(f"note: {note}", err=True)
    length = f", {num_frames} frames at {made.fps:g} fps" if num_frames > 1 else ""
    typer.echo(f"{how.out}: {width}x{height}{length}")
    if how.sheet is not None:
        typer.echo(f"{how.sheet}: contact sheet")
    if how.timings:
        whole = time.perf_counter() - STARTED
        for stage, seconds in {**loaded.timings, "write": write_seconds, "all of it": whole}.items():
            typer.echo(f"{stage:>11} {seconds:7.2f} s")
    if num_frames < wanted:
        left = (wanted - num_frames) / made.fps
        same = f"--size {width}x{height} --fps {made.fps:g} -o longer{how.out.suffix}"
        typer.echo(f'stopped; to go on: minisora extend {how.out} "PROMPT" --after {left:g} {same}', err=True)
        raise typer.Exit(130)


def _made(make: Make, model: Model, how: Common, bar: Bar) -> tuple[Video | Stream, int]:
    """What a verb makes, or what Ctrl-C left of it; and how many frames there should be."""
    from minisora.generate.tasks import Stopped
    from minisora.video import Stream

    try:
        made = make(model, **how.settings, on_step=bar.step)
    except Stopped as stopped:
        return stopped.made, stopped.num_frames
    return made, made.num_frames if isinstance(made, Stream) else len(made.frames)


@contextmanager
def _processes(how: Common) -> Iterator[tuple[Common, Callable[[Model], None]]]:
    """Under torchrun all processes work on the same tokens, and the first of them writes what was asked for."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield how, lambda model: None
        return
    from minisora.train.parallel import Layout, joined, share_packs

    with joined(Layout(context=int(os.environ["WORLD_SIZE"]))) as ranks, TemporaryDirectory() as aside:
        if not ranks.is_first:
            how = replace(how, out=Path(aside) / how.out.name, sheet=None)
        yield how, lambda model: share_packs(model.bundle.dit, ranks)
