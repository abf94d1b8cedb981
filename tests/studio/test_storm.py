"""A hundred clients over HTTP while workers and the server are killed: every job is made once."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from minisora.studio.store import Store
from tests.helpers.calling import Answer, Caller
from tests.helpers.studios import tiny_bundle

CLIENTS, JOBS = 100, 500
WORKER_KILLS = (30, 90, 150, 290, 350)  # when so many jobs are done
SERVER_KILLS = (210, 420)
JOB = {"seconds": 1, "steps": 2, "seed": 7}
COMING = 10.0  # seconds until the last client has come
MOST_PATIENCE = 5  # seconds, where the server asks for more


@dataclass
class Server:
    """The command, started again when it is killed. peak: bytes of memory, of the server alone"""

    words: list[str]
    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = None
    peak: int = 0

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.words, stdout=log, stderr=log)
        caller = Caller(self.port)
        while True:
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            with suppress(OSError, EOFError):
                if (await caller.call("GET", "/healthz")).status == 204:
                    return
            await asyncio.sleep(0.2)

    def kill(self) -> None:
        assert self.process is not None
        self.look()
        self.process.kill()
        self.process.wait()

    def kill_a_worker(self) -> None:
        assert self.process is not None
        lists = Path(f"/proc/{self.process.pid}/task").glob("*/children")  # of the thread that started them
        children = [pid for each in lists for pid in each.read_text().split()]
        workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(int(workers[len(workers) // 2]), signal.SIGKILL)

    def look(self) -> None:
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        self.peak = max(self.peak, int(status.split("VmHWM:")[1].split()[0]) << 10)


@dataclass
class Storm:
    """What the clients saw. done: ids of videos by key; refused: how often the queue was full"""

    caller: Caller
    done: dict[str, str] = field(default_factory=dict)
    refused: int = 0
    without: int = 0  # calls that nobody answered

    async def call(self, *words: Any, **more: Any) -> Answer:
        """Call until somebody answers."""
        while True:
            try:
                return await self.caller.call(*words, **more)
            except (OSError, EOFError):
                self.without += 1
                await asyncio.sleep(0.3)

    async def client(self, client: int) -> None:
        """Ask for some videos, then look at each until it is there; as often as the server says."""
        await asyncio.sleep(COMING * client / CLIENTS)
        keys = [f"{client}-{n}" for n in range(JOBS // CLIENTS)]
        for key, video_id in [(key, await self.asked(key)) for key in keys]:
            while True:
                answer = await self.call("GET", f"/v1/videos/{video_id}")
                assert answer.status == 200, answer.body
                if (video := answer.json())["status"] in ("completed", "failed"):
                    break
                await asyncio.sleep(int(answer.headers["openai-poll-after-ms"]) / 1000)
            assert video["status"] == "completed", video
            content = await self.call("GET", f"/v1/videos/{video_id}/content")
            assert content.headers["etag"] == f'"{hashlib.sha256(content.body).hexdigest()}"'
            self.done[key] = video_id

    async def asked(self, key: str) -> str:
        asked, once = {"prompt": f"a red ball {key}", **JOB}, {"Idempotency-Key": key}
        while (answer := await self.call("POST", "/v1/videos", data=asked, headers=once)).status == 429:
            seconds = int(answer.headers["retry-after"])
            assert 0 < seconds <= 120
            self.refused += 1
            await asyncio.sleep(min(seconds, MOST_PATIENCE))
        assert answer.status == 200, answer.body
        return str(answer.json()["id"])

    async def blow(self, server: Server) -> None:
        clients = asyncio.gather(*(self.client(number) for number in range(CLIENTS)))
        for count, kind in sorted([*((n, "worker") for n in WORKER_KILLS), *((n, "server") for n in SERVER_KILLS)]):
            while len(self.done) < count and not clients.done():
                await asyncio.sleep(0.05)
            if clients.done():
                break
            if kind == "worker":
                server.kill_a_worker()
            else:
                server.kill()
                await server.start()
        await clients


@asynccontextmanager
async def serving(folder: Path, database: str) -> AsyncIterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "minisora", "studio", "--port", str(port), "--folder", str(folder / "studio")]
    words += ["--model", str(tiny_bundle(folder / "tiny")), "--workers", "2"]
    server = Server(
        words + (["--database", database] if database.startswith("postgresql") else []), port, folder / "log"
    )
    await server.start()
    try:
        yield server
    finally:
        assert server.process is not None
        server.look()
        server.process.terminate()
        server.process.wait(60)


async def ends_of(address: str) -> dict[str, Counter[str]]:
    """Outcomes of the attempts of every job."""
    store = Store(address)
    try:
        jobs, after = [], None
        while page := (await store.jobs(None, after=after, limit=100)).values:
            jobs, after = jobs + list(page), page[-1].id
        return {job.id: Counter(str(each.outcome) for each in await store.attempts(job.id)) for job in jobs}
    finally:
        await store.close()


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_storm_of_clients_and_kills(tmp_path, address):
    async def go() -> tuple[Storm, Server]:
        async with serving(tmp_path, address) as server:
            storm = Storm(Caller(server.port))
            await storm.blow(server)
            return storm, server

    began = time.perf_counter()
    storm, server = asyncio.run(go())
    seconds = sorted(storm.caller.seconds)
    where = address if address.startswith("postgresql") else f"sqlite:///{tmp_path / 'studio' / 'studio.db'}"
    ends = asyncio.run(ends_of(where))
    median, most = (1e3 * seconds[int(share * len(seconds))] for share in (0.5, 0.99))
    print(
        f"{JOBS} jobs in {time.perf_counter() - began:.0f} s; answers: median {median:.1f} ms, "
        f"p99 {most:.0f} ms of {len(seconds):,}; {storm.refused} times 429, "
        f"{storm.without} unanswered; server {server.peak >> 20} MB"
    )
    assert len(storm.done) == len(set(storm.done.values())) == len(ends) == JOBS
    assert all(each["done"] == 1 for each in ends.values())
    assert sum(each.total() - 1 for each in ends.values()) >= 1  # some were begun again
    assert server.peak < 1 << 30
