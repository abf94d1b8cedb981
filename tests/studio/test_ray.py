"""Workers on a Ray cluster: two nodes on this machine, one of which is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from minisora.errors import UsageError
from minisora.generate.media import Named
from minisora.generate.verbs import Extend, Generate
from minisora.studio import ray_workers
from minisora.studio.dispatch import Limits
from minisora.studio.jobs import NewJob, State
from minisora.studio.server import Settings, Studio, opened
from minisora.video import Video, read_video
from tests.helpers.studios import tiny_bundle
from tests.helpers.tiny import picture

STORE = {"num_cpus": 1, "object_store_memory": 100 << 20}


def job(request: object) -> NewJob:
    return NewJob(owner="one", request=request, format="mkv")  # type: ignore[arg-type]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model that the nodes do not find: a name relative to the server's folder."""
    tiny_bundle(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    return "tiny"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**STORE, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


def on(cluster: Any, folder: Path, model: str, **changes: Any) -> Settings:
    limits = Limits(together=1)
    more = {"engine": "ray", "ray_address": cluster.address, **changes}
    return Settings(folder=folder, models=(model,), limits=limits, **more)


async def until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


async def asked(worker: Any, question: Callable[[Any], Any]) -> Any:
    call = worker._actor.__ray_call__.options(concurrency_group="files")  # its own thread computes
    return await call.remote(question)


async def node_of(worker: Any) -> str:
    import ray

    node: str = await asked(worker, lambda actor: ray.get_runtime_context().get_node_id())
    return node


@contextmanager
def extra_node(cluster: Any) -> Iterator[Any]:
    node = cluster.add_node(**STORE)
    yield node
    if node in cluster.worker_nodes:
        cluster.remove_node(node)


def test_workers_share_the_cluster():
    def nodes(*resources: dict[str, float], alive: bool = True) -> list[dict[str, Any]]:
        return [{"Alive": alive, "Resources": each} for each in resources]

    assert ray_workers.share(nodes({"CPU": 8.0}, {"CPU": 8.0}), 2) == ({"num_cpus": 8}, 1)
    assert ray_workers.share(nodes({"CPU": 8.0}, {"CPU": 2.0}), 3) == ({"num_cpus": 2}, 3)
    assert ray_workers.share(nodes({"CPU": 2.0}, {}), 3) == ({"num_cpus": 1}, 2)
    assert ray_workers.share(nodes({"CPU": 64.0}, {"CPU": 16.0, "GPU": 4.0}), 8) == ({"num_cpus": 1, "num_gpus": 1}, 4)
    assert ray_workers.share(nodes({"CPU": 2.0, "GPU": 1.0}, alive=False), 1) == ({"num_cpus": 1}, 1)


def test_an_address_takes_the_engine(tmp_path):
    with pytest.raises(UsageError, match="Add --engine ray"):
        Settings(folder=tmp_path, ray_address="auto")


REQUESTS = [Generate(f"{number} red balls", seed=number, steps=120) for number in range(4)]


@pytest.mark.long
def test_a_node_dies_and_every_job_is_done_once_and_alike(cluster, tmp_path, model):
    clip = tmp_path / "clip.mkv"
    Video(picture(9, 32, 32), 8.0).save(clip)

    async def submitted(studio: Studio) -> list[str]:
        blob = await asyncio.to_thread(studio.blobs.put, clip)
        extend = Extend(Named("clip.mkv", blob.sha256), "it goes on", after=1.0, steps=60)
        return [(await studio.dispatcher.submit(job(each))).id for each in (*REQUESTS, extend)]

    async def results(studio: Studio, ids: list[str]) -> list[Any]:
        ended = [await studio.dispatcher.wait(each, "one", 300) for each in ids]
        assert [(each.state, each.failure) for each in ended] == [(State.DONE, None)] * len(ids)
        names = ("thumbnail", "spritesheet", "request")
        files = [[studio.dispatcher.result(each, name).read_bytes() for name in names] for each in ended]
        return files + [read_video(studio.dispatcher.result(each, "video")).frames.tolist() for each in ended]

    async def here() -> list[Any]:
        async with opened(Settings(folder=tmp_path / "here", models=(model,), limits=Limits(together=1))) as studio:
            return await results(studio, await submitted(studio))

    async def there() -> tuple[list[Any], list[list[str]]]:
        settings = on(cluster, tmp_path / "there", model, workers=2)
        with extra_node(cluster) as doomed:
            async with opened(settings) as studio:
                return await killed(studio, doomed)

    async def killed(studio: Studio, doomed: Any) -> tuple[list[Any], list[list[str]]]:
        workers, runner = studio.dispatcher._workers, studio.dispatcher._runner
        places = {await node_of(worker): worker for worker in workers}
        assert len(places) == 2
        process = await asked(places[doomed.node_id], lambda actor: os.getpid())
        ids = await submitted(studio)

        def halfway() -> bool:
            runs = [run for run in runner.running.values() if run.progress > 0.05]
            return {run.worker for run in runs} == set(workers)

        await until(halfway)
        os.kill(process, signal.SIGSTOP)  # a busy machine takes long to remove a node: its job might be done before
        cluster.remove_node(doomed, allow_graceful=False)
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        made = await results(studio, ids)
        assert set(places) & {node.node_id for node in cluster.list_all_nodes()}
        lost = next(worker for worker in workers if worker.node is None)
        with extra_node(cluster) as fresh:
            await until(lambda: lost.loaded)  # it has begun again, on the new node
            assert await node_of(lost) == fresh.node_id
        attempts = [[each.outcome for each in await studio.store.attempts(job_id)] for job_id in ids]
        folders = {path.name for path in (tmp_path / "there" / "jobs").iterdir()}
        assert folders == set(ids)
        return made, attempts

    made, attempts = asyncio.run(there())
    assert sorted(attempts) == [["done"]] * 4 + [["worker_lost", "done"]]
    assert made == asyncio.run(here())


@pytest.mark.long
def test_previews_and_cancelling_within_a_step(cluster, tmp_path, model):
    async def go() -> None:
        async with opened(on(cluster, tmp_path / "studio", model)) as studio:
            dispatcher = studio.dispatcher
            for request, stage in (
                (Generate("a ball", steps=1000, seconds=4.0), "denoise"),
                (Generate("a ball", steps=1, seconds=300.0, one_stage=True), "decode"),
            ):
                with dispatcher.listen("one") as updates:
                    long = await dispatcher.submit(job(request))
                    async with asyncio.timeout(60):
                        while (update := await anext(updates)).event is None or update.event.stage != stage:
                            pass
                        while stage == "denoise" and (update := await anext(updates)).preview is None:
                            pass
                    assert stage == "decode" or update.preview.startswith(b"\xff\xd8")
                    began = time.monotonic()
                    assert (await dispatcher.cancel(long.id, "one")).state == State.CANCELLED
                    assert time.monotonic() - began < 10
            assert not list((tmp_path / "studio" / "jobs").iterdir())
            (worker,) = dispatcher._workers
            assert worker.is_alive
            await until(lambda: not list((worker._folder / "jobs").iterdir()))
            folder = worker._folder
        assert not folder.exists()

    asyncio.run(go())


@pytest.mark.long
def test_a_cluster_without_room_is_said(cluster, tmp_path, model, monkeypatch):
    monkeypatch.setattr(ray_workers, "ROOM_SECONDS", 1.0)
    monkeypatch.setattr(ray_workers, "_ROOM_WARNING_SECONDS", 8.0)

    async def go() -> None:
        async with opened(on(cluster, tmp_path / "studio", model, workers=2)):
            pass

    with pytest.raises(UsageError, match=r"no room for worker \d, which takes 1 CPU"):
        asyncio.run(go())
