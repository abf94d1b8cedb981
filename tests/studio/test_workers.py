"""Real worker processes with a tiny model, under a real dispatcher."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Picture

import minisora
from minisora.errors import UsageError
from minisora.generate import saved
from minisora.generate.media import Named
from minisora.generate.verbs import Extend, Generate, Image, Reverse
from minisora.studio import process, workers
from minisora.studio import running as running_module
from minisora.studio.dispatch import Limits
from minisora.studio.jobs import NewJob, State
from minisora.studio.messages import Setup
from minisora.studio.server import Settings, Studio, opened
from minisora.studio.workers import ProcessWorker
from minisora.video import Video, read_image, read_video
from tests.helpers.studios import tiny_bundle
from tests.helpers.tiny import picture

PROMPTS = ("a red ball rolls to the left", "two green cubes", "a large blue cone spins")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


class Running:
    """A studio in a thread of its own; `run` waits for a coroutine there."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.folder
        self._loop, self._closing = asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._context = opened(settings)
        self.studio: Studio = self.run(self._context.__aenter__())
        self.dispatcher = self.studio.dispatcher

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(400)

    def done(self, new: NewJob) -> Any:
        return self.run(done(self.studio, new))

    def close(self) -> None:
        self.run(self._context.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Running]:
    one = Running(Settings(folder=tmp_path_factory.mktemp("studio"), models=(str(model),)))
    yield one
    one.close()


def job(request: object, **changes: object) -> NewJob:
    return NewJob(owner="one", request=request, **{"format": "mkv", **changes})  # type: ignore[arg-type]


async def done(studio: Studio, new: NewJob):
    made = await studio.dispatcher.submit(new)
    return await studio.dispatcher.wait(made.id, "one", 300)


def test_jobs_give_what_the_model_gives_and_their_files_are_whole(running, tmp_path, model):
    """Alone bit for bit, as FFV1 keeps every pixel."""
    clip = Video(picture(9, 32, 32), 8.0)
    clip.save(tmp_path / "clip.mkv")
    blob = running.studio.blobs.put(tmp_path / "clip.mkv")
    generate, named = Generate(PROMPTS[0], seed=5), Named("../../my clip.mkv", blob.sha256)
    ended = [
        running.done(job(generate)),
        running.done(job(Image(PROMPTS[1]), format="png")),
        running.done(job(Extend(named, PROMPTS[2], after=0.5))),
        running.done(job(Reverse(named))),
    ]
    assert [each.state for each in ended] == [State.DONE] * 4
    assert running.dispatcher.models["tiny"]["size"] == [32, 32]
    paths = [{name: running.dispatcher.result(each, name) for name in each.made.files} for each in ended]
    here = minisora.load(model)
    assert torch.equal(read_video(paths[0]["video"]).frames, here.generate(PROMPTS[0], seed=5).frames)
    assert torch.equal(read_image(paths[1]["video"]), here.image(PROMPTS[1]).frames[0])
    extended = here.extend(tmp_path / "clip.mkv", PROMPTS[2], after=0.5)
    assert torch.equal(read_video(paths[2]["video"]).frames, extended.frames)
    assert torch.equal(read_video(paths[3]["video"]).frames, clip.frames.flip(0))
    made = ended[0].made
    assert (made.width, made.height, made.fps, made.num_frames) == (32, 32, 8.0, 9)
    assert made.digest == here.bundle.digest and made.timings["denoise"] > 0 and ended[3].made.digest == ""
    for each in paths:
        assert set(each) == {"video", "thumbnail", "spritesheet", "request"}
        with Picture.open(each["thumbnail"]) as thumbnail, Picture.open(each["spritesheet"]) as sheet:
            assert thumbnail.format == "WEBP" and sheet.format == "JPEG" and sheet.width > 32
        assert not (each["video"].parent / "media").exists()
    again = saved.read(paths[0]["request"])
    assert again.request.to_data() == generate.to_data() and again.digest == made.digest
    assert str(running.folder) not in json.dumps([list(each.made.notes) for each in ended])


def test_a_request_that_cannot_run_fails_in_words_without_paths(running, tmp_path):
    (tmp_path / "no.mkv").write_bytes(b"this is no video" * 100)
    blob = running.studio.blobs.put(tmp_path / "no.mkv")
    broken = running.done(job(Reverse(Named("holiday.mkv", blob.sha256))))
    huge = running.done(job(Generate(PROMPTS[0], size=(100_000, 100_000))))
    assert broken.failure.code == huge.failure.code == "invalid_request"
    assert "holiday.mkv" in broken.failure.message and str(running.folder) not in broken.failure.message
    assert "memory" in huge.failure.message
    assert not {broken.id, huge.id} & {path.name[: len(huge.id)] for path in (running.folder / "jobs").iterdir()}


def test_cancelling_previews_and_packs(running, model):
    """A job that takes long is cancelled within a step; then three run in one pack."""
    dispatcher = running.dispatcher

    async def go():
        long = await dispatcher.submit(job(Generate(PROMPTS[0], steps=1000, seconds=4.0)))
        with dispatcher.listen("one") as updates:
            while (update := await anext(updates)).preview is None:
                pass
        three = [await dispatcher.submit(job(Generate(p, seed=n))) for n, p in enumerate(PROMPTS)]
        began = time.monotonic()
        cancelled = await dispatcher.cancel(long.id, "one")
        seconds = time.monotonic() - began
        ended = [await dispatcher.wait(each.id, "one", 300) for each in three]
        return update, cancelled, seconds, ended

    update, cancelled, seconds, ended = running.run(go())
    assert update.preview.startswith(b"\xff\xd8") and 0 < update.progress < 1
    assert update.event.stage == "denoise" and update.event.total >= 1000
    assert cancelled.state == State.CANCELLED and cancelled.attempts == 1 and seconds < 10
    assert len({each.started_at for each in ended}) == 1  # one pack
    here = minisora.load(model)
    for number, (prompt, each) in enumerate(zip(PROMPTS, ended, strict=True)):
        alone = here.generate(prompt, seed=number).frames
        assert (read_video(dispatcher.result(each, "video")).frames.int() - alone.int()).abs().max() <= 1


