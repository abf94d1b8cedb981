"""Checks of the command line before any work, printing, and the progress bar.

Here: sizes and numbers as people write them, outputs that cannot be written or would replace other
files, lines that a terminal may safely show, the bar.
Not here: the commands (the other files of cli/), which files may be replaced (video/origin.py).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from minisora.errors import UsageError
from minisora.outside import printable
from minisora.progress import Event

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from minisora.cli.produce import Output


class Bar:
    """One line with the current work, and its progress if the total is known."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._what = ""
        self._task: TaskID | None = None

    def doing(self, what: str, total: int | None = None) -> None:
        """Replace the line; without a total the bar only moves."""
        from rich.markup import escape

        if self._task is not None:
            self._bars.remove_task(self._task)
        what = escape(printable(what))
        self._what, self._task = what, self._bars.add_task(what, total=total)

    def step(self, event: Event) -> None:
        """Show progress: an `on_event` listener."""
        if event.done >= event.total:
            self.doing("finishing")
            return
        if self._what != event.stage or self._task is None:
            self.doing(event.stage, event.total)
        assert self._task is not None
        self._bars.update(self._task, completed=event.done, total=event.total)


def say(text: str, *, err: bool = False) -> None:
    """Print lines, with what a terminal would obey escaped.

    When nobody reads them any more (`| head`), the work goes on without.
    """
    import typer

    try:
        typer.echo(printable(text, keep="\n\t"), err=err)
    except BrokenPipeError:
        stream = sys.stderr if err else sys.stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def progress() -> Iterator[Bar]:
    """Context manager: a bar on stderr, if that is a terminal, removed at the end."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        yield Bar(bars)


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Parse the option --size to (height, width)."""
    if text is None:
        return None
    from minisora.video.frames import size_of

    if (size := size_of(text)) is None:
        raise UsageError(f"--size {text}: give WIDTHxHEIGHT in pixels, both 1 or more, such as 128x96.")
    return size


def check_numbers(*, seed: int, zoom: int, seconds: float, fps: float | None, count: int) -> None:
    """Raise UsageError for numbers out of range; memory is checked by `device.check_memory`."""
    if not 0 < seconds <= 1e9:
        raise UsageError(f"--seconds {seconds:g}: give a number above 0, at most 1e+09.")
    if fps is not None and not 0.01 <= fps <= 1000:
        raise UsageError(f"--fps {fps:g}: give 0.01 to 1000.")
    if not 1 <= count <= 100_000:
        raise UsageError(f"--count {count}: give 1 to 100000.")
    if not 0 <= seed < 2**63:
        raise UsageError(f"--seed {seed}: give a whole number from 0 to 2^63 - 1.")
    check_zoom(zoom)


def check_zoom(zoom: int) -> None:
    if not 1 <= zoom <= 16:
        raise UsageError(f"--zoom {zoom}: give 1 to 16.")


def check_outputs(output: Output, inputs: Iterable[Path], *, moving: bool) -> None:
    """Raise UsageError for outputs that cannot be written, or would replace an input or each other.

    inputs: files that the command reads
    moving: more than one frame
    """
    from minisora.video import check_writable
    from minisora.video.files import check_place
    from minisora.video.origin import check_apart

    check_writable(output.out, num_frames=2 if moving else 1)
    for path, name, suffix in ((output.sheet, "--sheet", ".png"), (output.save_request, "--save-request", ".json")):
        if path is None:
            continue
        if path.suffix.lower() != suffix:
            what = "a contact sheet" if suffix == ".png" else "a request"
            raise UsageError(f"{name} {path}: {what} is a {suffix}.")
        check_place(path)
    check_apart(output.paths, inputs, force=output.force)


def check_kept(output: Output, inputs: Iterable[Path], num_frames: int | None = None) -> None:
    """Raise UsageError for outputs that would replace an input, each other, or what others made.

    num_frames: of the video; None if it is not known, so the names of a sequence are not either
    """
    from minisora.video import check_writable
    from minisora.video.origin import check_apart, check_replaceable
    from minisora.video.write import is_numbered, written_names

    check_writable(output.out, num_frames=num_frames)
    made = [] if num_frames is None and is_numbered(output.out) else written_names(output.out, num_frames or 1)
    paths = [*made, *output.paths[1:]]
    check_apart(paths, inputs, force=output.force)
    check_replaceable(paths, force=output.force)


def make_folder(folder: Path) -> None:
    """Create a folder. Raises UsageError if it cannot be created or written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be made: {error.strerror}. Name another.") from None
    if not os.access(folder, os.W_OK):
        raise UsageError(f"the folder {folder} cannot be written. Name another.")
