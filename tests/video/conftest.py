"""Videos whose every frame is known, for the tests of this folder."""

import pytest
import torch


@pytest.fixture
def scene():
    """A red disc crossing a smooth ramp: scene(num_frames, height, width) -> (T, H, W, 3) uint8."""

    def make(num_frames: int, height: int, width: int) -> torch.Tensor:
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        frames = []
        for i in range(num_frames):
            frame = torch.stack([x * 120 // width + 40, y * 120 // height + 40, torch.full_like(x, i * 9 % 200)], -1)
            frame[(x - width * (0.2 + 0.6 * i / num_frames)) ** 2 + (y - height / 2) ** 2 < (height / 6) ** 2] = (
                torch.tensor([220, 30, 30])
            )
            frames.append(frame)
        return torch.stack(frames).to(torch.uint8)

    return make
