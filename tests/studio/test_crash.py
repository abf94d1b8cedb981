"""Servers and workers killed at any step: nothing accepted is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from minisora.studio.jobs import State
from minisora.studio.store import Store
from tests.helpers.studios import tiny_bundle

ROOT = Path(__file__).parents[2]


def start(*given: object, **how: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.helpers.crashing", *(str(each) for each in given)]
    return subprocess.Popen(command, cwd=ROOT, text=True, **how)  # type: ignore[call-overload, no-any-return]


@pytest.mark.long
def test_a_server_killed_before_any_of_its_steps_loses_and_doubles_nothing(tmp_path):
    """Each sync, rename, link and commit of an upload, two jobs, a deletion and a purge."""
    with start("steps", tmp_path, stdout=subprocess.PIPE) as child:
        output, _ = child.communicate(timeout=500)
    trials = [json.loads(line) for line in output.splitlines()]
    assert len(trials) > 30 and [trial["killed"] for trial in trials] == [True] * (len(trials) - 1) + [False]
    for trial in trials:
        said, found = trial["said"], trial["found"]
        states = found["states"]
        deleted = {*found["deleted"], *said.get("deleted", []), *said.get("purged", [])}
        assert set(said.get("accepted", [])) - deleted <= set(states), trial
        assert set(states.values()) <= {"done"}, trial
        assert len(states) <= len(said.get("accepted", [])) + 1, trial  # the last may be unanswered
        assert all(outcomes.count("done") == 1 for outcomes in found["outcomes"].values()), trial
        assert all(found["outcomes"][job_id][0] == "done" for job_id in said.get("done", []) if job_id in states), trial
        uploads = ["upload_1"] if "upload" in said or "upload_1" in found["items"] else []
        assert found["items"] == sorted([*uploads, *states]), trial
        assert found["files_whole"] and found["blobs_whole"], trial
        kept = {*states, *found["deleted"]}
        assert kept <= set(found["folders"]) <= kept, trial


def strace_works() -> bool:
    tracer = shutil.which("strace")
    return tracer is not None and not subprocess.run([tracer, "-o", os.devnull, "true"], check=False).returncode


@pytest.mark.long
@pytest.mark.skipif(not strace_works(), reason="no strace that may trace")
def test_files_and_folders_are_synced_before_the_row_and_the_row_before_the_answer(tmp_path):
    """As the kernel sees it."""
    log = tmp_path / "trace"
    calls = "trace=fsync,fdatasync,rename,link,write"
    traced = ["strace", "-f", "-y", "-s", "200", "-e", calls, "-o", str(log), sys.executable]
    folder = tmp_path / "studio"
    folder.mkdir()
    ran = subprocess.run(
        [*traced, "-m", "tests.helpers.crashing", "once", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    job_id = ran.stdout.split()[-1]
    lines = log.read_text().splitlines()
    row = r"f(data)?sync\(\d+<\S*studio\.db-wal>\)"
    part = r"files/[0-9a-f]{32}\.part"
    blob = r"files/[0-9a-f]{2}"
    temporary = rf"jobs/{job_id}\.1\.tmp"
    upload = [
        rf"fsync\(\d+<\S*{part}>\)",
        rf'rename\("\S*{part}", "\S*{blob}/[0-9a-f]{{64}}"\)',
        rf"fsync\(\d+<\S*{blob}>\)",
        row,
        r'write\(1<.*>, "kept',
    ]
    job = [row, r'write\(1<.*>, "accepted']
    result = [
        row,  # it runs
        *(rf"fsync\(\d+<\S*{temporary}/{name}>\)" for name in ("video.mp4", "thumbnail.webp", "spritesheet.jpg")),
        rf"fsync\(\d+<\S*{temporary}/manifest.json>\)",
        rf"fsync\(\d+<\S*{temporary}>\)",
        rf'link\("\S*{temporary}/video.mp4", "\S*{part}"\)',
        rf'rename\("\S*{part}", "\S*{blob}/[0-9a-f]{{64}}"\)',
        rf"fsync\(\d+<\S*{blob}>\)",
        rf'rename\("\S*{temporary}", "\S*jobs/{job_id}"\)',
        r"fsync\(\d+<\S*/jobs>\)",
        row,
        r'write\(1<.*>, "done',
    ]
    for order in (upload, job, result):
        at = 0
        for pattern in order:
            found = next((n for n, line in enumerate(lines[at:], at) if re.search(pattern, line)), None)
            assert found is not None, f"no {pattern} after line {at}:\n" + "\n".join(lines[max(0, at - 5) : at + 20])
            at = found + 1


def children(pid: int) -> list[psutil.Process]:
    """Worker processes of a server."""
    with suppress(psutil.NoSuchProcess):
        return [each for each in psutil.Process(pid).children() if "--multiprocessing-fork" in each.cmdline()]
    return []


@pytest.mark.long
def test_kills_at_random_times_lose_and_double_nothing(tmp_path, address):
    """Two workers, forty jobs; workers are killed five times, and the server twice."""
    model, folder = tiny_bundle(tmp_path / "tiny"), tmp_path / "studio"
    folder.mkdir()
    rng, count = random.Random(0), 40
    kills = ["worker", "worker", "server", "worker", "worker", "server", "worker"]
    server = start("serve", folder, model, count, address)
    deadline = time.monotonic() + 500
    while server.poll() is None or server.returncode:
        assert time.monotonic() < deadline
        if server.poll() is not None:
            assert server.returncode == -signal.SIGKILL
            server = start("serve", folder, model, count, address)
        if kills and (folder / "accepted").exists() and (processes := children(server.pid)):
            time.sleep(rng.uniform(0.2, 2.5))
            if kills[0] == "server":
                server.kill()
                server.wait()
                del kills[0]
            elif (victim := rng.choice(processes)).is_running():
                victim.kill()
                del kills[0]
        time.sleep(0.05)
    assert not kills

    async def check():
        store = Store(address)
        jobs = (await store.jobs(None, limit=1000)).values
        ends = {job.id: [each.outcome for each in await store.attempts(job.id)] for job in jobs}
        items = (await store.library.items(None, limit=1000)).values
        await store.close()
        return jobs, ends, items

    jobs, ends, items = asyncio.run(check())
    accepted = dict(line.split() for line in (folder / "accepted").read_text().splitlines())
    assert len(jobs) == count and {job.id for job in jobs} == set(accepted.values())
    assert all(job.state == State.DONE for job in jobs)
    assert all(each[-1] == "done" and each.count("done") == 1 for each in ends.values())
    assert len(items) == count and sorted(path.name for path in (folder / "jobs").iterdir()) == sorted(ends)
    assert any(len(each) > 1 for each in ends.values())
