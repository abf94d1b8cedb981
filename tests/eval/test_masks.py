"""Overlaps of boxes that are known on paper, and masks against OpenCV, which the benchmark uses."""

from __future__ import annotations

import pytest
import torch

from minisora.eval import masks


def box(left, right, frames=2):
    mask = torch.zeros(frames, 4, 8, dtype=torch.bool)
    mask[:, :, left:right] = True
    return mask


def test_overlaps_on_paper():
    one, other = box(0, 4), box(2, 6)
    for measure in (masks.spatial_iou, masks.spatiotemporal_iou, masks.weighted_spatial_iou):
        assert measure(one, one) == 1 and measure(one, box(4, 8)) == 0
        assert measure(one, other) == pytest.approx(1 / 3)  # 2 columns of 6
        assert measure(box(0, 0), box(0, 0)) == 1  # nothing moves in either


def test_when_and_how_often():
    """Half of the time in one place and half in another, swapped: where is right, when wrong."""
    there_and_back = torch.cat([box(0, 4, 1), box(4, 8, 1)])
    back_and_there = there_and_back.flip(0)
    assert masks.spatial_iou(there_and_back, back_and_there) == 1
    assert masks.spatiotemporal_iou(there_and_back, back_and_there) == 0
    assert masks.weighted_spatial_iou(there_and_back, back_and_there) == 1
    always = box(0, 8, 2)
    assert masks.spatial_iou(always, there_and_back) == 1
    assert masks.weighted_spatial_iou(always, there_and_back) == pytest.approx(0.5)


def test_mse():
    one = torch.zeros(2, 4, 4, 3, dtype=torch.uint8)
    assert masks.mse(one, one) == 0 and masks.mse(one, one + 51) == pytest.approx(0.04)


def test_masks_are_those_of_the_benchmark():
    cv2 = pytest.importorskip("cv2")
    import numpy as np

    soft = torch.nn.functional.interpolate(
        torch.rand(1, 3, 16, 18, generator=torch.Generator().manual_seed(0)), (300, 330), mode="bicubic"
    )
    still = (soft[0].permute(1, 2, 0).clamp(0, 1) * 255).to(torch.uint8)
    frames = still.repeat(5, 1, 1, 1)
    for n in range(1, 5):  # a thing crosses, and a speck that is too small comes and goes
        frames[n, 100:160, 40 * n : 40 * n + 60] = 255 - frames[n, 100:160, 40 * n : 40 * n + 60]
        frames[n, 20:22, 20:22] = 255 * (n % 2)
    ours = masks.motion_masks(frames)
    grey = [cv2.GaussianBlur(cv2.cvtColor(frame.numpy(), cv2.COLOR_RGB2GRAY), (5, 5), 0) for frame in frames]
    mean, kernel, theirs = grey[0].astype("float"), np.ones((5, 5), np.uint8), [np.zeros_like(grey[0])]
    for frame in grey[1:]:
        cv2.accumulateWeighted(frame, mean, 0.3)
        _, mask = cv2.threshold(cv2.absdiff(frame, cv2.convertScaleAbs(mean)), 10, 255, cv2.THRESH_BINARY)
        opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel)
        theirs.append(cv2.morphologyEx(opened, cv2.MORPH_CLOSE, kernel))
    expected = torch.from_numpy(np.stack(theirs)) > 0
    assert not ours[0].any() and ours[1:].any()
    assert masks.spatiotemporal_iou(ours, expected) > 0.99  # rounding of halves apart


def test_small_clips_are_enlarged():
    assert masks.motion_masks(torch.zeros(2, 32, 64, 3, dtype=torch.uint8)).shape == (2, 256, 512)
