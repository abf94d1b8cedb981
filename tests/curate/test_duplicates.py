from __future__ import annotations

import random
import time
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minisora.curate.duplicates import near_duplicates


def held(clips):
    return pa.array(clips, pa.list_(pa.uint64()))


def by_all_pairs(clips, distance, share):
    """What the module promises, said as plainly as it can be."""

    def part(one, other):
        return np.mean([any((a ^ b).bit_count() <= distance for b in other) for a in one]) if one and other else 0

    sets = [set(clip) for clip in clips]
    twin = [-1] * len(sets)
    for later in range(len(sets)):
        for earlier in range(later):
            nearest = max(part(sets[later], sets[earlier]), part(sets[earlier], sets[later]))
            if twin[earlier] < 0 and nearest >= share:
                twin[later] = earlier
                break
    return twin


def made_up(random, count, distance, num_hashes=4):
    """Clips of which a third repeat an earlier one, up to a few bits over the distance changed."""
    clips = []
    for _ in range(count):
        if clips and random.random() < 0.35:
            clip = [
                h ^ sum(1 << b for b in random.sample(range(64), random.randint(0, distance + 2)))
                for h in random.choice(clips)
            ]
            random.shuffle(clip)
            clips.append(clip[: random.randint(0, num_hashes)])
        else:
            clips.append([random.getrandbits(64) for _ in range(random.randint(0, num_hashes))])
    return clips


@pytest.mark.parametrize("distance", [0, 3, 6, 10, 16])
@pytest.mark.parametrize("share", [0.5, 0.75])
def test_the_same_as_comparing_all_pairs(distance, share):
    clips = made_up(random.Random(f"{distance} {share}"), 100, distance)
    assert near_duplicates(held(clips), distance, share=share).tolist() == by_all_pairs(clips, distance, share)


@given(st.lists(st.lists(st.integers(0, 31), max_size=3), max_size=12), st.integers(0, 2))
@settings(max_examples=40)
def test_the_same_where_nearly_all_are_near(clips, distance):
    assert near_duplicates(held(clips), distance).tolist() == by_all_pairs(clips, distance, 0.75)


def test_the_first_stays_and_each_other_names_one_that_stays():
    a, b, far = [1, 2, 3, 4], [1, 2, 3, 4], [2**63, 2**62, 2**61, 2**60]
    assert near_duplicates(held([a, far, b, None, [], a]), 0).tolist() == [-1, -1, 0, -1, -1, 0]


def test_a_part_of_a_longer_clip_is_found():
    frames = [random.Random(0).getrandbits(64) + n for n in range(0, 1 << 20, 1 << 17)]
    assert near_duplicates(held([frames, frames[:3]]), 0).tolist() == [-1, 0]
    assert near_duplicates(held([frames[:3], frames]), 0).tolist() == [-1, 0]


def test_what_many_clips_share_tells_nothing():
    """A logo in every clip: without that they would all be compared with each other."""
    maker = random.Random(1)
    clips = [[7, maker.getrandbits(64)] for _ in range(600)]
    assert (near_duplicates(held(clips), 2, share=0.5) == -1).all()


def test_no_clips():
    assert near_duplicates(held([]), 6).tolist() == []
    assert near_duplicates(held([[]]), 6).tolist() == [-1]


@pytest.mark.long
def test_a_hundred_thousand_clips_in_flat_memory():
    """Half again as many as there are: a third repeats an earlier one within 4 bits."""
    draw = np.random.default_rng(0)
    once = draw.integers(0, 2**64, (67_000, 4), np.uint64)
    of = draw.integers(0, len(once), 33_000)
    flips = np.bitwise_or.reduce(np.uint64(1) << draw.integers(0, 64, (33_000, 4, 4), np.uint64), axis=2)
    hashes = np.concatenate([once, once[of] ^ flips])
    clips = pa.ListArray.from_arrays(pa.array(np.arange(0, hashes.size + 1, 4), pa.int32()), pa.array(hashes.ravel()))
    tracemalloc.start()
    begin = time.perf_counter()
    twin = near_duplicates(clips, 6)
    seconds, peak_bytes = time.perf_counter() - begin, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"{len(clips):,} clips: {seconds:.1f} s, {peak_bytes / 2**20:.0f} MiB")
    assert (twin[: len(once)] == -1).all()
    assert (twin[len(once) :] == of).all()
    assert peak_bytes < 500 * 2**20
