from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.event import listen

from minisora.errors import UsageError
from minisora.generate.media import Named
from minisora.generate.verbs import Extend, Generate, Image
from minisora.studio.jobs import Failure, File, Item, Made, NewJob, NotFound, State, StorageFull, Token, WrongState
from minisora.studio.store import UNFINISHED, Store
from minisora.studio.tables import metadata

SHA = "ab" * 32
VIDEO = File(name="video.mp4", sha256="cd" * 32, size_bytes=1234, type="video/mp4")
MADE = Made(
    width=96, height=64, fps=8.0, num_frames=17, files={"video": VIDEO}, notes=("a note",), timings={"denoise": 1.5}
)


def run(address: str, work: Callable[[Store], Coroutine[Any, Any, Any]]) -> Any:
    async def whole() -> Any:
        store = Store(address)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(whole())


def new(owner: str = "one", prompt: str = "a red ball", **changes: Any) -> NewJob:
    return NewJob(owner=owner, request=Generate(prompt, seed=7, seconds=1.0), model="toybox", **changes)


async def done(store: Store, owner: str = "one", made: Made = MADE, **changes: Any) -> str:
    job, _ = await store.add(new(owner, **changes))
    await store.begin([job.id], "worker 0")
    await store.finish(job.id, made)
    return job.id


def test_a_job_comes_back_as_it_was_given_from_another_connection(address):
    client = {"size": "1280x720", "n": [1], "name": "\ud800\x00"}
    given = replace(new(prompt="0-1s: a red ball | 1s-: it “bounces” ✓"), client=client)

    async def add(store):
        return await store.add(given)

    kept, is_new = run(address, add)
    found = run(address, lambda store: store.job(kept.id, "one"))
    assert is_new and found == kept
    assert (found.state, found.verb, found.model, found.format) == (State.WAITING, "generate", "toybox", "mp4")
    assert found.parsed().to_data() == given.request.to_data() and found.client == given.client
    assert abs(found.created_at - time.time()) < 60 and found.attempts == 0 and found.key == ""


def test_the_life_of_a_job(address):
    async def live(store):
        job, _ = await store.add(new())
        assert [each.id for each in await store.unfinished()] == [job.id]
        (begun,) = await store.begin([job.id], "worker 0")
        assert (begun.state, begun.attempts) == (State.RUNNING, 1) and begun.started_at is not None
        back = await store.finish(job.id, State.WAITING, "worker_lost")
        assert back.state == State.WAITING and back.finished_at is None
        await store.begin([job.id], "worker 1")
        ended = await store.finish(job.id, MADE)
        assert ended.state == State.DONE and ended.made == MADE and ended.finished_at is not None
        assert [(a.number, a.worker, a.outcome) for a in await store.attempts(job.id)] == [
            (1, "worker 0", "worker_lost"),
            (2, "worker 1", "done"),
        ]
        assert await store.unfinished() == []
        ((of_done, seconds),) = await store.seconds_of_done()
        assert of_done == ended and 0 < seconds < 60
        with pytest.raises(WrongState, match="done"):
            await store.finish(job.id, State.CANCELLED)
        other, _ = await store.add(new())
        await store.begin([other.id], "worker 0")
        failed = await store.finish(other.id, Failure("worker_lost", "it died"))
        assert failed.failure == Failure("worker_lost", "it died") and failed.state == State.FAILED
        third, _ = await store.add(new())
        assert (await store.cancel(third.id)).state == State.CANCELLED
        for ended_id in (third.id, job.id):
            with pytest.raises(WrongState):
                await store.begin([ended_id], "worker 0")

    run(address, live)


def test_owners_see_their_own_and_an_admin_sees_all(address):
    async def look(store):
        mine, theirs = await done(store), await done(store, "two")
        for see in (store.job, store.library.item, store.delete, store.library.delete):
            with pytest.raises(NotFound):
                await see(theirs, "one")
        assert (await store.job(theirs, None)).owner == "two"
        assert [job.id for job in (await store.jobs("one")).values] == [mine]
        assert [job.id for job in (await store.jobs(None)).values] == [theirs, mine]
        with pytest.raises(NotFound):
            await store.jobs("one", after=theirs)
        assert await store.by_key("one", "k") is None

    run(address, look)


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_have_each_job_once_in_order_while_jobs_come(address, newest_first):
    async def page(store):
        ids = [(await store.add(new()))[0].id for _ in range(7)]
        seen, after, more = [], None, True
        while more:
            found = await store.jobs("one", after=after, limit=3, newest_first=newest_first)
            seen, after, more = [*seen, *(job.id for job in found.values)], found.values[-1].id, found.more
            if newest_first:
                await store.add(new())
        assert seen == (ids[::-1] if newest_first else ids)

    run(address, page)


