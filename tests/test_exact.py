"""Given frames come out as they are; made ones beside them get what the given ones lost, less with the distance."""

from __future__ import annotations

import pytest
import torch

from minisora.canvas import Condition
from minisora.exact import FADE, hold_exactly


def level(*values: int) -> torch.Tensor:
    """Frames of 2x2 pixels, each of one value."""
    return torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 2, 2, 3)


def values(pieces) -> list[int]:
    return [int(frame[0, 0, 0]) for piece in pieces for frame in piece]


@pytest.mark.parametrize("sizes", [[13], [1, 4, 8], [5, 4, 4], [5, 8]])
def test_what_was_lost_fades_on_both_sides_however_the_frames_come(sizes):
    """The VAE makes all frames darker by 50; frame 6 is given."""
    decoded = level(*[100] * 13)
    pieces = decoded.split(sizes)
    got = values(hold_exactly(iter(pieces), [Condition(level(150), at=6)]))
    step = 50 / (FADE + 1)
    expected = [100 + max(0.0, 50 - step * abs(n - 6)) for n in range(13)]
    assert got == [round(value) for value in expected]


def test_between_two_given_frames_is_their_mean_loss():
    decoded = level(100, 100, 100)
    given = [Condition(level(110), at=0), Condition(level(130), at=2)]
    assert values(hold_exactly([decoded], given)) == [110, 120, 130]


def test_a_region_and_a_noised_condition_touch_nothing_else():
    region = torch.zeros(2, 2, dtype=torch.bool)
    region[0] = True
    decoded = level(100, 100)
    given = [Condition(level(150), at=0, region=region), Condition(level(200), at=1, noise=0.5)]
    frames = torch.cat(list(hold_exactly([decoded], given)))
    assert frames[0, 0].eq(150).all() and frames[0, 1].eq(100).all() and frames[1].eq(100).all()
    assert decoded.eq(100).all()


def test_nothing_given_changes_nothing():
    decoded = level(*range(0, 200, 10))
    assert values(hold_exactly(decoded.split(7), [])) == values([decoded])
