"""Inpainting with a mask over time: what it leaves black is the clip's own, frame by frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from minisora.errors import UsageError
from minisora.generate.canvas import Shape, build
from minisora.generate.model import Model
from minisora.generate.regions import inpainting
from minisora.generate.schedule import Schedule
from minisora.generate.verbs import Inpaint
from minisora.upscale.model import Upscaler
from minisora.video import Video, recording
from tests.helpers.tiny import UPSCALER, bundle, picture, settings

__all__ = ["bundle"]  # a fixture

COUNT, SIZE = 13, (32, 48)
FEW = {"size": SIZE, "steps": 2, "seed": 4}


@pytest.fixture(scope="module")
def model(bundle) -> Model:
    return Model(bundle)


@pytest.fixture(scope="module")
def clip() -> Video:
    return Video(picture(COUNT, *SIZE), 8.0)


def square(count: int = COUNT, size: tuple[int, int] = SIZE) -> Tensor:
    """Masks (count, H, W) bool of a square that moves right, after three frames without it."""
    masks = torch.zeros(count, *size, dtype=torch.bool)
    for n in range(3, count):
        masks[n, 9:19, 2 * n : 2 * n + 11] = True
    return masks


def film(masks: Tensor, fps: float = 8.0) -> Video:
    return Video(255 * masks[..., None].expand(-1, -1, -1, 3).to(torch.uint8), fps)


def test_what_is_outside_a_moving_square_is_the_clips_own(model, clip):
    masks = square()
    made = model.inpaint(clip, "a ball", mask=film(masks), **FEW).frames
    for frame, given, mask in zip(made, clip.frames, masks, strict=True):
        assert torch.equal(frame[~mask], given[~mask])
        assert not mask.any() or not torch.equal(frame[mask], given[mask])


@pytest.mark.parametrize("size", [(31, 33), (100, 150)])
def test_so_it_is_over_several_windows_at_odd_sizes_and_with_an_upscaler(bundle, size):
    short = replace(bundle, sampling=replace(bundle.sampling, window=4, context=1, size=(24, 24)))
    model = Model(short if size == (31, 33) else replace(short, upscaler=Upscaler(UPSCALER)))
    given, masks = picture(22, *size), square(22, size)
    masks[10] = True  # a whole frame
    made = model.inpaint(Video(given, 8.0), "a ball", mask=film(masks), size=size, steps=1).frames
    assert torch.equal(made[~masks], given[~masks]) and not torch.equal(made[masks], given[masks])


def test_a_group_is_generated_where_any_of_its_frames_is_white(bundle, clip):
    masks = square()
    shape = Shape(num_frames=COUNT, height=SIZE[0], width=SIZE[1], fps=8.0)
    (given,) = inpainting(bundle, clip.frames, masks, shape, Schedule.parse("a ball"), settings()).conditions
    canvas = build(bundle, shape, [given])
    down, across = bundle.token_size
    groups = [masks[:1], *masks[1:].split(bundle.vae.strides.frames)]
    corners = [(y, x) for y in range(0, SIZE[0], down) for x in range(0, SIZE[1], across)]
    expected = [[float(group[:, y : y + down, x : x + across].any()) for y, x in corners] for group in groups]
    assert canvas.levels.view(len(groups), -1).tolist() == expected
    assert canvas.held() == [not any(group) for group in expected] and any(canvas.held())


def test_nothing_of_what_is_in_the_mask_is_seen(model, clip):
    masks = square()
    other = replace(clip, frames=torch.where(masks[..., None], 255 - clip.frames, clip.frames))
    one, two = (model.inpaint(each, "a ball", mask=film(masks), **FEW).frames for each in (clip, other))
    assert torch.equal(one, two)


def test_one_mask_for_all_frames_is_the_same_as_a_picture_a_clip_of_a_frame_and_of_all(model, clip, tmp_path):
    mask = square()[5]
    Image.fromarray(255 * mask.numpy().astype(np.uint8)).save(tmp_path / "mask.png")
    film(mask[None]).save(tmp_path / "one.mkv")
    film(mask.expand(COUNT, -1, -1)).save(tmp_path / "all.mkv")
    masks = (mask, tmp_path / "mask.png", tmp_path / "one.mkv", tmp_path / "all.mkv", film(mask[None], 0.1))
    made = [model.inpaint(clip, "a ball", mask=each, **FEW).frames for each in masks]
    assert all(torch.equal(each, made[0]) for each in made[1:])


@pytest.mark.parametrize("fps", [8.0, 16.0])
def test_masks_that_stay_in_their_file_are_those_in_memory(model, clip, tmp_path, monkeypatch, fps):
    """Of twice the rate, every second frame is a moment of the clip's."""
    masks = square()
    expected = model.inpaint(clip, "a ball", mask=film(masks), **FEW).frames
    film(masks.repeat_interleave(round(fps / 8), 0), fps).save(tmp_path / "mask.mkv")
    clip.save(tmp_path / "clip.mkv")
    for most in (1 << 24, 0):
        monkeypatch.setattr(recording, "_HELD_BYTES", most)
        made = model.inpaint(tmp_path / "clip.mkv", "a ball", mask=tmp_path / "mask.mkv", **FEW).frames
        assert torch.equal(made, expected)


def test_a_stretch_of_a_clip_takes_the_same_stretch_of_its_mask(model, clip, tmp_path):
    clip.save(tmp_path / "clip.mkv")
    film(square()).save(tmp_path / "mask.mkv")
    request = Inpaint(f"{tmp_path}/clip.mkv@0.5-1.25", "a ball", mask=f"{tmp_path}/mask.mkv@0.5-1.25", **FEW)
    made, masks = model.run(request).video.frames, square()[4:10]
    assert torch.equal(made[~masks], clip.frames[4:10][~masks])
    saved = request.to_data()
    assert saved["mask"]["name"] == "mask.mkv" and saved["mask"]["start"] == 0.5 and saved["mask"]["stop"] == 1.25
    with pytest.raises(UsageError, match=r"mask\.mkv lasts 1\.625 s, the clip 0\.75 s\. Give a mask as long as"):
        model.run(replace(request, mask=tmp_path / "mask.mkv"))


def test_what_cannot_be_a_mask_is_refused_before_any_work(model, clip):
    for masks, fps, says in (
        (square(), 16.0, r"the mask lasts 0\.8125 s, the clip 1\.625 s\. Give a mask as long as the clip, or of one"),
        (square(COUNT - 1), 8.0, r"the mask lasts 1\.5 s"),
        (square(COUNT + 1), 8.0, r"the mask lasts 1\.75 s"),
        (square(COUNT, (16, 48)), 8.0, "the mask is 48x16, the clip 48x32"),
        (square()[:3].repeat(5, 1, 1)[:COUNT], 8.0, "the region is empty"),
        (torch.ones(COUNT, *SIZE, dtype=torch.bool), 8.0, "the region is the whole frame"),
    ):
        with pytest.raises(UsageError, match=says):
            model.run(
                Inpaint(clip, "a ball", mask=film(masks, fps), **FEW), on_event=lambda event: pytest.fail("worked")
            )