def test_a_key_makes_one_job_even_when_sent_at_once(address):
    async def send(store):
        kept = await asyncio.gather(*(store.add(new(key="k", prompt=f"ball {n}")) for n in range(8)))
        assert len({job.id for job, _ in kept}) == 1 and sum(is_new for _, is_new in kept) == 1
        (same,) = {job.id for job, _ in kept}
        assert (await store.by_key("one", "k")).id == same and await store.by_key("two", "k") is None
        assert (await store.add(new("two", key="k")))[1]
        await store.cancel(same)
        await store.delete(same, "one")
        again, is_new = await store.add(new(key="k"))
        assert is_new and again.id != same

    run(address, send)


def test_a_fingerprint_finds_a_job_of_late_only_when_asked(address):
    async def send(store):
        first, _ = await store.add(new(fingerprint="f"))
        second, is_new = await store.add(new(fingerprint="f"))
        assert is_new
        repeated, is_new = await store.add(new(fingerprint="f", repeated_since=first.created_at))
        assert not is_new and repeated.id == second.id
        assert (await store.add(new("two", fingerprint="f", repeated_since=0.0)))[1]
        assert (await store.add(new(fingerprint="f", repeated_since=time.time() + 60)))[1]
        assert await store.by_fingerprint("one", "g", 0.0) is None

    run(address, send)


def test_changes_only_where_the_state_allows(address):
    async def change(store):
        job, _ = await store.add(new())
        paused = await store.change(job.id, [State.WAITING], state=State.PAUSED)
        assert paused.state == State.PAUSED and paused.state in UNFINISHED
        with pytest.raises(WrongState, match="paused"):
            await store.change(job.id, [State.WAITING], position=0.5)
        edited = await store.change(job.id, [State.PAUSED], request=Image("a green cube"), format="png")
        assert (edited.verb, edited.format, edited.request["prompt"]) == ("image", "png", "a green cube")
        with pytest.raises(NotFound):
            await store.change("video_none", [State.PAUSED], position=1.0)

    run(address, change)


def test_blobs_are_named_as_long_as_a_row_names_them(address):
    async def name(store):
        clip = Extend(Named("clip.mp4", SHA, 1.0), "it rolls", after=1.0)
        job, _ = await store.add(NewJob(owner="one", request=clip, model="toybox"))
        assert await store.named_blobs() == {SHA}
        await store.change(job.id, [State.WAITING], request=Generate("a ball"))
        assert await store.named_blobs() == set()
        made = await done(store)
        assert await store.named_blobs() == {VIDEO.sha256}
        await store.delete(made, "one")
        assert await store.named_blobs() == {VIDEO.sha256}
        assert await store.purge(time.time() - 60) == []
        assert await store.purge(time.time() + 60) == [made]
        assert await store.named_blobs() == set() and await store.ids() == {job.id}

    run(address, name)


def test_deleted_jobs_can_be_restored_with_their_item(address):
    async def delete(store):
        job_id = await done(store)
        with pytest.raises(WrongState):
            await store.delete((await store.add(new()))[0].id, "one")
        for gone, back in ((store.delete, store.restore), (store.library.delete, store.library.restore)):
            assert (await gone(job_id, "one")).deleted_at is not None
            with pytest.raises(NotFound):
                await store.job(job_id, "one")
            with pytest.raises(NotFound):
                await store.library.item(job_id, "one")
            assert (await store.jobs("one", states=[State.DONE])).values == []
            assert [item.id for item in (await store.library.items("one", deleted=True)).values] == [job_id]
            with pytest.raises(NotFound):
                await back(job_id, "two")
            assert (await back(job_id, "one")).deleted_at is None
            with pytest.raises(NotFound):
                await back(job_id, "one")
        assert (await store.library.item(job_id, "one")).id == (await store.job(job_id, "one")).id

    run(address, delete)


def test_the_library_has_tags_favourites_and_where_things_come_from(address):
    upload = Item(
        id="upload_1",
        owner="one",
        name="clip.mp4",
        sha256=SHA,
        type="video/mp4",
        size_bytes=10,
        width=96,
        height=64,
        fps=8.0,
        num_frames=9,
        created_at=0.0,
    )

    async def keep(store):
        kept = await store.library.add_upload(upload)
        assert kept.is_upload and kept.created_at > 1e9
        clip = Extend(Named("clip.mp4", SHA), "it rolls", after=1.0)
        base = await done(store)
        job, _ = await store.add(NewJob(owner="one", request=clip, model="toybox", parent=base))
        await store.begin([job.id], "w")
        await store.finish(job.id, MADE)
        item = await store.library.item(job.id, "one")
        assert item.parents == (base, "upload_1") and item.name == "it rolls" and not item.is_upload
        assert [each.id for each in await store.library.children("upload_1", "one")] == [job.id]
        assert await store.library.children("upload_1", "two") == []
        changed = await store.library.change(job.id, "one", {"tags": ["b", "a", "b"], "favourite": True, "name": "x"})
        assert (changed.tags, changed.favourite, changed.name) == (("a", "b"), True, "x")
        assert [each.id for each in (await store.library.items("one", tag="a")).values] == [job.id]
        assert [each.id for each in (await store.library.items("one", favourite=False, newest_first=False)).values] == [
            "upload_1",
            base,
        ]
        page = await store.library.items("one", limit=2)
        rest = await store.library.items("one", limit=2, after=page.values[-1].id)
        assert [each.id for each in (*page.values, *rest.values)] == [job.id, base, "upload_1"]
        assert page.more and not rest.more
        assert (await store.library.change(job.id, "one", {"tags": []})).tags == ()
        usage = await store.usage("one", 0.0)
        assert usage.unfinished == 0 and usage.size_bytes == 10 + 2 * VIDEO.size_bytes and usage.seconds > 0

    run(address, keep)


