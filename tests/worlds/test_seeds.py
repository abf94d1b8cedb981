"""Nothing is trained on what it is judged by: every use has its own range of seeds, none moved."""

from __future__ import annotations

import pytest

from minisora import sources
from minisora.worlds import seeds


def test_no_seed_has_two_uses():
    ranges = seeds.every_range()
    ends = [end for each in ranges for end in (each.start, each.stop)]
    assert ends == sorted(ends)
    for wrong in (range(5, 20), range(0, 3), range(9, 10)):
        with pytest.raises(AssertionError, match="have two uses"):
            seeds.check_disjoint([range(10), wrong, range(30, 40)])


def test_jobs_in_another_order_draw_the_same(monkeypatch):
    before = {job.name: job.seeds for job in sources.latent_jobs(sources.JOBS)}
    assert before["playroom-short"].start == 1_000_000 and before["playroom-large"].start == 8_000_000
    monkeypatch.setattr(sources, "JOBS", dict(reversed(sources.JOBS.items())))
    assert {job.name: job.seeds for job in sources.latent_jobs(sources.JOBS)} == before
    clips, *size, _ = sources.JOBS["playroom-wide"]
    monkeypatch.setitem(sources.JOBS, "playroom-wide", (clips, *size, 1_000_001))
    with pytest.raises(AssertionError, match="more scenes than it has seeds"):
        sources.latent_jobs(["playroom-wide"])
