"""Workers: what runs jobs, seen from the server.

Here: the protocol of a worker, and processes of this machine. Not here: the code in the process
(process.py), actors on a cluster (ray_workers.py), choosing jobs (dispatch.py).
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol

from minisora.errors import UsageError
from minisora.generate.request import Request
from minisora.studio import process
from minisora.studio.jobs import Job
from minisora.studio.messages import Assignment, Beat, Hello, Models, Outcome, Refused, Report, Setup

SILENCE_SECONDS = 60.0  # without a beat, after which a process counts as lost
START_SECONDS = 600.0  # until it says hello: a busy machine is slow at importing


class WorkerLost(Exception):
    """The worker died, or was not heard of for too long."""


class Worker(Protocol):
    """Runs jobs, one pack at a time. together: most jobs that it takes in one"""

    name: str

    @property
    def together(self) -> int: ...

    @property
    def loaded(self) -> str | None:
        """Model in memory."""

    async def start(self) -> Models:
        """Begin; returns the models that it serves. Raises UsageError if it cannot."""

    def check(self, request: Request, form: str) -> None:
        """Raise UsageError for a request, or a format, that its models never make."""

    async def run(self, pack: Sequence[Assignment], report: Callable[[Report], None]) -> None:
        """Run jobs of one model; returns after the last outcome. Raises WorkerLost.

        A worker that was lost starts again with the next pack.
        """

    def cancel(self, job_id: str) -> None:
        """Stop a job of the pack within a step; its outcome follows."""

    async def forget(self, job: Job) -> None:
        """Take back what was begun of a job elsewhere, which waited again and is cancelled now."""

    def show_previews(self, wanted: bool) -> None:
        """Send previews, or no longer."""

    async def stop(self) -> None:
        """End at once; a pack that runs is lost."""


class MessageWorker(ABC):
    """Base of workers that run process.py elsewhere, and are known by its messages alone."""

    together = 1 << 20  # as many as the dispatcher allows

    def __init__(self, name: str) -> None:
        self.name = name
        self.loaded: str | None = None
        self._heard: asyncio.Queue[Any] = asyncio.Queue()  # all but beats; None at its end
        self._heard_at = 0.0  # of time.monotonic()
        self._shows_previews = False
        self._cancelled: set[str] = set()  # since the last pack was sent

    @abstractmethod
    async def start(self) -> Models: ...

    @abstractmethod
    async def stop(self) -> None: ...

    @property
    @abstractmethod
    def is_alive(self) -> bool: ...

    @abstractmethod
    def _send(self, message: Any) -> None:
        """Send a message, unless the other end is gone, which its silence reports."""

    @abstractmethod
    async def _ending(self) -> str:
        """How the other end ended, as the predicate of a sentence."""

    async def _give(self, pack: Sequence[Assignment]) -> None:
        """Send a pack."""
        await asyncio.to_thread(self._send, ("run", list(pack)))

    async def _take(self, assignment: Assignment, outcome: Outcome) -> Outcome:
        """Bring the files of an outcome into the folder of its assignment. Raises WorkerLost."""
        return outcome

    def check(self, request: Request, form: str) -> None:  # noqa: B027  # no subclass has to
        """Do nothing: what a model makes is known to its process."""

    async def run(self, pack: Sequence[Assignment], report: Callable[[Report], None]) -> None:
        if not self.is_alive:
            try:
                await self.start()
            except UsageError as error:  # it could at first
                raise WorkerLost(str(error)) from error
        await self._give(pack)
        pending = {assignment.job.id: assignment for assignment in pack}
        for job_id in pending.keys() & self._cancelled:  # while the process started
            self._send(("cancel", job_id))
        self._cancelled.clear()
        while pending:
            message = await self._next(SILENCE_SECONDS)
            if isinstance(message, Refused):
                await self.stop()
                raise WorkerLost(f"{self.name} gave up: {message.message}")
            if isinstance(message, Report) and message.job_id in pending:
                if message.outcome is not None:
                    outcome = await self._take(pending.pop(message.job_id), message.outcome)
                    message = replace(message, outcome=outcome)
                report(message)

    def cancel(self, job_id: str) -> None:
        self._cancelled.add(job_id)
        self._send(("cancel", job_id))

    async def forget(self, job: Job) -> None:  # noqa: B027  # no subclass has to
        """Do nothing: what was begun in the process ended with it."""

    def show_previews(self, wanted: bool) -> None:
        self._shows_previews = wanted
        self._send(("previews", wanted))

    async def _greeting(self) -> Models:
        """First message: the models. Raises UsageError for those that cannot be served."""
        message = await self._next(START_SECONDS)
        if isinstance(message, Refused):
            raise UsageError(message.message)
        assert isinstance(message, Hello), message
        self._send(("previews", self._shows_previews))
        return message.models

    def _hear(self, heard: asyncio.Queue[Any], message: Any) -> None:
        """Take a message of the process, unless it is of an earlier one."""
        if heard is self._heard:
            self._heard_at = time.monotonic()
            if isinstance(message, Beat):
                self.loaded = message.loaded
            else:
                heard.put_nowait(message)

    async def _next(self, patience: float) -> Any:
        """Next message. Raises WorkerLost after the end, or `patience` seconds without a beat."""
        while True:
            left = self._heard_at + patience - time.monotonic()
            try:
                async with asyncio.timeout(max(0.01, left)):
                    message = await self._heard.get()
                break
            except TimeoutError:
                if time.monotonic() - self._heard_at >= patience:
                    await self.stop()
                    raise WorkerLost(f"{self.name} was not heard of for {patience:g} s") from None
        if message is None:
            raise WorkerLost(f"{self.name} {await self._ending()}")
        return message


class ProcessWorker(MessageWorker):
    """A process of this machine, a child of the server at a lower priority."""

    def __init__(self, name: str, setup: Setup) -> None:
        super().__init__(name)
        self._setup = setup
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._sending = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Number of the process, if one was started."""
        return None if self._process is None else self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    async def start(self) -> Models:
        """Start the process. Raises UsageError for models that it cannot serve, WorkerLost."""
        await self.stop()
        heard = self._heard = asyncio.Queue[Any]()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        made = context.Process(target=process.work, args=(theirs, self._setup), daemon=True)
        await asyncio.to_thread(made.start)
        theirs.close()
        self._process, self._heard_at = made, time.monotonic()
        loop = asyncio.get_running_loop()

        def hear(message: Any) -> None:
            loop.call_soon_threadsafe(self._hear, heard, message)

        threading.Thread(target=_listen, args=(self._pipe, hear), daemon=True).start()
        return await self._greeting()

    async def stop(self) -> None:
        ended, self._process, self._pipe, self.loaded = self._process, None, None, None
        if ended is not None:
            ended.kill()
            await asyncio.to_thread(ended.join)

    def _send(self, message: Any) -> None:
        with self._sending, suppress(OSError):
            if self._pipe is not None:
                self._pipe.send(message)

    async def _ending(self) -> str:
        ended = self._process
        if ended is None:
            return "ended"
        await asyncio.to_thread(ended.join)
        status = ended.exitcode
        if status is not None and status < 0:
            return f"was ended by {signal.Signals(-status).name}"
        return f"ended with status {status}"


def _listen(pipe: Connection, hear: Callable[[Any], object]) -> None:
    """Hand on all messages of a pipe, and None at its end."""
    try:
        while True:
            hear(pipe.recv())
    except (EOFError, OSError, RuntimeError):  # the process ended, or the loop did
        pass
    finally:
        pipe.close()  # here, as no other thread may close what this one reads
        with suppress(RuntimeError):
            hear(None)
