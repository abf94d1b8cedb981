"""The order of the line against a plain simulation, and expected times."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest

from minisora.generate.media import Named
from minisora.generate.verbs import Extend, Generate, Image
from minisora.studio.jobs import Job, State
from minisora.studio.line import Durations, Line, pack_kind


def job(number: int, owner: str = "one", request: object = None, **changes: object) -> Job:
    request = request or Generate(f"prompt {number}", seed=number, seconds=1.0)
    values = {"verb": request.name(), "request": request.to_data(), "model": "toybox", "format": "mp4"}  # type: ignore[attr-defined]
    made = Job(
        id=f"video_{number}", owner=owner, state=State.WAITING, position=float(number), created_at=number, **values
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_the_order_is_that_in_which_jobs_begin():
    """Jobs come and go at random; who begins next is always the first of the order."""
    rng, line, served = random.Random(0), Line(), dict[str, int]()
    waiting = dict[str, list[Job]]()
    for number in range(300):
        owner = rng.choice("aaaabbc")
        line.put(job(number, owner))
        waiting.setdefault(owner, []).append(job(number, owner))
        if rng.random() < 0.3 and len(line) > 3:
            gone = rng.choice(line.order())
            line.pop(gone.id)
            waiting[gone.owner] = [each for each in waiting[gone.owner] if each.id != gone.id]
        while len(line) > 8:
            expected = line.order()
            turn = min(
                (o for o, own in waiting.items() if own), key=lambda o: (served.get(o, 0), waiting[o][0].position)
            )
            first = waiting[turn].pop(0)
            assert expected[0] == first
            line.begin([first])
            served[turn] = max(served.values(), default=0) + 1
            assert line.order() == expected[1:]


def test_no_owner_waits_for_more_than_one_turn_of_each_other():
    line = Line()
    for number in range(50):
        line.put(job(number, "greedy"))
    line.begin(line.order()[:1])
    for number, owner in enumerate(("x", "y", "z"), 100):
        line.put(job(number, owner))
    assert [each.owner for each in line.order()[:5]] == ["x", "y", "z", "greedy", "greedy"]


def test_packs_hold_neighbours_of_one_kind():
    line = Line()
    jobs = [
        job(0),
        job(1, request=Generate("other words", seed=9, seconds=1.0)),
        job(2, request=Generate("longer", seconds=2.0)),
        job(3),
        job(4, attempts=1),
        job(5),
    ]
    for each in jobs:
        line.put(each)
    assert line.pack(jobs[0], 4, jobs) == jobs[:2] and line.pack(jobs[0], 1, jobs) == jobs[:1]
    assert line.pack(jobs[2], 4, jobs) == jobs[2:3] and line.pack(jobs[3], 4, jobs) == jobs[3:4]
    assert line.pack(jobs[4], 4, jobs) == jobs[4:5]


@pytest.mark.parametrize("change", [{"model": "other"}, {"request": Image("x")}, {"request": Generate("x")}])
def test_what_sets_jobs_apart(change):
    assert pack_kind(job(0)) == pack_kind(job(1)) != pack_kind(job(2, **change))
    clip = Named("clip.mp4", "ab" * 32)
    assert pack_kind(job(0, request=Extend(clip, "x", after=1.0))) is None
    assert pack_kind(job(0, request=Generate("x", preview=clip))) is None


def test_expected_times_come_from_the_nearest_kind():
    durations = Durations()
    assert durations.expected(job(0)) is None
    durations.add(job(0), 10.0)
    assert durations.expected(job(1)) == 10.0
    longer = job(2, request=Generate("x", seconds=5.0))
    assert durations.expected(longer) == 10.0
    durations.add(longer, 50.0)
    assert durations.expected(longer) == 50.0 and durations.expected(job(1)) == 10.0
    for _ in range(30):
        durations.add(job(0), 2.0)
    assert durations.expected(job(1)) == pytest.approx(2.0, rel=0.01)


def test_a_long_line_is_ordered_in_no_time():
    line = Line()
    for number in range(2000):
        line.put(job(number, f"{number % 97}"))
    began = time.perf_counter()
    order = line.order()
    assert len(order) == 2000 and time.perf_counter() - began < 0.5
