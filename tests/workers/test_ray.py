"""Ray makes the bytes that this machine's processes make, and quarantines what they do."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from minisora.curate.runner import run
from minisora.errors import UsageError
from minisora.workers.ray_runner import ray_engine
from tests.helpers.acts import ACTS, SAID, Act, acts_table
from tests.helpers.curating import bytes_of, curate, recipe, videos

__all__ = ["recipe", "videos"]  # fixtures


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray")
    yield
    ray.shutdown()


def test_without_ray_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="Ray is not installed"):
        ray_engine(2, 60.0)


@pytest.mark.long
def test_a_crash_and_a_hang_cost_their_rows(cluster):
    tables = ray_engine(2, 20.0)(Act(), acts_table(ACTS))
    assert [row["said"].split(":")[0] for table in tables for row in table.to_pylist()] == SAID


@pytest.mark.long
def test_what_a_user_can_mend_is_one_line(cluster):
    with pytest.raises(UsageError, match=r"^install it first$"):
        list(ray_engine(2, 20.0)(Act(), acts_table(["a", "refuse"])))


@pytest.mark.long
def test_both_engines_make_the_same_bytes(cluster, recipe):
    curate(recipe)
    other = replace(recipe, out=recipe.out.parent / "ray" / "out")
    run(other, ray_engine(2, 300.0))
    assert bytes_of(other.out) == bytes_of(recipe.out)
