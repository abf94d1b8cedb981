"""The dispatcher with workers in the loop: order, states, losses, listeners, recovery."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
import time
from dataclasses import replace
from itertools import pairwise

import pytest

from minisora.errors import UsageError
from minisora.generate.media import Named
from minisora.generate.verbs import Animate, Generate, Image
from minisora.studio import dispatch, running
from minisora.studio.blobs import Blobs
from minisora.studio.dispatch import Limits
from minisora.studio.jobs import NotFound, QueueFull, State, StorageFull, WrongState
from minisora.studio.messages import Assignment
from minisora.studio.results import MANIFEST, Results
from minisora.studio.store import Store
from tests.helpers.studios import Hands, dispatching, new, write


async def in_one_pack(dispatcher, worker, *prompts):
    """Submit jobs so that they run together: while another holds the worker."""
    worker.acts["blocker"] = "hold"
    blocker = await dispatcher.submit(new(prompt="blocker"))
    await until(lambda: worker.packs[-1:] == [["blocker"]])
    jobs = [await dispatcher.submit(new(prompt=prompt)) for prompt in prompts]
    await dispatcher.cancel(blocker.id, None)
    await until(lambda: list(prompts) in worker.packs)
    return jobs


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def test_a_job_goes_from_the_line_to_its_files(tmp_path):
    async def go():
        async with dispatching(tmp_path) as (dispatcher, store, blobs):
            job = await dispatcher.submit(new())
            done = await dispatcher.wait(job.id, "one", 30)
            assert done.state == State.DONE and done.made.seconds == 17 / 8 and done.attempts == 1
            for variant, file in done.made.files.items():
                path = dispatcher.result(done, variant)
                assert path.read_bytes() == f"{job.id} {file.name}".encode() and path.parent.name == job.id
            assert blobs.find(done.made.files["video"].sha256).read_bytes() == f"{job.id} video.mp4".encode()
            assert (await store.library.item(job.id, "one")).sha256 == done.made.files["video"].sha256
            assert dispatcher.update_of(done).progress == 1.0
            assert dispatcher.counts[State.DONE] == 1 and dispatcher.unfinished("one") == 0
            with pytest.raises(NotFound):
                dispatcher.result(done, "other")

    asyncio.run(go())


def test_owners_take_turns_and_neighbours_of_one_shape_share_a_pack(tmp_path):
    worker = Hands()
    worker.acts["first"] = "hold"

    async def go():
        async with dispatching(tmp_path, worker, limits=Limits(together=2)) as (dispatcher, _, _):
            held = await dispatcher.submit(new("one", "first"))
            await until(lambda: worker.packs)
            jobs = [await dispatcher.submit(new("one", f"one {n}", seed=n)) for n in range(3)]
            jobs += [await dispatcher.submit(new("two", f"two {n}")) for n in range(2)]
            other = replace(new("three", "three"), request=Generate("three", seconds=2.0))
            jobs.append(await dispatcher.submit(other))
            assert [dispatcher.outlook(job.id).place for job in jobs] == [3, 5, 6, 1, 4, 2]
            await dispatcher.cancel(held.id, "one")
            await asyncio.gather(*(dispatcher.wait(job.id, None, 30) for job in jobs))

    asyncio.run(go())
    assert worker.packs == [["first"], ["two 0"], ["three"], ["one 0", "two 1"], ["one 1", "one 2"]]


def test_a_waiting_job_can_be_moved_paused_resumed_edited_and_cancelled(tmp_path):
    worker = Hands()
    worker.acts["first"] = "hold"

    async def go():
        async with dispatching(tmp_path, worker, limits=Limits(together=1)) as (dispatcher, store, _):
            held = await dispatcher.submit(new(prompt="first"))
            await until(lambda: worker.packs)
            a, b, c, d = [await dispatcher.submit(new(prompt=name)) for name in "abcd"]
            await dispatcher.move(c.id, "one", a.id)  # c a b d
            await dispatcher.move(a.id, "one", None)  # c b d a
            assert [dispatcher.outlook(job.id).place for job in (c, b, d, a)] == [1, 2, 3, 4]
            assert (await dispatcher.pause(b.id, "one")).state == State.PAUSED
            assert dispatcher.outlook(b.id).place is None and dispatcher.counts[State.PAUSED] == 1
            await dispatcher.edit(d.id, "one", Generate("e", seconds=1.0))
            assert (await dispatcher.cancel(a.id, "one")).state == State.CANCELLED
            for wrong in (dispatcher.pause, dispatcher.resume):
                with pytest.raises(WrongState):
                    await wrong(held.id, "one")
            with pytest.raises(WrongState):
                await dispatcher.resume(c.id, "one")
            with pytest.raises(WrongState):
                await dispatcher.move(held.id, "one", None)
            with pytest.raises(UsageError, match="mp4"):
                await dispatcher.edit(d.id, "one", Image("a picture"))
            for theirs in (dispatcher.pause, dispatcher.cancel, dispatcher.delete):
                with pytest.raises(NotFound):
                    await theirs(c.id, "two")
            await dispatcher.delete(held.id, "one")
            await dispatcher.wait(d.id, "one", 30)
            await dispatcher.resume(b.id, "one")
            await dispatcher.wait(b.id, "one", 30)
            assert (await dispatcher.cancel(b.id, "one")).state == State.DONE
            with pytest.raises(NotFound):
                await store.job(held.id, "one")

    asyncio.run(go())
    assert worker.packs == [["first"], ["c"], ["e"], ["b"]]


def test_a_moved_line_is_the_same_after_a_restart(tmp_path):
    worker = Hands()
    worker.acts["first"] = "stuck"

    async def go():
        async with dispatching(tmp_path, worker, limits=Limits(together=1)) as (dispatcher, _, _):
            await dispatcher.submit(new(prompt="first"))
            await until(lambda: worker.packs)
            a, _, c = [await dispatcher.submit(new(prompt=name)) for name in "abc"]
            await dispatcher.move(c.id, "one", a.id)
        again = Hands()
        async with dispatching(tmp_path, again, limits=Limits(together=1)) as (dispatcher, store, _):
            for job in await store.unfinished():
                await dispatcher.wait(job.id, "one", 30)
            jobs = (await store.jobs(None)).values
            return again.packs, {job.request["prompt"]: (job.state, job.attempts) for job in jobs}

    packs, jobs = asyncio.run(go())
    assert packs == [["first"], ["c"], ["a"], ["b"]]
    assert jobs == {name: (State.DONE, 2 if name == "first" else 1) for name in ("first", "a", "b", "c")}


def test_a_running_job_is_cancelled_and_a_stuck_one_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "_GRACE_SECONDS", 0.2)
    worker = Hands()
    worker.acts |= {"held": "hold", "stuck": "stuck"}

    async def go():
        async with dispatching(tmp_path, worker) as (dispatcher, store, _):
            for prompt in ("held", "stuck"):
                job, mate = await in_one_pack(dispatcher, worker, prompt, "mate")
                ended = await dispatcher.cancel(job.id, "one")
                assert ended.state == State.CANCELLED and ended.failure is None
                assert (await dispatcher.wait(mate.id, "one", 30)).state == State.DONE
                words = [attempt.outcome for attempt in await store.attempts(mate.id)]
                assert words == (["done"] if prompt == "held" else ["stopped", "done"])
            assert not list((tmp_path / "jobs").glob("*.tmp"))

    asyncio.run(go())


def test_a_deadline_ends_a_job_and_says_so(tmp_path):
    worker = Hands()
    worker.acts["late"] = "hold"

    async def go():
        async with dispatching(tmp_path, worker) as (dispatcher, _, _):
            job = await dispatcher.submit(new(prompt="late", deadline_seconds=0.3))
            return await dispatcher.wait(job.id, "one", 30)

    job = asyncio.run(go())
    assert job.state == State.FAILED and job.failure.code == "deadline_exceeded" and "0.3 s" in job.failure.message


def test_a_job_whose_worker_dies_begins_again_alone_and_a_bounded_number_of_times(tmp_path):
    worker = Hands()
    worker.acts["poison"] = "die"

    async def go():
        async with dispatching(tmp_path, worker) as (dispatcher, store, _):
            poison, mate = await in_one_pack(dispatcher, worker, "poison", "mate")
            failed, done = [await dispatcher.wait(job.id, "one", 60) for job in (poison, mate)]
            assert failed.failure.code == "worker_lost" and failed.attempts == 3 and done.state == State.DONE
            assert [each.outcome for each in await store.attempts(poison.id)] == ["worker_lost"] * 3

    asyncio.run(go())
    assert sorted(len(pack) for pack in worker.packs) == [1, 1, 1, 1, 2] and worker.starts > 1


def test_a_failure_of_one_job_is_its_own(tmp_path):
    worker = Hands()
    worker.acts["bad"] = "fail"

    async def go():
        async with dispatching(tmp_path, worker) as (dispatcher, store, _):
            jobs = [await dispatcher.submit(new(prompt=prompt)) for prompt in ("a", "bad", "b")]
            ended = [await dispatcher.wait(job.id, "one", 30) for job in jobs]
            assert [job.state for job in ended] == [State.DONE, State.FAILED, State.DONE]
            assert ended[1].failure.message == "it cannot be"
            with pytest.raises(NotFound):
                await store.library.item(jobs[1].id, "one")

    asyncio.run(go())


def test_a_full_line_says_when_to_come_back_and_still_knows_its_jobs(tmp_path):
    worker = Hands()
    worker.acts["first"] = "hold"

    async def go():
        async with dispatching(tmp_path, worker, limits=Limits(waiting=3)) as (dispatcher, _, _):
            first = await dispatcher.submit(new(prompt="first"))
            await until(lambda: worker.packs)
            asked = [dispatcher.submit(new(prompt=f"{n}", key=f"k{n}")) for n in range(8)]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            kept = [each for each in answers if not isinstance(each, Exception)]
            full = [each for each in answers if isinstance(each, QueueFull)]
            assert len(kept) == 3 and len(full) == 5
            assert all(1 <= each.retry_after <= 120 for each in full)
            assert (await dispatcher.submit(new(prompt="x", key=kept[0].key))).id == kept[0].id
            await dispatcher.cancel(first.id, "one")
            for job in kept:
                await dispatcher.wait(job.id, "one", 30)
            await dispatcher.submit(new())

    asyncio.run(go())


def test_what_cannot_run_is_refused_before_it_is_kept(tmp_path):
    async def go():
        async with dispatching(tmp_path) as (dispatcher, store, blobs):
            unknown = Animate(Named("photo.png", "ab" * 32), "it waves")
            for wrong in (
                new(model="sora-9"),
                new(format="png"),
                new(deadline_seconds=-1.0),
                new(deadline_seconds=float("nan")),
                replace(new(), request=unknown),
                replace(new(), request=Animate(tmp_path / "studio.db", "it waves")),
            ):
                with pytest.raises(UsageError):
                    await dispatcher.submit(wrong)
            assert (await store.jobs(None)).values == []
            kept = await asyncio.to_thread(blobs.put, io.BytesIO(b"a photo"))
            known = Animate(Named("photo.png", kept.sha256), "it waves")
            await dispatcher.submit(replace(new(), request=known))

    asyncio.run(go())


def test_listeners_hear_of_their_owner_alone_and_slow_ones_get_the_latest(tmp_path):
    worker = Hands(seconds=0.05)

    async def go():
        async with dispatching(tmp_path, worker) as (dispatcher, _, _):
            with dispatcher.listen("one") as updates, dispatcher.listen(None) as everyone:
                assert worker.previews is True
                theirs = await dispatcher.submit(new("two"))
                mine = await dispatcher.submit(new("one", "mine"))
                heard = [await anext(updates)]
                while not heard[-1].job.state.is_final:
                    heard.append(await anext(updates))
                assert {update.job.id for update in heard} == {mine.id}
                states = [update.job.state for update in heard]
                assert states == sorted(states, key=[State.WAITING, State.RUNNING, State.DONE].index)
                assert any(update.preview == b"jpeg" for update in heard)
                assert any(update.event is not None and update.progress == 0.5 for update in heard)
                await dispatcher.wait(theirs.id, None, 30)
                late = [await anext(everyone), await anext(everyone)]
                assert {update.job.id: update.job.state for update in late} == dict.fromkeys(
                    (theirs.id, mine.id), State.DONE
                )
            assert worker.previews is False

    asyncio.run(go())


def test_expected_times_come_from_like_jobs(tmp_path):
    worker = Hands()

    async def go():
        async with dispatching(tmp_path, worker) as (dispatcher, _, _):
            first = await dispatcher.submit(new())
            assert dispatcher.outlook(first.id).done_in is None
            await dispatcher.wait(first.id, "one", 30)
            worker.acts["held"] = "hold"
            held = await dispatcher.submit(new(prompt="held"))
            await until(lambda: worker.packs[-1:] == [["held"]])
            waiting = [await dispatcher.submit(new(prompt=f"{n}")) for n in range(3)]
            seconds = [dispatcher.outlook(job.id).done_in for job in waiting]  # 0.5 s each, as FACTS says
            assert 0.5 <= seconds[0] <= 1.0
            assert [b - a for a, b in pairwise(seconds)] == pytest.approx([0.5, 0.5])
            await asyncio.sleep(0.6)
            assert dispatcher.outlook(held.id).done_in >= 0.6  # late, at half: as long as it ran
            assert dispatcher.outlook(waiting[0].id).done_in >= 1.1
            await dispatcher.cancel(held.id, "one")

    asyncio.run(go())


def test_workers_stay_with_their_model_while_jobs_wait_for_it(tmp_path):
    one, two = (Hands(name, models=("big", "small")) for name in ("one", "two"))
    for worker in (one, two):
        worker.acts |= {"big 0": "hold", "small 0": "hold"}

    async def go():
        async with dispatching(tmp_path, one, two, limits=Limits(together=1)) as (dispatcher, _, _):
            assert list(dispatcher.models) == ["big", "small"]
            held = [await dispatcher.submit(new(prompt=f"{model} 0", model=model)) for model in ("big", "small")]
            await until(lambda: one.packs and two.packs)
            jobs = [
                await dispatcher.submit(new(prompt=f"{model} {n}", model=model))
                for n in range(1, 4)
                for model in ("small", "big")
            ]
            for job in held:
                await dispatcher.cancel(job.id, None)
            for job in jobs:
                await dispatcher.wait(job.id, None, 30)

    asyncio.run(go())
    for worker in (one, two):
        kinds = [pack[0].split()[0] for pack in worker.packs]
        assert sum(a != b for a, b in pairwise(kinds)) <= 1


def test_a_caller_who_hangs_up_neither_loses_nor_doubles_a_job(tmp_path):
    async def go():
        async with dispatching(tmp_path) as (dispatcher, store, _):
            for _ in range(20):
                asked = asyncio.create_task(dispatcher.submit(new()))
                await asyncio.sleep(0)
                asked.cancel()
            await asyncio.sleep(0.5)
            jobs = (await store.jobs(None, limit=50)).values
            for job in jobs:
                assert (await dispatcher.wait(job.id, None, 30)).attempts == 1

    asyncio.run(go())


def test_at_the_start_whole_results_are_published_and_the_rest_begins_again(tmp_path):
    async def before():
        store, results = Store(f"sqlite:///{tmp_path / 'studio.db'}"), Results(tmp_path / "jobs")
        ids = []
        for number in range(4):
            job, _ = await store.add(new(prompt=f"{number}", model="toybox"))
            (job,) = await store.begin([job.id], "w")
            ids.append(job.id)
            if number < 3:
                made = write(Assignment(job=job, folder=results.unfinished(job.id, 1), media={}))
                if number < 2:
                    results.publish(job.id, 1)
                if number == 1:
                    results.path(job.id, made.files["video"]).write_bytes(b"cut")
        (tmp_path / "jobs" / "video_of_nobody").mkdir()
        await store.close()
        return ids

    async def after(ids):
        worker = Hands()
        async with dispatching(tmp_path, worker) as (dispatcher, store, blobs):
            jobs = [await dispatcher.wait(job_id, "one", 30) for job_id in ids]
            assert [job.state for job in jobs] == [State.DONE] * 4
            assert [job.attempts for job in jobs] == [1, 2, 2, 2]
            assert [a.outcome for a in await store.attempts(ids[2])] == ["server_lost", "done"]
            assert blobs.find(jobs[0].made.files["video"].sha256) is not None
            assert sorted(path.name for path in (tmp_path / "jobs").iterdir()) == sorted(ids)
            assert all((tmp_path / "jobs" / job_id / MANIFEST).exists() for job_id in ids)
        assert sorted(prompt for pack in worker.packs for prompt in pack) == ["1", "2", "3"]

    asyncio.run(after(asyncio.run(before())))


def test_a_job_that_saw_too_many_servers_die_fails(tmp_path):
    async def go():
        store = Store(f"sqlite:///{tmp_path / 'studio.db'}")
        job, _ = await store.add(new(model="toybox"))
        for _ in range(9):
            await store.begin([job.id], "w")
            await store.finish(job.id, State.WAITING, "server_lost")
        await store.begin([job.id], "w")
        await store.close()
        async with dispatching(tmp_path) as (_, store, _):
            return await store.job(job.id, None)

    assert asyncio.run(go()).failure.code == "worker_lost"


def test_a_disk_that_is_full_for_a_while_loses_no_job(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "_FULL_SECONDS", 0.05)
    refused = {"begin": 2, "finish": 2}

    def sometimes(name):
        real = getattr(Store, name)

        async def write(self, *given):
            if refused[name]:
                refused[name] -= 1
                raise StorageFull("the disk is full")
            return await real(self, *given)

        return write

    for name in refused:
        monkeypatch.setattr(Store, name, sometimes(name))

    async def go():
        async with dispatching(tmp_path) as (dispatcher, _, _):
            job = await dispatcher.submit(new())
            return await dispatcher.wait(job.id, "one", 30)

    assert asyncio.run(go()).state == State.DONE and refused == {"begin": 0, "finish": 0}


def test_a_result_that_does_not_fit_on_the_disk_fails_its_job_and_leaves_nothing(tmp_path, monkeypatch):
    def full(self, path, sha256):
        raise StorageFull("the disk is full")

    async def go():
        async with dispatching(tmp_path) as (dispatcher, _, _):
            with monkeypatch.context() as patch:
                patch.setattr(Blobs, "link", full)
                failed = await dispatcher.wait((await dispatcher.submit(new())).id, "one", 30)
            assert failed.failure.code == "storage_full" and not list((tmp_path / "jobs").iterdir())
            done = await dispatcher.wait((await dispatcher.submit(new())).id, "one", 30)
            assert done.state == State.DONE

    asyncio.run(go())


def test_a_mistake_of_ours_costs_one_pack_and_no_worker(tmp_path, monkeypatch):
    def broken(self, job_id, attempt):
        raise ValueError("a mistake")

    async def go():
        async with dispatching(tmp_path) as (dispatcher, _, _):
            with monkeypatch.context() as patch:
                patch.setattr(Results, "publish", broken)
                failed = await dispatcher.wait((await dispatcher.submit(new())).id, "one", 30)
            assert failed.failure.code == "internal_error"
            return await dispatcher.wait((await dispatcher.submit(new())).id, "one", 30)

    assert asyncio.run(go()).state == State.DONE


def test_purging_removes_files_that_nothing_names_any_more(tmp_path):
    async def go():
        async with dispatching(tmp_path) as (dispatcher, _, blobs):
            kept, gone = [await dispatcher.submit(new(prompt=prompt)) for prompt in ("kept", "gone")]
            jobs = [await dispatcher.wait(job.id, "one", 30) for job in (kept, gone)]
            await dispatcher.delete(gone.id, "one")
            await dispatcher.purge(time.time() - 60)
            assert (tmp_path / "jobs" / gone.id).exists()
            await dispatcher.purge(time.time() + 60)
            assert [path.name for path in (tmp_path / "jobs").iterdir()] == [kept.id]
            shas = [job.made.files["video"].sha256 for job in jobs]
            assert blobs.find(shas[0]) is not None and blobs.find(shas[1]) is None

    asyncio.run(go())


def test_housekeeping_goes_on_after_an_error_which_is_logged(tmp_path, monkeypatch, caplog):
    sweep, tries, again = Blobs.sweep, [], threading.Event()

    def broken(self, *args, **more):
        tries.append(args)
        if len(tries) == 1:
            raise PermissionError("not yours")
        again.set()
        return sweep(self, *args, **more)

    async def go():
        async with dispatching(tmp_path):
            return await asyncio.to_thread(again.wait, 30)

    monkeypatch.setattr(dispatch, "_PURGE_SECONDS", 0.05)
    monkeypatch.setattr(Blobs, "sweep", broken)
    with caplog.at_level("ERROR", "minisora.studio"):
        assert asyncio.run(go())
    assert "PermissionError" in caplog.text


def test_the_server_loads_no_torch():
    import subprocess

    check = "import sys, minisora.studio.server; print([n for n in ('torch', 'av', 'PIL') if n in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_result_that_is_being_published_at_a_stop_ends_its_job(tmp_path, monkeypatch):
    publishing = threading.Event()
    publish = Results.publish

    def slowly(self, job_id, attempt):
        publishing.set()
        time.sleep(0.3)
        publish(self, job_id, attempt)

    monkeypatch.setattr(Results, "publish", slowly)

    async def go():
        async with dispatching(tmp_path) as (dispatcher, _, _):
            job = await dispatcher.submit(new())
            await until(publishing.is_set)
        store = Store(f"sqlite:///{tmp_path / 'studio.db'}")
        ended = await store.job(job.id, None)
        await store.close()
        return ended

    ended = asyncio.run(go())
    assert (ended.state, ended.attempts) == (State.DONE, 1)
