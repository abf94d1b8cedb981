"""The command line's two sides: what it refuses before any work starts, and how it shows work that takes a while.

Here: sizes and numbers as people write them, outputs that could not be written, memory that is not there, the bar.
Not here: the commands (cli.py).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from minisora.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Bar:
    """One line that says what is going on, and how far it is where that is known."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._what = ""
        self._task: TaskID | None = None

    def doing(self, what: str, total: int | None = None) -> None:
        """Replaces the line; without a total the bar only moves."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._what, self._task = what, self._bars.add_task(what, total=total)

    def step(self, done: int, total: int, what: str = "denoising") -> None:
        """The `on_step` of a model: how many of all steps are done."""
        if done >= total:
            self.doing("finishing")
            return
        if self._what != what or self._task is None:
            self.doing(what, total)
        assert self._task is not None
        self._bars.update(self._task, completed=done)


@contextmanager
def progress() -> Iterator[Bar]:
    """A bar on stderr where that is a terminal, gone when the block ends."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        yield Bar(bars)


def parse_size(text: str | None) -> tuple[int, int] | None:
    """The option --size to (height, width)."""
    if text is None:
        return None
    from minisora.video.frames import size_of

    if (size := size_of(text)) is None:
        raise UsageError(f"--size {text}: give WIDTHxHEIGHT in pixels, both 1 or more, such as 128x96.")
    return size


def check_prompt(prompt: str) -> None:
    """Refuses a prompt that says nothing, or whose moments do not follow each other."""
    if not prompt.strip():
        raise UsageError('the prompt is empty. Say what to show, such as "a red ball rolls to the left".')
    from minisora.generate.schedule import parts

    parts(prompt)


def check_numbers(
    *,
    seed: int,
    zoom: int,
    seconds: float = 1.0,
    fps: float | None = None,
    steps: int = 1,
    guidance: float = 1.0,
    count: int = 1,
) -> None:
    """Refuses numbers that mean nothing; how much the machine can hold is for `device.check_memory`."""
    if not 0 < seconds <= 1e9:
        raise UsageError(f"--seconds {seconds:g}: give a number above 0, at most 1e+09.")
    if fps is not None and not 0.01 <= fps <= 1000:
        raise UsageError(f"--fps {fps:g}: give 0.01 to 1000.")
    for name, whole, most in (("steps", steps, 1000), ("zoom", zoom, 16), ("count", count, 100_000)):
        if not 1 <= whole <= most:
            raise UsageError(f"--{name} {whole}: give 1 to {most}.")
    if not 0 <= seed < 2**63:
        raise UsageError(f"--seed {seed}: give a whole number from 0 to 2^63 - 1.")
    if not math.isfinite(guidance):
        raise UsageError(f"--guidance {guidance}: give a number; 3 is usual.")


def check_outputs(out: Path, sheet: Path | None, *, moving: bool) -> None:
    """Refuses what could not be written, before the work. moving: more than one frame is to come."""
    from minisora.video import check_writable

    check_writable(out, num_frames=2 if moving else 1)
    if sheet is None:
        return
    if sheet.suffix.lower() != ".png":
        raise UsageError(f"--sheet {sheet}: a contact sheet is a .png.")
    if sheet.resolve() == out.resolve():
        raise UsageError(f"--sheet {sheet} would replace the output. Give it another name.")
    check_writable(sheet)


def make_folder(folder: Path) -> None:
    """Raises UsageError when it cannot be made or written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be made: {error.strerror}. Name another.") from None
    if not os.access(folder, os.W_OK):
        raise UsageError(f"the folder {folder} cannot be written. Name another.")
