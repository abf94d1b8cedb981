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
    """The VAE makes all frames darker by 15; frame 6 is given."""
    decoded = level(*[100] * 13)
    pieces = decoded.split(sizes)
    got = values(hold_exactly(iter(pieces), [Condition(level(115), at=6)]))
    step = 15 / (FADE + 1)
    expected = [100 + max(0.0, 15 - step * abs(n - 6)) for n in range(13)]
    assert got == [round(value) for value in expected]


def test_between_two_given_frames_is_their_mean_loss():
    decoded = level(100, 100, 100)
    given = [Condition(level(104), at=0), Condition(level(116), at=2)]
    assert values(hold_exactly([decoded], given)) == [104, 110, 116]


def test_a_region_and_a_noised_condition_touch_nothing_else():
    region = torch.zeros(2, 2, dtype=torch.bool)
    region[0] = True
    decoded = level(100, 100)
    given = [Condition(level(150), at=0, region=region), Condition(level(200), at=1, noise=0.5)]
    frames = torch.cat(list(hold_exactly([decoded], given)))
    assert frames[0, 0].eq(150).all() and frames[0, 1].eq(100).all() and frames[1].eq(100).all()
    assert decoded.eq(100).all()


def test_a_made_region_meets_what_is_given_around_it():
    """All of what the VAE lost at its edge, less inside, nothing far inside."""
    decoded = torch.full((1, 16, 64, 3), 100, dtype=torch.uint8)
    region = torch.zeros(16, 64, dtype=torch.bool)
    region[:, :20] = True
    media = torch.full((1, 16, 64, 3), 110, dtype=torch.uint8)
    (frames,) = hold_exactly([decoded], [Condition(media, region=region)])
    row = frames[0, 8, :, 0].int()
    assert (row[:20] == 110).all() and row[20] >= 108 and (row[25:] == 100).all()
    assert (row[19:].diff() <= 0).all()
    (frames,) = hold_exactly([decoded], [Condition(media + 50, region=region)])  # another picture shines nowhere
    assert (frames[0, :, 20:] == 100).all()


def test_another_picture_does_not_shine_through_its_neighbours():
    decoded = level(100, 100, 100)
    assert values(hold_exactly([decoded], [Condition(level(160), at=1)])) == [100, 160, 100]


def test_nothing_given_changes_nothing():
    decoded = level(*range(0, 200, 10))
    assert values(hold_exactly(decoded.split(7), [])) == values([decoded])