def test_a_job_is_cancelled_while_it_is_decoded(running):
    dispatcher = running.dispatcher

    async def go():
        long = await dispatcher.submit(job(Generate(PROMPTS[0], steps=1, seconds=300.0, one_stage=True)))
        with dispatcher.listen("one") as updates:
            while (update := await anext(updates)).event is None or update.event.stage != "decode":
                pass
            return await dispatcher.cancel(long.id, "one"), update

    cancelled, update = running.run(go())
    assert cancelled.state == State.CANCELLED and update.event.done < update.event.total
    assert not list((running.folder / "jobs").glob("*.tmp"))


def test_a_folder_has_one_studio_at_a_time(running):
    async def go():
        async with opened(running.studio.settings):
            pass

    with pytest.raises(UsageError, match="another run"):
        asyncio.run(go())


@pytest.mark.parametrize(("twice", "words"), [(False, "no-such"), (True, "both models named tiny")])
def test_models_that_cannot_be_served_are_refused_at_the_start(tmp_path, model, twice, words):
    models = (str(model), str(model)) if twice else ("no-such",)
    with pytest.raises(UsageError, match=words):
        process.described(models)


def test_more_workers_than_fit_in_memory_are_refused_at_the_start(model):
    process.check_size("tiny", model, 2)
    with pytest.raises(UsageError, match="--workers N"):
        process.check_size("tiny", model, 10**9)


@pytest.mark.long
def test_damaged_weights_fail_jobs_in_the_end_and_say_why(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(running_module, "MOST_ATTEMPTS", 2)
    damaged = tiny_bundle(tmp_path / "tiny")
    (damaged / "dit.safetensors").write_bytes(b"nothing")

    async def go():
        async with opened(Settings(folder=tmp_path / "studio", models=(str(damaged),))) as studio:
            return await done(studio, job(Generate(PROMPTS[0])))

    ended = asyncio.run(go())
    assert ended.failure.code == "worker_lost" and str(tmp_path) not in ended.failure.message
    assert "dit.safetensors is not the file" in caplog.text


@pytest.mark.long
def test_a_studio_whose_model_cannot_be_served_does_not_start(tmp_path):
    async def go():
        async with opened(Settings(folder=tmp_path / "studio", models=("no-such",))):
            pass

    with pytest.raises(UsageError, match="no-such"):
        asyncio.run(go())


@pytest.mark.long
def test_jobs_survive_a_worker_that_is_killed_and_one_that_hangs(tmp_path, model, monkeypatch):
    monkeypatch.setattr(workers, "SILENCE_SECONDS", 8.0)

    async def go():
        settings = Settings(folder=tmp_path / "studio", models=(str(model),), limits=Limits(together=1))
        async with opened(settings) as running:
            dispatcher = running.dispatcher
            (worker,) = dispatcher._workers
            assert isinstance(worker, ProcessWorker)
            jobs = []
            for number in (signal.SIGKILL, signal.SIGSTOP):
                made = await dispatcher.submit(job(Generate(PROMPTS[0], steps=300)))
                with dispatcher.listen("one") as updates:
                    while (await anext(updates)).event is None:
                        pass
                    os.kill(worker.pid, number)
                jobs.append(await dispatcher.wait(made.id, "one", 300))
            os.kill(worker.pid, signal.SIGKILL)  # while it has nothing to do
            await asyncio.sleep(0.5)
            jobs.append(await done(running, job(Generate(PROMPTS[0]))))
            attempts = [[each.outcome for each in await running.store.attempts(made.id)] for made in jobs]
            return attempts, [read_video(dispatcher.result(made, "video")).frames for made in jobs]

    attempts, frames = asyncio.run(go())
    assert attempts == [["worker_lost", "done"], ["worker_lost", "done"], ["done"]]
    assert torch.equal(frames[0], frames[1])


@pytest.mark.long
def test_two_workers_and_two_models(tmp_path, model):
    other = tiny_bundle(tmp_path / "other", "other")

    async def go():
        async with opened(Settings(folder=tmp_path / "studio", workers=2, models=(str(model), str(other)))) as running:
            asked = [job(Generate(p, seed=n), model=name) for n, p in enumerate(PROMPTS) for name in ("tiny", "other")]
            made = [await running.dispatcher.submit(each) for each in asked]
            ended = [await running.dispatcher.wait(each.id, "one", 300) for each in made]
            return ended, {each.id: (await running.store.attempts(each.id))[-1].worker for each in ended}

    ended, by = asyncio.run(go())
    assert all(each.state == State.DONE for each in ended) and set(by.values()) == {"worker 1", "worker 2"}
    assert [each.model for each in ended] == ["tiny", "other"] * 3


@pytest.mark.parametrize("turns", range(5))
def test_a_stop_is_not_lost_to_a_message_that_comes_with_it(turns: int):
    async def waiting() -> tuple[bool, bool]:
        worker = ProcessWorker("worker 1", Setup(models=("toybox",), workers=1))
        worker._heard_at = time.monotonic()
        task = asyncio.create_task(worker._next(60.0))
        await asyncio.sleep(0.01)
        worker._hear(worker._heard, "a message")
        for _ in range(turns):
            await asyncio.sleep(0)
        accepted = task.cancel()
        await asyncio.wait({task})
        return accepted, task.cancelled()

    accepted, ended = asyncio.run(waiting())
    assert accepted == ended
