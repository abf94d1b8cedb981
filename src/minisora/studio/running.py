"""Running jobs on workers: from the line to a published result.

A result is published before its job is done in the database, and a job is running in the database
before its worker hears of it. So whatever is killed, a job is begun again or found finished, and
never finished twice.

Here: one task for each worker, outcomes, lost workers, deadlines, recovery at the start. Not here:
jobs that wait (dispatch.py), the order (line.py), the processes (workers.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from minisora.errors import UsageError
from minisora.progress import Event
from minisora.studio.blobs import Blobs
from minisora.studio.jobs import Failure, Job, Made, State, StorageFull, Unavailable, named_media
from minisora.studio.line import Durations, Line
from minisora.studio.messages import Assignment, Models, Report
from minisora.studio.results import Results
from minisora.studio.store import Store
from minisora.studio.workers import Worker, WorkerLost

Answer = TypeVar("Answer")
MOST_ATTEMPTS = 10  # for whatever reason the others ended
LOST, STOPPED, SERVER_LOST = "worker_lost", "stopped", "server_lost"  # outcomes of attempts
_FULL_SECONDS = 5.0  # between two tries to write on a full disk
_GRACE_SECONDS = 20.0  # for a job to stop when told to, after which its worker is killed
_STAY_SECONDS = 30.0  # with a loaded model, as long as jobs wait for it
_MOST_STARTS = 4  # of a worker that dies at once, before the server gives up
_MOST_PAUSE = 60.0  # seconds before a worker that died starts again
INTERNAL = Failure("internal_error", "the server failed at this job; its log says where.")
_log = logging.getLogger("minisora.studio")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of the line and of its jobs.

    waiting:          most jobs that wait or are paused, of all owners
    together:         most jobs in one pack
    attempts:         attempts whose worker died at the job, after which it fails
    deadline_seconds: of a job, unless it has its own
    """

    waiting: int = 200
    together: int = 4
    attempts: int = 3
    deadline_seconds: float = 3600.0