def test_changes_at_once_share_a_sync_and_fail_one_by_one(address):
    """Many adds in one burst, with some that cannot be among them."""

    async def burst(store):
        commits = []
        listen(store._database._engine, "commit", lambda connection: commits.append(1))
        job, _ = await store.add(new())
        before = len(commits)
        asked = [store.add(new(prompt=f"{n}")) if n % 5 else store.finish(job.id, MADE) for n in range(50)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(each, WrongState) for each in answers] == [n % 5 == 0 for n in range(50)]
        assert len(commits) - before < 20
        prompts = [each.request["prompt"] for each in await store.unfinished()][1:]
        assert prompts == [f"{n}" for n in range(50) if n % 5]
        await store._database.write(lambda connection: None)

        def broken(connection):
            connection.exec_driver_sql("SELECT nothing FROM nowhere")

        ends = [store.add(new(prompt="x")), store._database.write(broken), store.add(new(prompt="y"))]
        kept, failed, also = await asyncio.gather(*ends, return_exceptions=True)
        assert kept[1] and also[1] and isinstance(failed, Exception)
        assert len(await store.unfinished()) == 43

    run(address, burst)


def test_tokens_are_found_by_the_hash_of_their_secret_until_revoked(address):
    token = Token(id="token_1", name="ann", created_at=5.0, jobs_waiting=3, bytes_kept=2**40)

    async def use(store):
        await store.tokens.add(token, "hash")
        assert await store.tokens.by_secret("hash") == token and await store.tokens.by_secret("other") is None
        assert (await store.tokens.revoke("token_1")).revoked_at is not None
        assert await store.tokens.by_secret("hash") is None and len(await store.tokens.all()) == 1
        with pytest.raises(NotFound):
            await store.tokens.revoke("token_2")

    run(address, use)


def test_migrations_lead_to_the_tables_of_the_code(address):
    async def compare(store):
        def differences(connection):
            return compare_metadata(MigrationContext.configure(connection), metadata)

        return await store._database.read(differences)

    assert run(address, compare) == []


def test_tables_of_a_newer_version_are_refused(tmp_path):
    path = tmp_path / "studio.db"
    run(f"sqlite:///{path}", lambda store: store.ids())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'later'")
    with pytest.raises(UsageError, match=r"newer minisora.*'later'"):
        Store(f"sqlite:///{path}")


@pytest.mark.parametrize(
    "wrong", ["nonsense", "oracle://host/x", "sqlite:////none/such/studio.db", "postgresql://u:secret@127.0.0.1:1/x"]
)
def test_addresses_that_do_not_open_are_refused_without_the_password(wrong):
    with pytest.raises(UsageError) as error:
        Store(wrong)
    assert "secret" not in str(error.value)


def test_a_database_has_one_server_at_a_time(postgresql_address, monkeypatch):
    monkeypatch.setattr("minisora.studio.database._CLAIM_TRIES", 1)

    async def second(store):
        with pytest.raises(UsageError, match="another studio"):
            Store(postgresql_address)

    run(postgresql_address, second)
    run(postgresql_address, lambda store: store.ids())


def test_sqlite_syncs_every_commit(tmp_path):
    async def ask(store):
        return await store._database.read(
            lambda c: [c.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
        )

    assert run(f"sqlite:///{tmp_path / 'studio.db'}", ask) == ["wal", 2]


def test_a_full_disk_is_said_and_loses_nothing(tmp_path):
    async def fill(store):
        first, _ = await store.add(new())
        pages = await store._database.read(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar())
        limit = f"PRAGMA max_page_count = {pages + 2}"
        await store._database.write(lambda c: c.exec_driver_sql(limit).scalar())
        with pytest.raises(StorageFull, match="disk is full"):
            for _ in range(50):
                await store.add(new(prompt="ball " * 400))
        assert (await store.job(first.id, "one")) == first
        await store._database.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count = 1000000").scalar())
        assert (await store.add(new()))[1]

    run(f"sqlite:///{tmp_path / 'studio.db'}", fill)
