"""Workers: what runs jobs, seen from the server.

Here: the protocol of a worker, and processes of this machine. Not here: the code in the process
(process.py), choosing jobs (dispatch.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from minisora.progress import Event
from minisora.studio.jobs import Failure, Job, Made, State


class WorkerLost(Exception):
    """The worker died, or was not heard of for too long."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A job for a worker.

    folder: to write the result in; made by the worker, published by the server
    media:  path of every blob that the request names, by SHA-256
    """

    job: Job
    folder: Path
    media: Mapping[str, Path]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Message of a worker about one of its jobs; exactly one has an outcome, the last.

    progress: share of all work that is done, 0 to 1
    preview:  JPEG
    outcome:  State.CANCELLED if it was cancelled
    """

    job_id: str
    event: Event | None = None
    progress: float | None = None
    preview: bytes | None = None
    outcome: Made | Failure | State | None = None


class Worker(Protocol):
    """Runs jobs one pack at a time."""

    name: str

    @property
    def loaded(self) -> str | None:
        """Model that is in memory."""

    async def start(self) -> Mapping[str, Mapping[str, Any]]:
        """Begin; returns the models that it serves, with facts of each. Raises UsageError."""

    async def run(self, pack: Sequence[Assignment], report: Callable[[Report], None]) -> None:
        """Run jobs of one model; returns after the last outcome. Raises WorkerLost."""

    def cancel(self, job_id: str) -> None:
        """Stop a job within a step; its outcome follows."""

    async def stop(self) -> None:
        """End at once; a pack that runs is lost."""