@dataclass(eq=False)
class Running:
    """A job on a worker.

    end:      how it is to end early, if it is
    innocent: its worker was killed because of another job
    has_begun: the worker has taken it up; before, its death is none of the job's doing
    ended:    set when the database has its outcome
    """

    job: Job
    worker: Worker
    began: float = field(default_factory=time.monotonic)
    event: Event | None = None
    progress: float = 0.0
    preview: bytes | None = None
    end: Failure | State | None = None
    innocent: bool = False
    has_begun: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Runner:
    """Runs the jobs of a line. tell: called with a job after each change, and each report"""

    def __init__(
        self, store: Store, blobs: Blobs, results: Results, line: Line, limits: Limits, tell: Callable[[Job], None]
    ) -> None:
        self._store, self._blobs, self._results, self._line = store, blobs, results, line
        self._limits, self._tell = limits, tell
        self.running: dict[str, Running] = {}
        self.durations = Durations()
        self.models: Models = {}
        self._workers: Sequence[Worker] = ()
        self._served: dict[str, Models] = {}  # by worker
        self._idle: set[str] = set()  # names of workers
        self._stays: dict[str, float] = {}  # by worker, until when it keeps its model
        self._more = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._finishing: set[asyncio.Task[None]] = set()

    async def recover(self) -> list[Job]:
        """Bring rows and folders of a server that died together; returns the jobs that are left.

        A published result ends its job; any other job that ran waits again.
        """
        left = []
        for job in await self._store.unfinished():
            if job.state == State.RUNNING:
                job = await self._recovered(job)
            if not job.state.is_final:
                left.append(job)
        await asyncio.to_thread(self._results.clean, await self._store.ids())
        for job, _ in reversed(await self._store.seconds_of_done()):
            self._learn(job)
        return left

    async def _recovered(self, job: Job) -> Job:
        made = await asyncio.to_thread(self._results.read, job.id)
        if made is not None:
            video = made.files["video"]
            await asyncio.to_thread(self._blobs.link, self._results.path(job.id, video), video.sha256)
            return await self._store.finish(job.id, made)
        await asyncio.to_thread(self._results.remove, [job.id])
        if job.attempts >= MOST_ATTEMPTS:
            failure = Failure("worker_lost", f"the server died in each of {job.attempts} attempts.")
            return await self._store.finish(job.id, failure, SERVER_LOST)
        return await self._store.finish(job.id, State.WAITING, SERVER_LOST)

    async def start(self, workers: Sequence[Worker]) -> None:
        """Start the workers. Raises UsageError if one cannot do what it is for."""
        self._workers = workers
        begun = await asyncio.gather(*(_started(worker) for worker in workers), return_exceptions=True)
        errors = [each for each in begun if isinstance(each, BaseException)]
        if errors:
            await asyncio.gather(*(worker.stop() for worker in workers))
            raise errors[0] if isinstance(errors[0], UsageError) else UsageError(f"no worker started: {errors[0]}.")
        for worker, models in zip(workers, begun, strict=True):
            assert not isinstance(models, BaseException), models
            self._served[worker.name] = models
            self.models = {**self.models, **models}
        self._tasks = [asyncio.create_task(self._serve(worker)) for worker in workers]

    async def stop(self) -> None:
        """End the workers; their jobs wait again, and the attempt does not count against them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(worker.stop() for worker in self._workers))
        await asyncio.gather(*self._finishing, return_exceptions=True)
        for run in list(self.running.values()):
            job = await self._store.job(run.job.id, None)
            if job.state == State.RUNNING:
                await asyncio.to_thread(self._results.discard, job.id, job.attempts)
                await self._store.finish(job.id, run.end or State.WAITING, STOPPED)
            run.ended.set()

    def lane(self, model: str) -> tuple[Worker, ...]:
        """Workers that serve a model; the first one has those that none serves any longer."""
        found = tuple(each for each in self._workers if model in self._served.get(each.name, ()))
        return found or tuple(self._workers[:1])

    def wake(self) -> None:
        """Let idle workers look at the line."""
        self._more.set()

    def show_previews(self, wanted: bool) -> None:
        for worker in self._workers:
            worker.show_previews(wanted)

    def end(self, run: Running, outcome: Failure | State) -> None:
        """End a job early; its worker is killed if it does not stop by itself."""
        if run.end is None:
            run.end = outcome
            run.worker.cancel(run.job.id)
            asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._kill, run)

    def _kill(self, run: Running) -> None:
        if not run.ended.is_set():
            _log.warning("%s does not stop job %s and is killed", run.worker.name, run.job.id)
            for other in self.running.values():
                other.innocent = other.innocent or (other.worker is run.worker and other.end is None)
            self._track(run.worker.stop())

    async def _serve(self, worker: Worker) -> None:
        losses = 0
        while True:
            if not (pack := self._choose(worker)):
                self._idle.add(worker.name)
                self._more.clear()
                await self._more.wait()
                continue
            self._idle.discard(worker.name)
            try:
                losses = 0 if await self._run(worker, pack) else losses + 1
            except Exception:
                _log.exception("%s: an error of the server", worker.name)
                losses += 1
            if losses:
                await self._restarted(worker, losses)

    async def _restarted(self, worker: Worker, losses: int) -> None:
        """Start a worker again, the later the more often it was lost in a row."""
        while True:
            await asyncio.sleep(min(_MOST_PAUSE, 2.0 ** (losses - 2)) if losses > 1 else 0.0)
            try:
                await worker.start()
                return
            except (UsageError, WorkerLost) as error:
                _log.error("%s does not start: %s", worker.name, error)
                losses += 1

    def _choose(self, worker: Worker) -> list[Job]:
        """Next pack for a worker; empty if there is none, or if another has its model loaded."""
        order = [job for job in self._line.order() if worker in self.lane(job.model)]
        if not order:
            return []
        first, now = order[0], time.monotonic()
        if worker.loaded not in (None, first.model):
            own = next((job for job in order if job.model == worker.loaded), None)
            if own is not None and now < self._stays.get(worker.name, now):
                first = own
            elif any(other.loaded == first.model and other.name in self._idle for other in self._workers):
                return []
        if worker.loaded != first.model:
            self._stays[worker.name] = now + _STAY_SECONDS
        return self._line.pack(first, min(self._limits.together, worker.together), order)

    async def _run(self, worker: Worker, pack: Sequence[Job]) -> bool:
        """Run a pack to its end. returns  False if the worker was lost"""
        self._line.begin(pack)
        runs = [Running(job, worker) for job in pack]
        self.running |= {run.job.id: run for run in runs}
        try:
            begun = await _kept(partial(self._store.begin, [job.id for job in pack], worker.name))
        except Exception:
            for run in runs:
                self._over(run)
            raise
        loop, timers, error = asyncio.get_running_loop(), [], None
        for run, job in zip(runs, begun, strict=True):
            run.job = job
            seconds = job.deadline_seconds or self._limits.deadline_seconds
            late = Failure("deadline_exceeded", f"it was not done in {seconds:g} s.")
            timers.append(loop.call_later(seconds, self.end, run, late))
            self._tell(job)
        ends: list[asyncio.Task[None]] = []
        try:
            await self._begun(worker, begun, partial(self._report, ends))
        except Exception as raised:  # WorkerLost, or a mistake of ours, which is to cost no other job
            error = raised
        finally:
            for timer in timers:
                timer.cancel()
        if ends:
            await asyncio.wait(ends)  # gather would cancel them with this one
        mistakes = [each for each in (task.exception() for task in ends) if each is not None]
        if isinstance(error, WorkerLost):
            _log.warning("%s; its jobs were %s", error, ", ".join(job.id for job in begun))
        elif error is not None:
            mistakes.append(error)
        for each in mistakes:
            _log.error("an error of the server with jobs %s", ", ".join(job.id for job in begun), exc_info=each)
        for run in runs:
            if not run.ended.is_set():
                await (self._lost(run) if isinstance(error, WorkerLost) else self._finish(run, INTERNAL))
        return error is None

    async def _begun(self, worker: Worker, pack: Sequence[Job], report: Callable[[Report], None]) -> None:
        if (model := pack[0].model) in self.models:
            await worker.run([await self._assignment(job) for job in pack], report)
            return
        for job in pack:  # of a server that had other models
            report(
                Report(job_id=job.id, outcome=Failure("model_not_found", f"there is no model {model!r} any longer."))
            )

    async def _assignment(self, job: Job) -> Assignment:
        media = {one["sha256"]: self._blobs.find(one["sha256"]) for one in named_media(job.request)}
        there = {sha256: path for sha256, path in media.items() if path is not None}
        remotes = await self._store.remotes(list(media)) if media else {}
        folder = self._results.unfinished(job.id, job.attempts)
        return Assignment(job=job, folder=folder, media=there, remotes=remotes)

    def _report(self, ends: list[asyncio.Task[None]], report: Report) -> None:
        run = self.running[report.job_id]
        run.has_begun = True
        if report.remote is not None:
            ends.append(self._track(_kept(partial(self._store.set_remote, run.job.id, report.remote))))
        if report.outcome is not None:
            ends.append(self._track(self._finish(run, report.outcome)))
            return
        run.event = report.event or run.event
        run.preview = report.preview or run.preview
        run.progress = run.progress if report.progress is None else report.progress
        self._tell(run.job)

    async def _finish(self, run: Running, outcome: Made | Failure | State) -> None:
        """Publish a result, or remove what was written; then end the job."""
        job = run.job
        if isinstance(outcome, Made):
            try:
                await asyncio.to_thread(self._publish, job, outcome)
            except StorageFull as error:
                outcome = Failure("storage_full", str(error))
        if not isinstance(outcome, Made):
            outcome = run.end or outcome
            await asyncio.to_thread(self._results.discard, job.id, job.attempts)
        run.job = await _kept(partial(self._store.finish, job.id, outcome))
        if isinstance(outcome, Made):
            self._learn(run.job)
        self._over(run)

    def _publish(self, job: Job, made: Made) -> None:
        video = made.files["video"]
        self._blobs.link(self._results.unfinished(job.id, job.attempts) / video.name, video.sha256)
        self._results.publish(job.id, job.attempts)

    async def _lost(self, run: Running) -> None:
        """Let a job wait again whose worker died, or fail it if that has happened too often."""
        job, outcome = run.job, run.end
        attempt = LOST if run.has_begun and not run.innocent and outcome is None else STOPPED
        if outcome is None:
            before = await self._store.attempts(job.id)
            losses = sum(each.outcome == LOST for each in before) + (attempt == LOST)
            outcome = State.WAITING
            if losses >= self._limits.attempts or job.attempts >= MOST_ATTEMPTS:
                outcome = Failure("worker_lost", f"its worker died in {losses} of {job.attempts} attempts.")
        await asyncio.to_thread(self._results.discard, job.id, job.attempts)
        run.job = await _kept(partial(self._store.finish, job.id, outcome, attempt))
        if run.job.state == State.WAITING and run.end is not None:  # it was cancelled meanwhile
            run.job = await _kept(partial(self._store.cancel, job.id))
        self._over(run)

    def _over(self, run: Running) -> None:
        """The database has the outcome."""
        del self.running[run.job.id]
        if run.job.state == State.WAITING:
            self._line.put(run.job)
            self.wake()
        run.ended.set()
        self._tell(run.job)

    def _learn(self, job: Job) -> None:
        """Take the time of a done job into what is expected of others.

        Its stages count, not the attempt: of those that it shared it has its own part.
        """
        if job.made is not None:
            self.durations.add(job, sum(job.made.timings.values()))

    def _track(self, work: Awaitable[None]) -> asyncio.Task[None]:
        """Run something that is to end even if its caller is cancelled."""
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        return task


async def _started(worker: Worker) -> Models:
    """Start a worker; again if it dies meanwhile. Raises UsageError, WorkerLost."""
    for _ in range(_MOST_STARTS):
        try:
            return await worker.start()
        except WorkerLost as error:
            _log.warning("%s while it started", error)
    return await worker.start()


async def _kept(write: Callable[[], Awaitable[Answer]]) -> Answer:
    """Write to the database, again and again while it cannot be written."""
    while True:
        try:
            return await write()
        except (StorageFull, Unavailable) as error:
            _log.error("a job waits until its state can be written: %s", error)
            await asyncio.sleep(_FULL_SECONDS)
