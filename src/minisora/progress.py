"""Progress events and timings, the same for all work.

Here: the event, and the listeners and clock of one call. Not here: display (cli/console.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Event:
    """`done` of `total` steps of a stage are complete. Raising in a listener cancels the work."""

    stage: str
    done: int
    total: int


OnEvent = Callable[[Event], None]
Preview = Callable[[int], "Tensor"]  # number of a video in a pack -> (H, W, 3) uint8, decoded when called
OnPreview = Callable[[Preview], None]


def no_listener(event: Event) -> None:
    """A listener that does nothing."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """One call's listeners and clock.

    on_preview: called after every call of the denoiser with a function that decodes a frame of its
                x0 estimate, at the size of generation: that costs little, and changes no result
    seconds:    by stage, accumulated as stages end
    stage:      name of the steps that are counted
    before:     steps completed before these
    total:      steps in all; None: as many as these
    videos:     number of videos in a pack; each may have several candidates
    """

    on_event: OnEvent = no_listener
    on_preview: OnPreview | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    stage: str = "denoise"
    before: int = 0
    total: int | None = None
    videos: int = 1

    def step(self, done: int, steps: int) -> None:
        """Report to the listener that `done` of these `steps` are complete."""
        self.on_event(Event(self.stage, self.before + done, steps if self.total is None else self.total))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the seconds of a block to its stage, without those of stages inside it."""
        began, counted = time.perf_counter(), sum(self.seconds.values())
        yield
        inside = sum(self.seconds.values()) - counted
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began - inside
