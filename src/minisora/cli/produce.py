"""From a request to a file: the options that all verbs share, and running one.

Here: loading the model, running, writing, notes, seconds by stage, several processes. Not here: the
verbs (generate/verbs.py), their commands (requests.py), checks before any work (console.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minisora.cli.console import Bar, check_kept, progress, say
from minisora.errors import UsageError
from minisora.generate.request import Request

if TYPE_CHECKING:
    from minisora.generate.model import Model
    from minisora.generate.plan import Result, Work
    from minisora.video import Stream, Video

STARTED = time.perf_counter()  # nothing before this line takes long

ModelName = Annotated[str, typer.Option("--model", help="A name from `minisora models`, or a folder.")]
Zoom = Annotated[int, typer.Option(help="Write each pixel this many times as wide and as high.")]
Force = Annotated[bool, typer.Option("--force", "-y", help="Replace inputs, and files that minisora did not make.")]


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Options of the model."""

    model: ModelName = "toybox"
    upscale: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|none", help="An upscaler; the model's own if not given. With none, --size is the model's."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Output:
    """Options of the output."""

    out: Annotated[Path, typer.Option("--out", "-o", help="By suffix: mp4, webm, gif, mkv (lossless), png.")]
    zoom: Zoom = 1
    sheet: Annotated[Path | None, typer.Option(metavar="PNG", help="A contact sheet too.")] = None
    save_request: Annotated[
        Path | None, typer.Option(metavar="JSON", help="The request, for `minisora run`; also in the video.")
    ] = None
    timings: Annotated[bool, typer.Option("--timings", help="Print how long each stage took.")] = False
    force: Force = False

    @property
    def paths(self) -> list[Path]:
        """Files to write, the video first."""
        return [path for path in (self.out, self.sheet, self.save_request) if path is not None]


def load(name: str, bar: Bar, upscale: str | None = None) -> Model:
    import minisora

    bar.doing(f"loading {name}")
    return minisora.load(name, upscale=upscale)


def produce(
    request: Request,
    options: ModelOptions | None,
    output: Output,
    *,
    inputs: Sequence[Path] = (),
    digest: str | None = None,
) -> None:
    """Load the model, make the video, write it and print a summary.

    options: None for a request that needs no model
    inputs:  files that are read, which no output may replace
    digest:  of the required weights; None: any
    """
    from minisora.video import Stream
    from minisora.video.files import replacing

    with progress() as bar, processes(output) as (output, share):
        loaded = None if options is None or not request.needs_model else load(options.model, bar, options.upscale)
        if loaded is not None:
            _check_digest(loaded, digest)
            share(loaded)
        work = planned(request, loaded, bar)
        check_kept(output, inputs, work.plan.shape.num_frames)
        result = run(work)
        made, started = result.video, time.perf_counter()
        notes = [*result.notes, *save(made, output.out, output.zoom)]
        write_seconds = time.perf_counter() - started
    if isinstance(made, Stream):
        num_frames, height, width = made.made, made.height, made.width
    else:
        num_frames, height, width, _ = made.frames.shape
    for note in notes:
        say(f"note: {note}", err=True)
    length = f", {num_frames} frames at {made.fps:g} fps" if num_frames > 1 else ""
    say(f"{output.out}: {width}x{height}{length}")
    if output.sheet is not None:
        made.contact_sheet(output.sheet)
        say(f"{output.sheet}: contact sheet")
    if output.save_request is not None:
        with replacing(output.save_request) as temporary:
            temporary.write_text(made.request + "\n", encoding="utf-8")
        say(f"{output.save_request}: the request")
    if output.timings:
        whole = time.perf_counter() - STARTED
        before = {} if loaded is None else {"load": loaded.load_seconds}
        for stage, seconds in {**before, **result.timings, "write": write_seconds, "all of it": whole}.items():
            say(f"{stage:>11} {seconds:7.2f} s")
    if num_frames < work.plan.shape.num_frames:
        left = (work.plan.shape.num_frames - num_frames) / made.fps
        same = f"--size {width}x{height} --fps {made.fps:g} -o longer{output.out.suffix}"
        say(f'stopped; to go on: minisora extend {quote(str(output.out))} "PROMPT" --after {left:g} {same}', err=True)
        raise typer.Exit(130)


def planned(request: Request, model: Model | None, bar: Bar) -> Work:
    """Plan a request, on the model if it needs one. Raises UsageError if it cannot be run."""
    from minisora.generate.media import files
    from minisora.generate.plan import Work

    if names := ", ".join(path.name for path in files(request)):
        bar.doing(f"reading {names}")
    return Work.of(None if model is None else model.bundle, request, bar.step)


def run(work: Work) -> Result[Any]:
    """Run a planned request; its result, or the part before Ctrl-C.

    A video longer than the context window is a stream, generated while it is written.
    """
    from minisora.generate.plan import Stopped

    if work.is_long:
        return work.stream()
    try:
        return work.run()
    except Stopped as stopped:
        return stopped.result


def save(made: Video | Stream, path: Path, zoom: int) -> list[str]:
    """Write a video to a path that was checked before; notes for the user."""
    from minisora.video import Video

    return made.save(path, zoom=zoom, keep=True) if isinstance(made, Video) else made.save(path, zoom=zoom)


def _check_digest(model: Model, digest: str | None) -> None:
    """Raise UsageError for other weights than those of a saved request."""
    if digest and model.bundle.digest != digest:
        raise UsageError(
            f"the request was made by {model.bundle.name} with weights {digest}; the one here has "
            f"{model.bundle.digest}, and would make other frames. Give --model the folder of that one, or --model "
            f"{model.bundle.name} to take the one here."
        )


@contextmanager
def processes(output: Output) -> Iterator[tuple[Output, Callable[[Model], None]]]:
    """Under torchrun, share the tokens among all processes and let only the first write."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield output, lambda model: None
        return
    from minisora.train.parallel import Layout, joined, share_packs

    with joined(Layout(context=int(os.environ["WORLD_SIZE"]))) as ranks, TemporaryDirectory() as aside:
        if not ranks.is_first:
            output = replace(output, out=Path(aside) / output.out.name, sheet=None, save_request=None)
        yield output, lambda model: share_packs(model.bundle.dit, ranks)
