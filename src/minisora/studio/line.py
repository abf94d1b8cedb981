"""The line of waiting jobs, and how long jobs take.

Owners take turns: of each, the job of the lowest position is next. Jobs that differ in prompt and
seed alone may run in one pack.

Here: values in memory, no rows and no tasks. Not here: states (dispatch.py), what a pack is
(generate/together.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from minisora.studio.jobs import Job

_NEWER = 0.3  # weight of a new time in the mean of its kind


class Line:
    """Waiting jobs in the order in which they will begin. version: increases at every change"""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._turns: dict[str, int] = {}  # of each owner, the number of the last turn
        self._turn = self.version = 0
        self._order: list[Job] | None = None

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    def __iter__(self) -> Iterator[Job]:
        return iter(self.order())

    def put(self, job: Job) -> None:
        """Add a job, or replace it."""
        self._jobs[job.id], self._order = job, None
        self.version += 1

    def pop(self, job_id: str) -> Job:
        """Remove a job that is there."""
        self._order = None
        self.version += 1
        return self._jobs.pop(job_id)

    def begin(self, pack: Sequence[Job]) -> None:
        """Remove jobs, each of which is its owner's turn."""
        for job in pack:
            self.pop(job.id)
            self._turn += 1
            self._turns[job.owner] = self._turn
        waiting = {job.owner for job in self._jobs.values()}
        if len(self._turns) > 1000 + len(waiting):  # of owners who are gone
            self._turns = {owner: turn for owner, turn in self._turns.items() if owner in waiting}

    def order(self) -> list[Job]:
        """Jobs in the order in which they will begin, if none come."""
        if self._order is None:
            by_owner = dict[str, list[Job]]()
            for job in sorted(self._jobs.values(), key=lambda job: job.position):
                by_owner.setdefault(job.owner, []).append(job)
            ranked = [
                (round_number, self._turns.get(owner, 0), own[0].position, job.position, job)
                for owner, own in by_owner.items()
                for round_number, job in enumerate(own)
            ]
            self._order = [job for *_, job in sorted(ranked, key=lambda rank: rank[:4])]
        return self._order

    def pack(self, first: Job, most: int, order: Sequence[Job]) -> list[Job]:
        """The job and those right behind it that may run with it; others are not passed over.

        order: of the jobs that its worker may run
        """
        behind, kind, pack = order[order.index(first) + 1 :], pack_kind(first), [first]
        for job in behind:
            if kind is None or len(pack) == most or pack_kind(job) != kind:
                break
            pack.append(job)
        return pack


def pack_kind(job: Job) -> str | None:
    """Key that is equal for jobs which may share a pack; None for one that runs alone.

    A job that began before runs alone: it may be what ended its worker.
    """
    if job.verb not in ("generate", "image") or job.request.get("preview") or job.attempts:
        return None
    return job.kind


class Durations:
    """Seconds that jobs took, by kind."""

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    def add(self, job: Job, seconds: float) -> None:
        """Take a job into the means of its kind, of its verb, and of all."""
        for key in _keys(job):
            before = self._means.pop(key, seconds)
            self._means[key] = (1 - _NEWER) * before + _NEWER * seconds
        while len(self._means) > 1000:  # kinds that were not seen for longest
            self._means.pop(next(iter(self._means)))

    def expected(self, job: Job) -> float | None:
        """Seconds that a job will take; None before any was done."""
        return next((self._means[key] for key in _keys(job) if key in self._means), None)


def _keys(job: Job) -> tuple[str, ...]:
    return job.kind, f"{job.model} {job.verb}", ""
