"""Studios that are killed: one with workers in the loop at each of its steps, one with processes.

python -m tests.helpers.crashing steps FOLDER           prints a line of JSON for each step
python -m tests.helpers.crashing serve FOLDER MODEL N DATABASE   runs N jobs
python -m tests.helpers.crashing once FOLDER            one upload and one job, to be traced
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from minisora.generate.verbs import Generate
from minisora.studio.jobs import Item, NewJob, State
from minisora.studio.server import Settings, opened
from tests.helpers.studios import dispatching, new

STEPS = ("fsync", "rename", "link", "mkdir", "unlink")


class KillAt:
    """Kills this process right before its n-th step on the disk or the database."""

    def __init__(self, number: int) -> None:
        self.left = number
        for name in STEPS:
            setattr(os, name, self._counted(getattr(os, name)))
        event.listen(Engine, "commit", lambda connection: self.step())

    def step(self) -> None:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            self.step()
            return real(*given, **named)

        return call


async def live(folder: Path, number: int) -> None:
    """Keep an upload, run two jobs, delete one of them and purge it; note each answer."""

    def note(kind: str, content: str) -> None:
        with (folder / "notes").open("a") as notes:
            notes.write(f"{kind} {content}\n")

    async with dispatching(folder) as (dispatcher, store, blobs):
        if number:
            KillAt(number)
        await upload(folder, store, blobs)
        note("upload", "upload_1")
        for prompt in ("first", "second"):
            job = await dispatcher.submit(new(prompt=prompt))
            note("accepted", job.id)
            await dispatcher.wait(job.id, None)
            note("done", job.id)
        await dispatcher.delete(job.id, None)
        note("deleted", job.id)
        await dispatcher.purge(2e12)
        note("purged", job.id)


async def upload(folder: Path, store: Any, blobs: Any) -> None:
    blob = await asyncio.to_thread(blobs.put, io.BytesIO(b"an upload"))
    facts = {"width": 1, "height": 1, "fps": 1.0, "num_frames": 1, "created_at": 0.0, "type": "image/png"}
    item = Item(id="upload_1", owner="one", name="x", sha256=blob.sha256, size_bytes=blob.size_bytes, **facts)
    await store.library.add_upload(item)


async def recovered(folder: Path) -> dict[str, Any]:
    """What a new server finds, after all its jobs are done."""
    async with dispatching(folder) as (dispatcher, store, blobs):
        for job in await store.unfinished():
            await dispatcher.wait(job.id, None)
        jobs, items = (await store.jobs(None)).values, (await store.library.items(None)).values
        gone = [item.id for item in (await store.library.items(None, deleted=True)).values]
        ends = {job.id: [each.outcome for each in await store.attempts(job.id)] for job in jobs}
        files = {job.id: [whole(dispatcher.result(job, name), file.sha256) for name, file in job.made.files.items()]
                 for job in jobs if job.made is not None}  # fmt: skip
        return {
            "states": {job.id: job.state.value for job in jobs},
            "outcomes": ends,
            "items": sorted(item.id for item in items),
            "deleted": gone,
            "files_whole": all(all(each) for each in files.values()),
            "blobs_whole": all(whole(blobs.find(item.sha256), item.sha256) for item in items),
            "folders": sorted(path.name for path in (folder / "jobs").iterdir()),
        }


def whole(path: Path | None, sha256: str) -> bool:
    return path is not None and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def forked(work: Callable[[], Any]) -> tuple[int, Any]:
    """Run in a child; returns its signal or 0, and the answer."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    return os.WTERMSIG(status), json.loads(answer) if answer else None


def steps(folder: Path) -> None:
    number, killed = 0, int(signal.SIGKILL)
    while killed:
        number += 1
        place = folder / str(number)
        place.mkdir()
        killed, _ = forked(lambda: asyncio.run(live(place, number)))  # noqa: B023
        _, found = forked(lambda: asyncio.run(recovered(place)))  # noqa: B023
        notes = (place / "notes").read_text().split() if (place / "notes").exists() else []
        answers = dict(zip(notes[::2], notes[1::2], strict=True))
        said = {kind: [b for a, b in zip(notes[::2], notes[1::2], strict=True) if a == kind] for kind in answers}
        print(json.dumps({"step": number, "killed": bool(killed), "said": said, "found": found}), flush=True)
        shutil.rmtree(place)


async def serve(folder: Path, model: str, count: int, database: str) -> None:
    async with opened(Settings(folder=folder, database=database, models=(model,), workers=2)) as studio:

        async def run(number: int) -> None:
            asked = NewJob(
                owner=f"{number % 7}", request=Generate("a red ball", seed=number, steps=150), key=f"k{number}"
            )
            job = await studio.dispatcher.submit(asked)
            with (folder / "accepted").open("a") as accepted:
                accepted.write(f"{number} {job.id}\n")
            ended = await studio.dispatcher.wait(job.id, None)
            assert ended.state == State.DONE, ended

        await asyncio.gather(*(run(number) for number in range(count)))


async def once(folder: Path) -> None:
    async with dispatching(folder) as (dispatcher, store, blobs):
        await upload(folder, store, blobs)
        print("kept", flush=True)
        job = await dispatcher.submit(new())
        print("accepted", flush=True)
        await dispatcher.wait(job.id, None)
        print("done", job.id, flush=True)


if __name__ == "__main__":
    kind, folder, *rest = sys.argv[1:]
    if kind == "steps":
        steps(Path(folder))
    elif kind == "serve":
        asyncio.run(serve(Path(folder), rest[0], int(rest[1]), rest[2]))
    else:
        asyncio.run(once(Path(folder)))
