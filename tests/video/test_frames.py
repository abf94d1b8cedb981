import numpy as np
import pytest
import torch
from PIL import Image

from minisora.video import at_fps, fit, fit_size, resize, to_float, to_uint8


def test_uint8_survives_the_way_to_float_and_back():
    values = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    assert to_float(values).min() == -1 and to_float(values).max() == 1
    assert torch.equal(to_uint8(to_float(values)), values)
    assert to_uint8(torch.tensor([-1.5, 1.5])).tolist() == [0, 255]


@pytest.mark.parametrize("size", [(20, 31), (64, 64), (100, 70), (7, 5)])
def test_resize_agrees_with_pillow(scene, size):
    frames = scene(2, 48, 64)
    ours = resize(frames, *size)
    floats = resize(to_float(frames), *size)
    for frame, from_float, source in zip(ours, floats, frames, strict=True):
        theirs = np.asarray(Image.fromarray(source.numpy()).resize(size[::-1], Image.Resampling.BICUBIC)).astype(int)
        assert np.abs(frame.numpy().astype(int) - theirs).max() <= 2
        assert np.abs(to_uint8(from_float).numpy().astype(int) - theirs).max() <= 2
    assert ours.dtype == torch.uint8 and resize(frames[None], *size).shape == (1, 2, *size, 3)


def test_fit_keeps_the_middle_and_the_shape_of_things(scene):
    frames = scene(2, 48, 64)
    assert fit(frames, 48, 64) == (frames, "")
    cropped, said = fit(frames, 48, 48)
    assert torch.equal(cropped, frames[:, :, 8:56]) and "25%" in said and "scaled" not in said
    for size in [(32, 32), (96, 50), (11, 90), (24, 32)]:
        fitted, said = fit(frames, *size)
        assert fitted.shape == (2, *size, 3) and "scaled" in said
    y, x = torch.meshgrid(torch.arange(90.0), torch.arange(160.0), indexing="ij")
    disc = (
        (((y - 44.5) ** 2 + (x - 79.5) ** 2 < 400).float() * 255)
        .to(torch.uint8)[None, :, :, None]
        .expand(1, 90, 160, 3)
    )
    fitted, _ = fit(disc, 60, 60)
    inside = fitted[0, :, :, 0] > 127
    assert abs(inside.any(0).sum() - inside.any(1).sum()) <= 1  # a circle stays a circle


def test_fit_size_has_the_area_and_the_shape():
    assert fit_size(720, 1280, area=128 * 128, multiple=16) == (96, 176)
    assert fit_size(1280, 720, area=128 * 128, multiple=16) == (176, 96)
    assert fit_size(500, 500, area=96 * 96, multiple=16) == (96, 96)
    assert fit_size(10, 5000, area=64 * 64, multiple=16)[0] == 16
    for height, width in [(480, 640), (1080, 1920), (333, 517), (2160, 3840)]:
        h, w = fit_size(height, width, area=480 * 832, multiple=16)
        assert h % 16 == w % 16 == 0
        assert abs(h * w / (480 * 832) - 1) < 0.06 and abs(w / h / (width / height) - 1) < 0.06


@pytest.mark.parametrize("fps", [8.0, 16.0, 24.0])
def test_the_frames_nearest_to_another_rate(fps):
    frames = torch.arange(49, dtype=torch.uint8)
    assert at_fps(frames, fps, 8.0, 5).tolist() == [round(n * fps / 8) for n in range(5)]
    assert at_fps(frames[:3], 8.0, 8.0, 5).tolist() == [0, 1, 2, 2, 2]  # what is short stands still
