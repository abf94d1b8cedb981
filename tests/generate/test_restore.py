"""Known frames come out exact; generated ones get what the VAE lost of them, less with distance."""

from __future__ import annotations

import pytest
import torch

from minisora.generate.canvas import Condition
from minisora.generate.restore import FADE, MOST_APART, hold_exactly


def level(*values: int) -> torch.Tensor:
    """Frames of 2x2 pixels, each of one value."""
    return torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 2, 2, 3)


def values(pieces) -> list[int]:
    return [int(frame[0, 0, 0]) for piece in pieces for frame in piece]


@pytest.mark.parametrize("sizes", [[13], [1, 4, 8], [5, 4, 4], [5, 8], [1] * 13, [3, 3, 3, 4], [5, 3, 5]])
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


def test_what_a_frame_lost_stays_where_it_is_still_seen():
    """A bright square moves on; the VAE loses 10 of all and 20 of the square, without ghosts."""
    decoded = torch.full((3, 16, 32, 3), 50, dtype=torch.uint8)
    for n, left in enumerate((2, 12, 22)):
        decoded[n, 4:12, left : left + 8] = 180
    given = decoded[:1] + 10
    given[0, 4:12, 2:10] += 10
    frames = torch.cat(list(hold_exactly([decoded], [Condition(given)])))
    assert torch.equal(frames[0], given[0])
    was, now, still = frames[1, 4:12, 2:10], frames[1, 4:12, 12:20], frames[1, 12:]
    assert (was == 50).all() and (now == 180).all() and (still == 50 + round(10 * FADE / (FADE + 1))).all()


def test_more_is_added_the_nearer_a_pixel_is_to_what_was_decoded():
    """A pixel that moved by a share of MOST_APART gets the rest, from each known frame."""
    apart = round(MOST_APART) // 4
    decoded = level(100, 100 + apart, 100 + 4 * apart)
    added = 12 * FADE / (FADE + 1) * 3 / 4
    assert values(hold_exactly([decoded], [Condition(level(112))])) == [
        112,
        100 + apart + round(added),
        100 + 4 * apart,
    ]
    both = [Condition(level(112)), Condition(level(104 + 4 * apart), at=2)]
    shares = 3 / 4 * FADE / (FADE + 1), 1 / 4 * FADE / (FADE + 1)  # of the two losses, 12 and 4, below 1 in all
    expected = 100 + apart + shares[0] * 12 + shares[1] * 4
    assert values(hold_exactly([decoded], both))[1] == round(expected)
