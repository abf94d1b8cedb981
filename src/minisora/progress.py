"""Progress events and timings, the same for all work.

Here: the event, and the listener and clock of one call. Not here: display (cli/console.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Event:
    """`done` of `total` steps of a stage are complete. Raising in a listener cancels the work."""

    stage: str
    done: int
    total: int


OnEvent = Callable[[Event], None]


def no_listener(event: Event) -> None:
    """A listener that does nothing."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """One call's listener and clock.

    seconds: by stage, accumulated as stages end
    stage:   name of the steps that are counted
    before:  steps completed before these
    total:   steps in all; None: as many as these
    """

    on_event: OnEvent = no_listener
    seconds: dict[str, float] = field(default_factory=dict)
    stage: str = "denoise"
    before: int = 0
    total: int | None = None

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
