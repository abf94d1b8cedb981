"""Workers on a Ray cluster: process.py in an actor each, wherever there is room.

The server stays the one that writes the database and publishes results. It hears an actor's
messages by calling it again and again; media go to the actor, and results come back, in pieces, and
are checked by SHA-256. An actor that dies with its node is started again on another.

Here: the server's side. Ray is imported on use. Not here: the code in the actor (ray_actor.py), the
protocol of workers (workers.py), connecting (workers/ray_cluster.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import minisora
from minisora.errors import UsageError
from minisora.outside import as_path
from minisora.studio import workers
from minisora.studio.blobs import storage
from minisora.studio.jobs import Failure, Made, State, StorageFull
from minisora.studio.messages import Assignment, Models, Outcome, Setup
from minisora.studio.ray_actor import Actor, Place
from minisora.studio.results import seal
from minisora.studio.workers import MessageWorker, WorkerLost
from minisora.workers.ray_cluster import connected

PIECE_BYTES = 4 << 20  # of a file, in one message
ROOM_SECONDS = 300.0  # for a cluster to find room: one that grows takes minutes
_ROOM_WARNING_SECONDS = 20.0
_LEAVING_SECONDS = 5.0
_GROUPS = {"messages": 1, "hear": 1, "files": 1}  # threads of an actor, besides that of `work`
_STORE_BYTES = 200 << 20  # of a Ray of our own: pieces of files are all that goes through it
_log = logging.getLogger("minisora.studio")


@contextmanager
def ray_workers(names: Sequence[str], setup: Setup, address: str | None) -> Iterator[list[RayWorker]]:
    """Join a cluster for as long as the block lasts, with a worker for each name.

    setup:   its folders of models are of this machine
    address: see `ray_cluster.connected`

    Raises UsageError when Ray is not installed, or no cluster answers.
    """
    cpus = max(os.cpu_count() or 1, len(names))
    ray = connected(address, logs=True, num_cpus=cpus, object_store_memory=_STORE_BYTES)
    try:
        yield [RayWorker(name, ray, setup) for name in names]
    finally:
        ray.shutdown()


class RayWorker(MessageWorker):
    """An actor on a node of a cluster, started again elsewhere if that dies.

    node: name of the machine that it is on, if it has a place
    """

    def __init__(self, name: str, ray: Any, setup: Setup) -> None:
        super().__init__(name)
        self.node: str | None = None
        self._ray, self._setup = ray, setup
        self._actor: Any = None
        self._folder = Path()
        self._listening: asyncio.Task[None] | None = None
        self._end: str | None = None  # why it ended, once it has

    @property
    def is_alive(self) -> bool:
        return self._actor is not None and self._end is None

    async def start(self) -> Models:
        """Start an actor where there is room, with the models that it lacks.

        Raises UsageError if there is no room for long, for another version of minisora there, and
        for models that cannot be served; WorkerLost.
        """
        await self.stop()
        heard = self._heard = asyncio.Queue[Any]()
        resources, neighbours = share(self._ray.nodes(), self._setup.workers)
        kind = self._ray.remote(concurrency_groups=_GROUPS)(Actor)
        self._end, self._actor = None, kind.options(scheduling_strategy="SPREAD", **resources).remote()
        try:
            place = await self._placed(resources)
            models = [await self._model(name) for name in self._setup.models]
            self._call("work", replace(self._setup, models=models, workers=neighbours), group=None)
            self._heard_at = time.monotonic()
            self._listening = asyncio.create_task(self._listen(self._actor, heard))
            served = await self._greeting()
        except BaseException:
            await self.stop()
            raise
        _log.info("%s is on %s", self.name, place.node)
        return served

    async def stop(self) -> None:
        ended, listening, lives = self._actor, self._listening, self.is_alive
        self._actor, self._listening, self.loaded, self.node = None, None, None, None
        if ended is None:
            return
        if lives and listening is not None:
            leaving = ended.leave.options(concurrency_group="messages").remote()
            await asyncio.wait([asyncio.ensure_future(leaving)], timeout=_LEAVING_SECONDS)
        await asyncio.to_thread(self._ray.kill, ended)
        if listening is not None:
            await asyncio.wait([listening], timeout=_LEAVING_SECONDS)

    async def _placed(self, resources: Mapping[str, int]) -> Place:
        """Wait until the actor is on a node."""
        takes = " and ".join(f"{count} {name.removeprefix('num_').upper()[:3]}" for name, count in resources.items())
        placing = asyncio.ensure_future(self._call("place"))
        done, _ = await asyncio.wait([placing], timeout=_ROOM_WARNING_SECONDS)
        if not done:
            _log.warning("%s waits for a node with %s free", self.name, takes)
            done, _ = await asyncio.wait([placing], timeout=ROOM_SECONDS)
        if not done:
            placing.cancel()
            raise UsageError(
                f"the cluster has no room for {self.name}, which takes {takes}. Start fewer: --workers N; or add nodes."
            )
        place: Place = await self._answer(placing)
        if place.version != minisora.__version__:
            raise UsageError(
                f"{place.node} has minisora {place.version}, and the server {minisora.__version__}. Install the same."
            )
        self.node, self._folder = place.node, place.folder
        return place

    async def _model(self, name: str) -> str:
        """Name of a model on the node; a folder is sent if the node does not have the same."""
        folder = as_path(name)
        if not (about := folder / "bundle.json").is_file():
            return name
        if not await self._answer(self._call("lacking", {name: about.read_bytes()}), workers.START_SECONDS):
            return name
        there = self._folder / "models" / str(self._setup.models.index(name))
        for file in sorted(each for each in folder.iterdir() if each.is_file()):
            await self._push(file, there / file.name)
        return str(there)

    async def _listen(self, actor: Any, heard: asyncio.Queue[Any]) -> None:
        messages, end = list[Any](), "ended"
        try:
            while None not in messages:
                messages = await actor.hear.options(concurrency_group="hear").remote()
                for message in messages:
                    if message is not None:
                        self._hear(heard, message)
        except self._ray.exceptions.RayError as error:
            end = f"was lost: {_shortened(error)}"
        if heard is self._heard:
            self._end = end
        self._hear(heard, None)

    def _send(self, message: Any) -> None:
        if self._actor is not None:
            self._call("tell", message, group="messages")

    async def _ending(self) -> str:
        return self._end or "ended"

    async def _give(self, pack: Sequence[Assignment]) -> None:
        for name in ("jobs", "media"):  # of a pack that was not taken to its end
            await self._answer(self._call("remove", self._folder / name))
        sent, there = set[str](), list[Assignment]()
        for each in pack:
            media = {sha256: self._folder / "media" / sha256 for sha256 in each.media}
            for sha256 in media.keys() - sent:
                await self._push(each.media[sha256], media[sha256], sha256, each.job.id)
                sent.add(sha256)
            there.append(replace(each, folder=self._there(each), media=media))
        self._send(("run", there))

    async def _take(self, assignment: Assignment, outcome: Outcome) -> Outcome:
        taken = await self._fetched(assignment, outcome) if isinstance(outcome, Made) else outcome
        self._call("remove", self._there(assignment))
        return taken

    async def _fetched(self, assignment: Assignment, outcome: Made) -> Outcome:
        here, there = assignment.folder, self._there(assignment)
        facts = {each.name: getattr(outcome, each.name) for each in fields(Made) if each.name != "files"}
        try:
            with storage():
                here.mkdir(parents=True)
                for file in outcome.files.values():
                    await self._pull(there / file.name, here / file.name)
                    if assignment.job.id in self._cancelled:
                        return State.CANCELLED
            variants = {variant: file.name for variant, file in outcome.files.items()}
            made = await asyncio.to_thread(seal, here, variants, facts)
        except StorageFull as error:
            return Failure("storage_full", str(error))
        if made != outcome:
            raise WorkerLost(f"{self.name}: files of job {assignment.job.id} arrived damaged")
        return made

    def _there(self, assignment: Assignment) -> Path:
        return self._folder / "jobs" / assignment.folder.name

    async def _push(self, here: Path, there: Path, sha256: str = "", job_id: str = "") -> None:
        """Send a file, unless it is for a job that is cancelled.

        sha256: of what is to arrive; empty: any
        """
        with here.open("rb") as file:
            while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                if job_id in self._cancelled:
                    return
                await self._answer(self._call("write", there, piece))
        if sha256 and await self._answer(self._call("sha256", there)) != sha256:
            raise WorkerLost(f"{self.name}: a file arrived damaged")

    async def _pull(self, there: Path, here: Path) -> None:
        """Fetch a file."""
        with here.open("wb") as file:
            while piece := await self._answer(self._call("read", there, file.tell(), PIECE_BYTES)):
                await asyncio.to_thread(file.write, piece)

    def _call(self, method: str, *values: Any, group: str | None = "files") -> Any:
        """Call a method of the actor; returns Ray's reference to the answer. Raises WorkerLost."""
        if self._actor is None:
            raise WorkerLost(f"{self.name} was stopped")
        call = getattr(self._actor, method)
        return (call if group is None else call.options(concurrency_group=group)).remote(*values)

    async def _answer(self, reference: Awaitable[Any], seconds: float | None = None) -> Any:
        """Answer of the actor. Raises WorkerLost after its death, or if none comes in time."""
        seconds = workers.SILENCE_SECONDS if seconds is None else seconds
        try:
            async with asyncio.timeout(seconds):
                return await reference
        except TimeoutError:
            raise WorkerLost(f"{self.name} was not heard of for {seconds:g} s") from None
        except self._ray.exceptions.RayError as error:
            raise WorkerLost(f"{self.name} was lost: {_shortened(error)}") from error


def share(nodes: Sequence[Mapping[str, Any]], workers: int) -> tuple[dict[str, int], int]:
    """Resources of each worker: a GPU where nodes have some, else the largest equal share of CPUs.

    nodes:   as ray.nodes() says
    returns  arguments of an actor, and the most workers that one node gets
    """
    there = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = [int(each.get("GPU", 0)) for each in there]
    if any(gpus):
        return {"num_cpus": 1, "num_gpus": 1}, min(workers, max(gpus))
    cpus = [int(each.get("CPU", 0)) for each in there]
    most = next((n for n in range(max(cpus, default=0), 0, -1) if sum(each // n for each in cpus) >= workers), 1)
    return {"num_cpus": most}, max(1, min(workers, max((each // most for each in cpus), default=1)))


def _shortened(error: Exception) -> str:
    """Beginning and end of an error of Ray, on one line; what an import lacks is at the end."""
    text = " ".join(str(error).split())
    return text if len(text) <= 400 else f"{text[:150]} ... {text[-250:]}"
