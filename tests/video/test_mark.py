"""The visible mark: legible on light and dark, exact elsewhere, on whatever is delivered."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from minisora.errors import UsageError
from minisora.generate.plan import Work
from minisora.generate.verbs import Generate, Reverse
from minisora.studio.server import Settings
from minisora.video import Video
from minisora.video.mark import marked
from tests.helpers.tiny import picture

TEXT = "made with AI"


@pytest.mark.parametrize(("height", "width"), [(64, 64), (256, 448), (1080, 1920), (96, 30), (3, 2)])
def test_it_stands_in_the_lower_right_corner_and_nothing_else_changes(height, width):
    frames = torch.randint(0, 256, (2, height, width, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    before = frames.clone()
    made = marked(frames, TEXT)
    assert torch.equal(frames, before) and made.shape == frames.shape and made.dtype == torch.uint8
    rows, columns = (made != frames).any(-1).any(0).nonzero().T
    if height > 50:
        assert rows.min() > height * 0.75 and rows.max() < height - 1 and columns.max() < width
        assert columns.min() > width / 2 or width <= 64
    assert torch.equal(made[:, : int(rows.min())], frames[:, : int(rows.min())])
    assert marked(frames, "") is frames


@pytest.mark.parametrize("level", [0, 128, 255])
def test_it_is_legible_on_light_and_dark(level):
    """Letters differ from what is around them by more than half of the range."""
    made = marked(torch.full((1, 256, 256, 3), level, dtype=torch.uint8), TEXT)[0, :, :, 0]
    assert made.max() > 235 and int(made.max()) - int(made[200:].min()) > 120


def test_every_letter_of_ascii_is_in_the_font():
    blank = torch.zeros(1, 256, 256, 3, dtype=torch.uint8)
    drawn = [marked(blank, chr(code)) for code in range(33, 127)]
    assert all(each.any() for each in drawn) and len({each.numpy().tobytes() for each in drawn}) == len(drawn)


@pytest.mark.parametrize("wrong", ["two\nlines", "中文", "x" * 61, " spaces "])
def test_a_mark_that_cannot_be_drawn_is_refused(wrong):
    with pytest.raises(UsageError, match="60 letters"):
        Generate("a ball", mark=wrong)
    with pytest.raises(UsageError, match="--mark"):
        Settings(folder=Path(), mark=wrong)


def test_a_request_has_it_over_kept_frames_too():
    clip = Video(picture(9, 96, 96), 8.0)
    request = Reverse(clip, mark=TEXT)
    work = Work.of(None, request)
    expected = marked(clip.frames.flip(0), TEXT)
    assert torch.equal(work.run().video.frames, expected)
    assert torch.equal(torch.cat(list(work.stream().video.pieces)), expected)
    assert Reverse.of_data({**request.to_data(), "clip": clip}).mark == TEXT
