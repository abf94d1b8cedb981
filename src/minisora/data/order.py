"""Order of the samples: a pure function of (seed, position), so that resuming needs one integer.

Every epoch is another permutation of the samples, computed one element at a time: nothing is
stored, whatever the size. A Feistel network permutes the smallest square power of two that holds
all samples; an image outside the set is permuted again until it falls inside, which is still a
permutation ("cycle walking").

Source: Black and Rogaway 2002, "Ciphers with Arbitrary Finite Domains", section 3. SplitMix64, the
round function: Steele, Lea and Flood 2014.

Here: the order. Not here: the samples (shards.py), packing them (latents.py).
"""

from __future__ import annotations

_ROUNDS = 8  # four suffice for large sets; small halves of two bits need more to mix
_MASK = (1 << 64) - 1


def sample_at(seed: int, position: int, size: int) -> int:
    """Sample at a position of an endless stream: each `size` positions hold every sample once.

    seed:     any integer
    position: how many samples came before, over all epochs
    size:     how many samples there are
    returns   an index in 0..size-1
    """
    assert size > 0 and position >= 0, (size, position)
    epoch, index = divmod(position, size)
    key = _mix(_mix(seed & _MASK) ^ epoch)
    half = max(2, ((size - 1).bit_length() + 1) // 2)
    while True:
        index = _permute(index, half, key)
        if index < size:
            return index


def _permute(index: int, half: int, key: int) -> int:
    """Feistel network on 2 * half bits: a permutation for any round function."""
    low = (1 << half) - 1
    left, right = index >> half, index & low
    for number in range(_ROUNDS):
        left, right = right, left ^ (_mix(key ^ (number << half | right)) & low)
    return left << half | right


def _mix(value: int) -> int:
    """One step of SplitMix64, as a hash of 64 bits."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
