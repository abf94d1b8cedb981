from collections import Counter
from itertools import pairwise

import pytest

from minisora.data.order import sample_at


@pytest.mark.parametrize("size", [*range(1, 40), 64, 65, 100, 256, 257, 1000, 4097])
def test_every_epoch_holds_every_sample_once(size):
    for epoch in range(3):
        order = [sample_at(7, epoch * size + i, size) for i in range(size)]
        assert sorted(order) == list(range(size))


def test_epochs_and_seeds_differ():
    orders = [[sample_at(seed, epoch * 500 + i, 500) for i in range(500)] for seed in (0, 1, -1) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == len(orders)
    for order in orders:  # a random permutation keeps the place of one element on average
        assert sum(i == sample for i, sample in enumerate(order)) < 8
        assert abs(sum(a < b for a, b in pairwise(order)) - 250) < 40


@pytest.mark.parametrize("size", [2, 3, 5, 12])
def test_every_sample_is_first_equally_often(size):
    """Chi-squared against the uniform law: its mean is size - 1, its variance twice that."""
    epochs = 3000
    for place in {0, size - 1}:
        counts = Counter(sample_at(3, epoch * size + place, size) for epoch in range(epochs))
        expected = epochs / size
        chi2 = sum((counts[sample] - expected) ** 2 / expected for sample in range(size))
        assert chi2 < (size - 1) + 5 * (2 * (size - 1)) ** 0.5
