"""Decisions against ones made by hand."""

from __future__ import annotations

import pyarrow as pa

from minisora.curate.decide import decide


def clips(**columns: list[object]) -> pa.Table:
    count = len(next(iter(columns.values())))
    return pa.table({"key": [f"k{n}" for n in range(count)], **columns})


def test_the_first_threshold_that_fails_is_the_reason():
    table = clips(duration=[1.0, 5.0, 50.0, 1.0, 2.0, 20.0], sharpness=[9.0, 1.0, 1.0, 1.0, 3.0, None])
    decided = decide(table, {"duration": (2.0, 20.0), "sharpness": (3.0, None)})
    assert decided.reason == ["duration < 2", "sharpness < 3", "duration > 20", "duration < 2", "", "sharpness unknown"]
    assert decided.stage == ["thresholds"] * 4 + ["", "thresholds"]
    other = decide(table, {"sharpness": (3.0, None), "duration": (2.0, 20.0)})
    assert other.reason == ["duration < 2", *["sharpness < 3"] * 3, "", "sharpness unknown"]
    assert decided.keep.tolist() == other.keep.tolist() == [False] * 4 + [True, False]


def test_no_end_and_no_threshold_keep_everything():
    table = clips(duration=[0.0, -5.0, 1e9, None])
    assert decide(table, {}).keep.all()
    assert decide(table, {"duration": (None, None)}).keep.tolist() == [True] * 3 + [False]


def test_a_clip_without_words_is_dropped_where_one_is_asked_for():
    table = clips(captions=[["a kite"], [], None])
    assert decide(table, {}).keep.all()
    decided = decide(table, {}, need_caption=True)
    assert decided.stage == ["", "captions", "captions"]


def test_of_near_duplicates_the_first_that_passed_stays():
    """A clip that a threshold dropped makes no other a duplicate."""
    one, near, far = [0x0F0F0F0F0F0F0F0F], [0x0F0F0F0F0F0F0F0E], [0xFFFF0000FFFF0000]
    hashes = pa.array([one, one, near, far], pa.list_(pa.uint64()))
    table = clips(duration=[1.0, 5.0, 5.0, 5.0]).append_column("hashes", hashes)
    decided = decide(table, {"duration": (2.0, None)}, distance=4)
    assert decided.reason == ["duration < 2", "", "near-duplicate", ""]
    assert decided.twin.tolist() == [-1, -1, 1, -1]
    assert decide(table, {}, distance=None).keep.all()


def test_one_span_is_kept_once():
    table = pa.table({"key": ["a", "b", "a"], "duration": [1.0, 1.0, 1.0]})
    assert decide(table, {}).reason == ["", "", "same span"]


def test_nothing_is_decided_of_nothing():
    empty = clips(duration=pa.array([], pa.float64()), hashes=pa.array([], pa.list_(pa.uint64())))
    assert decide(empty, {"duration": (1.0, 2.0)}, distance=6).keep.tolist() == []
