"""Near-duplicates in a whole set of clips, by the perceptual hashes of a few frames of each.

Two hashes are near if they differ in at most `distance` of their 64 bits. Two clips are near if a
`share` of the hashes of one have a near hash in the other, so a clip is also found within a longer
one. A clip is dropped if it is near to an earlier one that is kept.

Near hashes are found without comparing all pairs. The bits are split into `distance + k` bands: two
near hashes agree in at least k bands, so for one choice of k bands they are neighbours when hashes
are sorted by these. The best k grows with the size of the set. Source: Manku, Jain and Das Sarma
2007, "Detecting near-duplicates for web crawling", section 3.

The search is exact but for two limits, without which many similar frames (black, a logo) would take
quadratic time: a hash is compared with the next _REACH hashes in each order, and hashes that more
than _COMMON clips share are ignored.

Here: which clip duplicates which. Not here: the hashes (signals.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from math import comb, log2

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]
Costs = npt.NDArray[np.float64]

_BITS = 64
_REACH = 512
_COMMON = 256
_PENDING = 256  # arrays of near hashes before they are made one
_AT_ONCE = 4_000_000  # pairs of a hash and a clip that may hold a near one
_ONES = np.array([bin(n).count("1") for n in range(1 << 16)], np.uint8)


def near_duplicates(hashes: pa.ListArray | pa.ChunkedArray, distance: int = 6, *, share: float = 0.75) -> Numbers:
    """For each clip the index of an earlier, kept clip that is near it; -1 for kept clips.

    hashes:   a list of uint64 for each clip; a clip without hashes has no duplicates
    distance: most bits in which near hashes differ
    """
    clip, value, stands_for = _distinct(hashes)
    values, place, holders = np.unique(value, return_inverse=True, return_counts=True)
    telling = holders[place] <= _COMMON
    near = _near_clips(clip[telling], place[telling], _neighbours(values, distance), len(stands_for), share)
    return _first_stays(near, stands_for)


def _distinct(hashes: pa.ListArray | pa.ChunkedArray) -> tuple[Numbers, Hashes, Numbers]:
    """Unique hashes of each clip; clips with equal hashes are merged.

    returns  (N,) the clip of each hash, (N,) the hash, and for each clip the first one with equal
        hashes
    """
    first: dict[bytes, int] = {}
    stands_for = np.arange(len(hashes))
    clips, values = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
    for place, held in enumerate(hashes):
        own = np.unique(np.array(held.as_py() or [], np.uint64))
        if len(own) == 0:
            continue
        stands_for[place] = first.setdefault(own.tobytes(), place)
        if stands_for[place] == place:
            clips.append(np.full(len(own), place))
            values.append(own)
    return np.concatenate(clips), np.concatenate(values), stands_for


def _neighbours(values: Hashes, distance: int) -> Numbers:
    """All pairs of near hashes by index, (P, 2), in both orders and with themselves, sorted.

    values: unique hashes
    """
    count = len(values)
    codes = [np.arange(count) * (count + 1)]  # place * count + place of the other
    for one, other in _near(values, distance):
        codes += [one * count + other, other * count + one]
        if len(codes) > _PENDING:
            codes = [np.unique(np.concatenate(codes))]
    return np.stack(np.divmod(np.unique(np.concatenate(codes)), max(count, 1)), 1)


def _near(values: Hashes, distance: int) -> Iterator[tuple[Numbers, Numbers]]:
    """Pairs of near hashes by index; some pairs come more than once."""
    k = _bands_that_agree(len(values), distance)
    edges = np.linspace(0, _BITS, distance + k + 1).round().astype(int)
    masks = [np.uint64(((1 << int(high - low)) - 1) << int(low)) for low, high in pairwise(edges)]
    for chosen in combinations(masks, k):
        key = values & np.bitwise_or.reduce(chosen)
        order = np.argsort(key, kind="stable")
        ends = np.searchsorted(key[order], key[order], side="right")  # of the run of equal keys that each is in
        at = np.arange(len(values))
        for step in range(1, _REACH + 1):
            at = at[at + step < ends[at]]
            if len(at) == 0:
                break
            one, other = order[at], order[at + step]
            close = _differing(values[one], values[other]) <= distance
            if close.any():
                yield one[close], other[close]


def _bands_that_agree(count: int, distance: int) -> int:
    """The k of least cost: a sort for each choice of k bands, a comparison per pair that agrees."""

    def cost(k: int) -> float:
        bits = _BITS * k / (distance + k)
        return comb(distance + k, k) * count * (4 * log2(count + 2) + min(count / 2 ** (bits + 1), _REACH))

    return min(range(1, 6), key=cost)


def _differing(one: Hashes, other: Hashes) -> Numbers:
    bits: Numbers = _ONES[(one ^ other).view(np.uint16)].reshape(-1, 4).sum(1, dtype=np.int64)
    return bits


def _near_clips(clip: Numbers, value: Numbers, neighbours: Numbers, num_clips: int, share: float) -> Numbers:
    """Pairs of near clips, (P, 2), the later clip first, sorted.

    clip, value: (N,) the clip of each hash and the index of the hash, sorted by clip
    """
    by_value = np.argsort(value, kind="stable")
    num_values = int(neighbours[-1, 0]) + 1 if len(neighbours) else 0
    held_from = np.searchsorted(value[by_value], np.arange(num_values + 1))
    near_from = np.searchsorted(neighbours[:, 0], np.arange(num_values + 1))
    holders, reached = np.diff(held_from), np.diff(near_from)
    clips_for_hash = np.bincount(neighbours[:, 0], holders[neighbours[:, 1]], num_values).astype(np.float64)
    size = np.bincount(clip, minlength=num_clips)
    found = [np.empty((0, 2), np.int64)]
    for block in _blocks(clip, clips_for_hash[value]):
        hash_of, which = _spread(near_from[value[block]], reached[value[block]])
        other_value = neighbours[which, 1]
        pair, which = _spread(held_from[other_value], holders[other_value])
        code = np.unique((block.start + hash_of[pair]) * num_clips + clip[by_value[which]])
        ours, theirs = clip[code // num_clips], code % num_clips
        pairs, matched = np.unique((ours * num_clips + theirs)[ours != theirs], return_counts=True)
        ours, theirs = np.divmod(pairs[matched >= share * size[pairs // num_clips]], num_clips)
        found.append(np.stack([np.maximum(ours, theirs), np.minimum(ours, theirs)], 1))
    return np.unique(np.concatenate(found), axis=0)


def _blocks(clip: Numbers, work: Costs) -> Iterator[slice]:
    """Slices of hashes to process at once, each of whole clips."""
    ends = np.flatnonzero(np.diff(clip, append=-1)) + 1
    done = np.cumsum(work)
    start = 0
    while start < len(clip):
        limit = (done[start - 1] if start else 0) + _AT_ONCE
        fits = ends[(ends > start) & (done[ends - 1] <= limit)]
        end = int(fits[-1] if len(fits) else ends[ends > start][0])
        yield slice(start, end)
        start = end


def _spread(start: Numbers, count: Numbers) -> tuple[Numbers, Numbers]:
    """Concatenate the ranges from start to start + count; also the range of each number."""
    which = np.repeat(np.arange(len(start)), count)
    return which, np.arange(len(which)) + np.repeat(start - np.cumsum(count) + count, count)


def _first_stays(near: Numbers, stands_for: Numbers) -> Numbers:
    twin = np.full(len(stands_for), -1)
    for later, earlier in near.tolist():
        if twin[later] < 0 and twin[earlier] < 0:
            twin[later] = earlier
    same = stands_for != np.arange(len(stands_for))
    first = stands_for[same]
    twin[same] = np.where(twin[first] >= 0, twin[first], first)
    return twin
