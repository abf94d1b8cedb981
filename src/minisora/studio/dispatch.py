"""The dispatcher: a bounded, fair line of jobs, and the workers that run them.

Owners take turns; an owner's own jobs run by position. Neighbours of one shape run in one pack. A
job whose worker dies begins again, a bounded number of times. Every change is in the database
before anyone is told of it.

Here: jobs for those who submit, change and watch them. Not here: running them (running.py), the
order (line.py), rows (store.py), processes (workers.py).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import inf, isfinite
from pathlib import Path
from typing import Any, TypeVar

from minisora.errors import UsageError
from minisora.generate.request import Request
from minisora.studio.api import log
from minisora.studio.blobs import Blobs
from minisora.studio.jobs import (
    Job,
    NewJob,
    NotFound,
    Outlook,
    QueueFull,
    State,
    Update,
    WrongState,
    format_for,
    named_media,
)
from minisora.studio.line import Line
from minisora.studio.listeners import Listeners
from minisora.studio.messages import Models
from minisora.studio.moderation import Moderator, check_prompts
from minisora.studio.results import Results
from minisora.studio.running import Limits as Limits
from minisora.studio.running import Runner, Running
from minisora.studio.store import Store
from minisora.studio.workers import Worker

Answer = TypeVar("Answer")
Lane = tuple[Worker, ...]  # those who share jobs
KEPT_SECONDS = 86400.0  # that a deleted job can be restored, and a blob that nothing names stays
_PURGE_SECONDS = 3600.0
_OUTLOOK_SECONDS = 1.0  # between updates of places in line
_MOST_RETRY, _USUAL_RETRY = 120, 10  # seconds; clients give up on longer ones


class Dispatcher:
    """Runs jobs of a store on workers. All methods are called in one asyncio loop, and none blocks.

    folder:    for results, jobs/<id>
    moderator: asked about every prompt; None: all pass

    Methods that take an `owner` raise NotFound for another's job; None may see all.
    """

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        folder: Path,
        workers: Sequence[Worker],
        limits: Limits | None = None,
        moderator: Moderator | None = None,
    ) -> None:
        self._moderator = moderator
        self._store, self._blobs, self._results = store, blobs, Results(folder)
        self._workers, self._limits = workers, limits or Limits()
        self._line, self._paused = Line(), dict[str, Job]()
        self._runner = Runner(store, blobs, self._results, self._line, self._limits, self._tell)
        self._listeners, self._viewers = Listeners(), 0
        self._accepting = 0  # jobs that are being written
        self._changing = asyncio.Lock()  # between changes of waiting jobs
        self._finished: Counter[State] = Counter()
        self._outlooks: tuple[float, int, dict[str, Outlook]] = (0.0, -1, {})
        self._own: set[asyncio.Task[Any]] = set()
        self._house: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Recover from a crash, then begin to run jobs.

        Results that were complete are published; other jobs that ran wait again; files that were
        not complete are removed.

        Raises UsageError if the workers cannot serve their models.
        """
        for job in await self._runner.recover():
            self._place(job)
        await self._runner.start(self._workers)
        self._house = [asyncio.create_task(work) for work in (self._keep_house(), self._tell_places())]

    async def stop(self) -> None:
        """End the workers; their jobs wait for the next start."""
        for task in self._house:
            task.cancel()
        await self._runner.stop()
        await asyncio.gather(*self._own, return_exceptions=True)

    @property
    def models(self) -> Models:
        """Models by name, the default first, with facts of each: fps, size, seconds, steps, ..."""
        return self._runner.models

    @property
    def counts(self) -> Mapping[State, int]:
        """Number of jobs by state: unfinished now, finished since the start."""
        now = {
            State.WAITING: len(self._line),
            State.PAUSED: len(self._paused),
            State.RUNNING: len(self._runner.running),
        }
        return {**dict.fromkeys(State, 0), **self._finished, **now}

    def unfinished(self, owner: str) -> int:
        """Number of an owner's jobs that wait, are paused or run."""
        running = (run.job for run in self._runner.running.values())
        return sum(job.owner == owner for jobs in (self._line, self._paused.values(), running) for job in jobs)

    async def submit(self, new: NewJob) -> Job:
        """Accept a job: when this returns, it is on disk.

        With the key or the fingerprint of an earlier job (see NewJob) that one is returned.

        Raises QueueFull; UsageError for an unknown model, an unfit format or media that are no
        blobs; Blocked for a prompt that the moderator refuses; StorageFull, Unavailable.
        """
        model = new.model or next(iter(self.models))
        if model not in self.models:
            raise UsageError(f"there is no model {model!r}. Choose one of: {', '.join(self.models)}.")
        self._check_made(model, new.request, new.format)
        if new.deadline_seconds is not None and not 0 < new.deadline_seconds < float("inf"):
            raise UsageError(f"a deadline of {new.deadline_seconds:g} s cannot be. Give seconds above 0.")
        await self._check(new.request)
        return await self._whole(self._accepted(replace(new, model=model)))

    async def _accepted(self, new: NewJob) -> Job:
        if self._is_full:
            earlier = await self._store.repeated(new)
            if earlier is None:
                raise self._full()
            return earlier
        self._accepting += 1
        try:
            job, is_new = await self._store.add(new)
        finally:
            self._accepting -= 1
        if is_new:
            self._place(job)
            self._tell(job)
        return job

    def check_room(self) -> None:
        """Raise QueueFull if a new job would be refused now."""
        if self._is_full:
            raise self._full()

    @property
    def _is_full(self) -> bool:
        return len(self._line) + len(self._paused) + self._accepting >= self._limits.waiting

    def _full(self) -> QueueFull:
        ends = [self.outlook(job_id).done_in for job_id in self._runner.running]
        soonest = min((seconds for seconds in ends if seconds is not None), default=_USUAL_RETRY)
        retry = max(1, min(_MOST_RETRY, round(soonest)))
        return QueueFull(f"{self._limits.waiting} jobs are waiting, as many as fit. Try again in {retry} s.", retry)

    async def cancel(self, job_id: str, owner: str | None) -> Job:
        """End a job, within a step if it runs; a finished one stays as it is."""
        return await self._whole(self._cancelled(job_id, owner))

    async def _cancelled(self, job_id: str, owner: str | None) -> Job:
        async with self._changing:
            await self._store.job(job_id, owner)
            if (held := self._taken(job_id)) is not None:
                with self._put_back(held):
                    job = await self._store.cancel(job_id)
                self._tell(job)
                if job.remote is not None:
                    self._task(self._runner.lane(job.model)[0].forget(job))
                return job
        if (run := self._runner.running.get(job_id)) is not None:
            self._runner.end(run, State.CANCELLED)
            await run.ended.wait()
        return await self._store.job(job_id, owner)

    async def pause(self, job_id: str, owner: str | None) -> Job:
        """Hold back a waiting job. Raises WrongState for one that has begun."""
        return await self._whole(self._changed(job_id, owner, [State.WAITING], {"state": State.PAUSED}))

    async def resume(self, job_id: str, owner: str | None) -> Job:
        """Let a paused job wait again, at its own place. Raises WrongState for any other."""
        return await self._whole(self._changed(job_id, owner, [State.PAUSED], {"state": State.WAITING}))

    async def edit(self, job_id: str, owner: str | None, request: Request, **about: Any) -> Job:
        """Replace the request of a waiting or paused job; errors as of `submit`, and WrongState.

        about: `parent` and `client`, if they change with it
        """
        await self._check(request)
        changes = {"request": request, **about}
        return await self._whole(self._changed(job_id, owner, [State.WAITING, State.PAUSED], changes))

    async def _changed(
        self, job_id: str, owner: str | None, states: Collection[State], changes: Mapping[str, Any]
    ) -> Job:
        async with self._changing:
            job = await self._store.job(job_id, owner)
            if "request" in changes:
                self._check_made(job.model, changes["request"], job.format)
            held = self._taken(job_id)
            if held is None:
                raise WrongState(f"job {job_id} has begun, so it cannot be changed.", job)
            with self._put_back(held):
                job = await self._store.change(job_id, states, **changes)
            self._place(job)
            self._tell(job)
            return job

    async def move(self, job_id: str, owner: str | None, before: str | None) -> Job:
        """Move a waiting or paused job before another of its owner's; None: to the end."""
        return await self._whole(self._moved(job_id, owner, before))

    async def _moved(self, job_id: str, owner: str | None, before: str | None) -> Job:
        async with self._changing:
            job = await self._store.job(job_id, owner)
            own = [each for each in (*self._line, *self._paused.values()) if each.owner == job.owner]
            own.sort(key=lambda each: each.position)
            ids = [each.id for each in own]
            if job_id not in ids:
                raise WrongState(f"job {job_id} has begun, so it cannot be changed.", job)
            ids.remove(job_id)
            if before is not None and before not in ids:
                raise NotFound(f"there is no waiting job {before!r} to move it before.")
            ids.insert(len(ids) if before is None else ids.index(before), job_id)
            positions = dict(zip(ids, (each.position for each in own), strict=True))
            await self._store.reorder(positions)
            for each in own:  # those that have not begun meanwhile
                if each.id in self._line or each.id in self._paused:
                    self._place(replace(each, position=positions[each.id]))
            return await self._store.job(job_id, owner)

    async def delete(self, job_id: str, owner: str | None) -> Job:
        """Cancel a job if it is unfinished, then delete it; `Store.restore` undoes that."""
        await self.cancel(job_id, owner)
        return await self._store.delete(job_id, owner)

    async def wait(self, job_id: str, owner: str | None, timeout: float | None = None) -> Job:
        """Wait until a job is finished. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            with self._listeners.added(owner) as updates:
                job = await self._store.job(job_id, owner)
                while not job.state.is_final:
                    update = await anext(updates)
                    job = update.job if update.job.id == job_id else job
                return job

    def update_of(self, job: Job) -> Update:
        """Progress, latest preview and outlook of a job, from memory."""
        run = self._runner.running.get(job.id)
        outlook = Outlook() if job.state.is_final else self.outlook(job.id)
        if run is None:
            return Update(job=job, progress=float(job.state == State.DONE), outlook=outlook)
        return Update(job=run.job, event=run.event, progress=run.progress, preview=run.preview, outlook=outlook)

    def outlook(self, job_id: str) -> Outlook:
        """Place in line and expected time of an unfinished job."""
        at, version, known = self._outlooks
        if version != self._line.version or time.monotonic() - at > _OUTLOOK_SECONDS / 2:
            known = self._expected()
            self._outlooks = time.monotonic(), self._line.version, known
        return known.get(job_id, Outlook())

    def _expected(self) -> dict[str, Outlook]:
        known = dict[str, Outlook]()
        ahead, places = defaultdict[Lane, float](float), Counter[Lane]()  # seconds, jobs
        for job_id, run in self._runner.running.items():
            left = self._left(run)
            ahead[self._runner.lane(run.job.model)] += inf if left is None else left
            known[job_id] = Outlook(done_in=left)
        for job in self._line:
            lane, seconds = self._runner.lane(job.model), self._runner.durations.expected(job)
            places[lane] += 1
            starts_in = ahead[lane] / max(1, len(lane))
            done_in = inf if seconds is None else starts_in + seconds
            known[job.id] = Outlook(place=places[lane], done_in=done_in if isfinite(done_in) else None)
            ahead[lane] += inf if seconds is None else seconds
        return known

    def _left(self, run: Running) -> float | None:
        """Expected seconds until a running job is done."""
        seconds, ran = self._runner.durations.expected(run.job), time.monotonic() - run.began
        if seconds is not None and ran < seconds:
            return seconds - ran
        return None if run.progress == 0 else ran * (1 - run.progress) / run.progress

    def result(self, job: Job, variant: str) -> Path:
        """File of a done job: video, thumbnail, spritesheet or request. Raises NotFound."""
        if job.made is None or variant not in job.made.files:
            raise NotFound(f"job {job.id} has no {variant}.")
        return self._results.path(job.id, job.made.files[variant])

    @contextmanager
    def listen(self, owner: str | None) -> Iterator[AsyncIterator[Update]]:
        """Updates of an owner's jobs from now on, for as long as the block lasts.

        A slow listener gets the latest of each job.
        """
        self._viewers += 1
        self._runner.show_previews(True)
        try:
            with self._listeners.added(owner) as updates:
                yield updates
        finally:
            self._viewers -= 1
            self._runner.show_previews(self._viewers > 0)

    def _tell(self, job: Job) -> None:
        if job.state.is_final and job.id not in self._runner.running:
            self._finished[job.state] += 1
        if self._listeners:
            self._listeners.tell(self.update_of(job))

    def _place(self, job: Job) -> None:
        """Put a job where jobs of its state are kept."""
        if job.state == State.PAUSED:
            self._paused[job.id] = job
        elif job.state == State.WAITING:
            self._line.put(job)
            self._runner.wake()

    def _taken(self, job_id: str) -> Job | None:
        """Take a waiting or paused job out, so that no worker takes it; None for any other."""
        return self._line.pop(job_id) if job_id in self._line else self._paused.pop(job_id, None)

    @contextmanager
    def _put_back(self, job: Job) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._place(job)
            raise

    def _check_made(self, model: str, request: Request, form: str) -> None:
        """Raise UsageError for a request, or a format, that a model never makes."""
        self._runner.lane(model)[0].check(request, form)
        format_for(request, form)

    async def _check(self, request: Request) -> None:
        """Raise Blocked for a prompt that is refused, UsageError for media that are no blobs.

        Those that are blobs stay for a day at least.
        """
        if self._moderator is not None:
            await asyncio.to_thread(check_prompts, self._moderator, request)
        for one in named_media(request.to_data()):
            if not await asyncio.to_thread(self._blobs.hold, one["sha256"]):
                raise UsageError(f"{one.get('name') or 'a clip'} is not among the files here. Upload it first.")

    async def _keep_house(self) -> None:
        """Purge what was deleted long enough ago, again and again."""
        while True:
            try:
                await self.purge(time.time() - KEPT_SECONDS)
            except Exception as error:  # the next time may do better
                log.write_error(error, at="purge")
            await asyncio.sleep(_PURGE_SECONDS)

    async def purge(self, before: float) -> None:
        """Remove what was deleted before a Unix time, and older blobs that nothing names."""
        await asyncio.to_thread(self._results.remove, await self._store.purge(before))
        named = await self._store.named_blobs()
        await asyncio.to_thread(self._blobs.sweep, named, older_than=before)

    async def _tell_places(self) -> None:
        """Tell listeners of waiting jobs whose place or time has changed."""
        told: dict[str, Outlook] = {}
        while True:
            await asyncio.sleep(_OUTLOOK_SECONDS)
            before, told = told, {}
            for job in self._line if self._listeners else ():
                outlook = self.outlook(job.id)
                if (known := before.get(job.id)) is None or _is_news(known, outlook):
                    known = outlook
                    self._listeners.tell(self.update_of(job))
                told[job.id] = known

    async def _whole(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Finish something even if its caller is cancelled, as when a client hangs up."""
        return await asyncio.shield(self._task(work))

    def _task(self, work: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
        task = asyncio.create_task(work)
        self._own.add(task)
        task.add_done_callback(self._own.discard)
        return task


def _is_news(before: Outlook, now: Outlook) -> bool:
    """True if an outlook differs from an earlier one in what people notice."""
    if before.place != now.place or before.done_in is None or now.done_in is None:
        return before != now
    return abs(before.done_in - now.done_in) > max(_OUTLOOK_SECONDS, 0.1 * before.done_in)
