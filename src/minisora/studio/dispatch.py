"""The dispatcher: a bounded, fair queue of jobs, and the workers that run them.

Owners take turns; an owner's own jobs run by position. Jobs of one shape run together. A job whose
worker dies begins again, a bounded number of times. Every change is in the database before anyone
is told of it.

Here: queue, states and listeners. Not here: rows (store.py), processes (workers.py), the files of a
result (results.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minisora.generate.request import Request
from minisora.studio.blobs import Blobs
from minisora.studio.jobs import Job, NewJob, Outlook, State, Update
from minisora.studio.store import Store
from minisora.studio.workers import Worker


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of the queue.

    waiting:          most jobs that wait or are paused, of all owners
    together:         most jobs in one pack
    attempts:         attempts whose worker died, after which a job fails
    deadline_seconds: of a job, unless it has its own
    """

    waiting: int = 200
    together: int = 4
    attempts: int = 3
    deadline_seconds: float = 3600.0


class Dispatcher:
    """Runs jobs of a store on workers. All methods are called in one asyncio loop, and none blocks.

    folder: for results, jobs/<id>

    Methods that take an `owner` raise NotFound for another's job; None may see all.
    """

    def __init__(
        self, store: Store, blobs: Blobs, folder: Path, workers: Sequence[Worker], limits: Limits | None = None
    ) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Recover from a crash, then begin to run jobs.

        Results that were complete are published; other jobs that ran wait again; files that were
        not complete are removed.
        """
        raise NotImplementedError

    async def stop(self) -> None:
        """End the workers; their jobs wait for the next start."""
        raise NotImplementedError

    @property
    def models(self) -> Mapping[str, Mapping[str, Any]]:
        """Models by name, the default first, with facts of each: digest, fps, size, seconds, ..."""
        raise NotImplementedError

    @property
    def counts(self) -> Mapping[State, int]:
        """Number of jobs by state: unfinished now, finished since the start."""
        raise NotImplementedError

    async def submit(self, new: NewJob) -> Job:
        """Accept a job: when this returns, it is on disk.

        With the key or the fingerprint of an earlier job (see NewJob) that one is returned.

        Raises QueueFull; UsageError for an unknown model, an unfit format or media that are no
        blobs; StorageFull.
        """
        raise NotImplementedError

    async def cancel(self, job_id: str, owner: str | None) -> Job:
        """End a job, within a step if it runs; a finished one stays as it is."""
        raise NotImplementedError

    async def pause(self, job_id: str, owner: str | None) -> Job:
        """Hold back a waiting job. Raises WrongState for one that has begun."""
        raise NotImplementedError

    async def resume(self, job_id: str, owner: str | None) -> Job:
        """Let a paused job wait again, at its own place. Raises WrongState for any other."""
        raise NotImplementedError

    async def move(self, job_id: str, owner: str | None, before: str | None) -> Job:
        """Move a waiting or paused job before another of its owner's; None: to the end."""
        raise NotImplementedError

    async def edit(self, job_id: str, owner: str | None, request: Request) -> Job:
        """Replace the request of a waiting or paused job. Raises WrongState for any other."""
        raise NotImplementedError

    async def delete(self, job_id: str, owner: str | None) -> Job:
        """Cancel a job if it is unfinished, then delete it; `Store.restore` undoes that."""
        raise NotImplementedError

    async def wait(self, job_id: str, owner: str | None, timeout: float | None = None) -> Job:
        """Wait until a job is finished. Raises TimeoutError."""
        raise NotImplementedError

    def update_of(self, job: Job) -> Update:
        """Progress, latest preview and outlook of a job, from memory."""
        raise NotImplementedError

    def outlook(self, job_id: str) -> Outlook:
        """Place in line and expected time of an unfinished job."""
        raise NotImplementedError

    def result(self, job: Job, variant: str) -> Path:
        """File of a done job: video, thumbnail, spritesheet or request. Raises NotFound."""
        raise NotImplementedError

    def listen(self, owner: str | None) -> AbstractContextManager[AsyncIterator[Update]]:
        """Updates of an owner's jobs from now on, for as long as the block lasts.

        A listener that is slow misses progress and previews, never a change of state.
        """
        raise NotImplementedError
