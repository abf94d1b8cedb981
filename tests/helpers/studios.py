"""Parts of a studio for tests: workers that are none, and a model that is saved in a folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import torch

from minisora.bundle import Bundle, Sampling, save
from minisora.dit.model import DiT
from minisora.generate.request import Request
from minisora.generate.verbs import Generate
from minisora.progress import Event
from minisora.studio.blobs import Blobs
from minisora.studio.dispatch import Dispatcher, Limits
from minisora.studio.jobs import Failure, Job, Made, NewJob, State
from minisora.studio.messages import Assignment, Models, Report
from minisora.studio.results import seal
from minisora.studio.store import Store
from minisora.studio.workers import WorkerLost
from minisora.vae.model import VideoVAE
from tests.helpers.tiny import DIT, VAE, Words

FACTS = {"width": 96, "height": 64, "fps": 8.0, "num_frames": 17, "timings": {"denoise": 0.5}}


def tiny_bundle(folder: Path, name: str = "tiny", trained: Mapping[str, object] | None = None) -> Path:
    """Save a bundle that makes videos of 32x32 in two steps; its text encoder is the real one."""
    torch.manual_seed(0)
    vae, dit = VideoVAE(VAE), DiT(replace(DIT, text_width=384))
    with torch.no_grad():
        for parameter in (*vae.parameters(), *dit.parameters()):
            parameter.add_(torch.randn_like(parameter) * 0.1)
    sampling = Sampling(fps=8.0, size=(32, 32), seconds=1.0, steps=2, guidance=2.0)
    save(folder, Bundle(name, vae, dit, Words(), sampling, dict(trained or {})))
    return folder


def new(owner: str = "one", prompt: str = "a red ball", **changes: object) -> NewJob:
    seed = changes.pop("seed", 0)
    return NewJob(owner=owner, request=Generate(prompt, seconds=1.0, seed=seed), **changes)  # type: ignore[arg-type]


class Hands:
    """A worker in the loop. `acts` says what it does with a prompt: done unless it is there.

    done, hold (until cancelled), stuck (until stopped), die, fail, full
    """

    together = 1 << 20

    def __init__(self, name: str = "hands", *, models: Sequence[str] = ("toybox",), seconds: float = 0.0) -> None:
        self.name, self.models, self.seconds = name, models, seconds
        self.loaded: str | None = None
        self.acts: dict[str, str] = {}
        self.packs: list[list[str]] = []  # prompts, as they came
        self.starts = 0
        self.previews: bool | None = None
        self._cancelled: dict[str, asyncio.Event] = {}
        self._stopped = asyncio.Event()

    async def start(self) -> Models:
        self.starts += 1
        self._stopped = asyncio.Event()
        return {name: {"fps": 8.0} for name in self.models}

    async def run(self, pack: Sequence[Assignment], report: Callable[[Report], None]) -> None:
        if self._stopped.is_set():
            await self.start()
        self.loaded = pack[0].job.model
        self.packs.append([str(each.job.request.get("prompt")) for each in pack])
        for each in pack:
            self._cancelled[each.job.id] = asyncio.Event()
        for each in pack:
            report(Report(job_id=each.job.id, event=Event("denoise", 1, 2), progress=0.5, preview=b"jpeg"))
            await asyncio.sleep(self.seconds)
            report(Report(job_id=each.job.id, outcome=await self._outcome(each)))

    async def _outcome(self, assignment: Assignment) -> Made | Failure | State:
        act = self.acts.get(str(assignment.job.request.get("prompt")), "done")
        if act == "die":
            self._stopped.set()
            raise WorkerLost(f"{self.name} was ended by SIGKILL")
        if act in ("hold", "stuck"):
            heard = self._stopped if act == "stuck" else self._cancelled[assignment.job.id]
            stopped = asyncio.create_task(self._stopped.wait())
            await asyncio.wait([asyncio.create_task(heard.wait()), stopped], return_when=asyncio.FIRST_COMPLETED)
            if self._stopped.is_set():
                raise WorkerLost(f"{self.name} was stopped")
            return State.CANCELLED
        if act == "fail":
            return Failure("invalid_request", "it cannot be")
        return await asyncio.to_thread(write, assignment)

    def check(self, request: Request, form: str) -> None:
        pass

    def cancel(self, job_id: str) -> None:
        if job_id in self._cancelled:
            self._cancelled[job_id].set()

    async def forget(self, job: Job) -> None:
        pass

    def show_previews(self, wanted: bool) -> None:
        self.previews = wanted

    async def stop(self) -> None:
        self._stopped.set()


def write(assignment: Assignment, facts: Mapping[str, object] = FACTS) -> Made:
    """Write a result of few bytes, as a worker does."""
    assignment.folder.mkdir()
    names = {"video": "video.mp4", "thumbnail": "thumbnail.webp", "spritesheet": "spritesheet.jpg"}
    for name in names.values():
        (assignment.folder / name).write_bytes(f"{assignment.job.id} {name}".encode())
    return seal(assignment.folder, names, facts)


@asynccontextmanager
async def dispatching(
    folder: Path, *workers: Hands, limits: Limits | None = None, address: str = ""
) -> AsyncIterator[tuple[Dispatcher, Store, Blobs]]:
    """Run a dispatcher with such workers in a folder."""
    store, blobs = Store(address or f"sqlite:///{folder / 'studio.db'}"), Blobs(folder / "files")
    dispatcher = Dispatcher(store, blobs, folder / "jobs", workers or [Hands()], limits)
    await dispatcher.start()
    try:
        yield dispatcher, store, blobs
    finally:
        await dispatcher.stop()
        await store.close()
