"""Messages between the server and its workers.

Here: the values; they pickle, and importing them loads no torch. Not here: sending them
(workers.py), the code in the process (process.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minisora.progress import Event
from minisora.studio.jobs import Failure, Job, Made, Remote, State

Models = Mapping[str, Mapping[str, Any]]  # facts of models by name, the default first
Outcome = Made | Failure | State  # State.CANCELLED if it was cancelled


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a worker process is started with.

    models:     names or folders of bundles, the default first
    workers:    most of them on its machine
    moderation: name of the moderator of frames; empty: all pass
    mark:       words on every frame, in place of the request's; empty for none
    """

    models: Sequence[str]
    workers: int
    moderation: str = ""
    mark: str = ""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A job for a worker.

    folder: to write the result in; made by the worker, published by the server
    media:  path of every blob that the request names, by SHA-256
    remotes: of those that a provider made, by SHA-256
    """

    job: Job
    folder: Path
    media: Mapping[str, Path]
    remotes: Mapping[str, Remote] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Report:
    """News of a job; exactly one report of each has an outcome, the last.

    progress: share of all work that is done, 0 to 1
    preview:  JPEG
    remote:   video that a provider makes for it
    """

    job_id: str
    event: Event | None = None
    progress: float | None = None
    preview: bytes | None = None
    remote: Remote | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Hello:
    """First message of a process: the models that it serves."""

    models: Models


@dataclass(frozen=True)
class Refused:
    """The process cannot do what it was started for, and ends."""

    message: str


@dataclass(frozen=True)
class Beat:
    """Sign of life, every BEAT_SECONDS. loaded: the model in memory"""

    loaded: str | None
