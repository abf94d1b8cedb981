"""Each verb keeps what it was given, to the pixel, at odd sizes and lengths too."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest
import torch

from minisora.errors import UsageError
from minisora.generate import tasks
from minisora.generate.canvas import Shape
from minisora.generate.fitting import size_for
from minisora.video import resize
from tests.generate.test_canvas import bundle, picture, settings

__all__ = ["bundle"]  # a fixture

ODD = Shape(num_frames=23, height=31, width=33, fps=8.0)


@pytest.mark.parametrize(("length", "at"), [(5, 0), (6, 0), (7, 16), (3, 9)])
def test_extend_keeps_the_clip(bundle, length, at):
    clip = picture(length, 31, 33)
    video = tasks.extend(bundle, clip, "a ball", ODD, at, settings())
    assert video.frames.shape == (23, 31, 33, 3)
    assert torch.equal(video.frames[at : at + length], clip)


def test_a_long_extension_keeps_the_clip_too(bundle):
    short = replace(bundle, sampling=replace(bundle.sampling, window=3, context=1))
    clip = picture(6, 31, 33)
    frames = list(tasks.stream(short, "a ball", ODD, [tasks.Condition(clip, at=10)], settings()))
    assert torch.equal(torch.cat(frames)[10:16], clip) and len(torch.cat(frames)) == 23


def test_connect_keeps_both(bundle):
    one, other = picture(5, 31, 33, seed=1), picture(6, 31, 33, seed=2)
    frames = tasks.connect(bundle, one, other, "a ball", ODD, settings()).frames
    assert torch.equal(frames[:5], one) and torch.equal(frames[-6:], other) and len(frames) == 23


def test_loop_back_keeps_the_clip_and_makes_the_way(bundle):
    clip = picture(9, 31, 33)
    frames = tasks.loop_back(bundle, clip, "a ball", replace(ODD, num_frames=17), settings()).frames
    assert torch.equal(frames[:9], clip) and len(frames) == 17


def test_a_loop_is_the_same_wherever_its_circle_is_cut(bundle):
    """Decoding two rounds of the same circle gives the same frames twice: there is no seam to see."""
    shape = Shape(num_frames=16, height=32, width=48, fps=8.0)
    latents = torch.randn(1, 4, 4, 6, 4)
    before = torch.cat([latents, latents], 1)[:, -tasks.WARM_UP :]

    def played(rounds: int) -> torch.Tensor:
        pieces = tasks.decode(bundle, [before, *[latents] * rounds], shape, settings(), first_alone=False)
        return torch.cat(list(pieces))[tasks.WARM_UP * 4 :]

    twice = played(2)
    torch.testing.assert_close(twice[:16].float(), twice[16:].float(), atol=1.0, rtol=0)  # rounding at .5
    video = tasks.loop(bundle, "a ball", shape, settings())
    assert video.frames.shape == (16, 32, 48, 3)
    with pytest.raises(UsageError, match=r"multiple of 4.*nearest are 12 frames \(1.5 s\) and 16 frames"):
        tasks.loop(bundle, "a ball", replace(shape, num_frames=15), settings())


@pytest.mark.parametrize(("height", "width"), [(64, 96), (16, 176)])
def test_what_is_larger_than_the_network_sees_is_made_small_first(bundle, height, width):
    narrow = replace(bundle, sampling=replace(bundle.sampling, tile=2, size=(32, 32)))
    shape = Shape(num_frames=1, height=height, width=width, fps=8.0)
    told: list[tuple[int, int]] = []
    how = settings(on_step=lambda *at: told.append(at))
    large = tasks.generate(narrow, "a ball", shape, how).frames
    assert large.shape == (1, height, width, 3)
    assert told == sorted(told) and told[0] == (0, 3) and told[-1] == (3, 3)
    small_height, small_width = size_for(narrow, height, width)
    first = replace(shape, height=small_height, width=small_width)
    small = tasks.make(narrow, "a ball", first, [], settings()).frames
    again = tasks.enlarge(
        narrow, resize(small, height, width), "a ball", shape, tasks.ENLARGED_NOISE, settings()
    ).frames
    assert torch.equal(large, again)


def test_redo_of_no_strength_is_the_clip(bundle):
    clip = picture(6, 32, 48)
    assert torch.equal(tasks.redo(bundle, clip, "a ball", 8.0, 0.0, settings()).frames, clip)
    changed = tasks.redo(bundle, clip, "a ball", 8.0, 0.7, settings()).frames
    assert changed.shape == clip.shape and not torch.equal(changed, clip)


def test_an_edit_to_the_same_words_and_guidance_changes_nothing(bundle):
    """The two velocities are one, so what is left is the way through the VAE and back."""
    clip = picture(5, 32, 48)
    same = settings(guidance=tasks.SOURCE_GUIDANCE)
    edited = tasks.edit(bundle, clip, "a ball", "a ball", 8.0, 0.8, same).frames
    through = tasks.edit(bundle, clip, "a ball", "two cubes", 8.0, 0.0, same).frames
    assert (edited.float() - through.float()).abs().max() <= 1
    other = tasks.edit(bundle, clip, "a ball", "two cubes", 8.0, 0.8, same).frames
    assert not torch.equal(other, through)


def test_inpaint_keeps_what_is_outside_the_hole(bundle):
    clip = picture(5, 31, 33)
    hole = torch.zeros(31, 33, dtype=torch.bool)
    hole[7:20, 11:29] = True
    frames = tasks.inpaint(bundle, clip, hole, "a ball", replace(ODD, num_frames=5), settings()).frames
    assert torch.equal(frames[:, ~hole], clip[:, ~hole]) and not torch.equal(frames[:, hole], clip[:, hole])
    for bad, said in ((~torch.zeros_like(hole), "whole frame"), (torch.zeros_like(hole), "empty")):
        with pytest.raises(UsageError, match=said):
            tasks.inpaint(bundle, clip, bad, "a ball", replace(ODD, num_frames=5), settings())


@pytest.mark.parametrize("length", [5, 7, 8])
def test_what_a_region_gives_fills_its_latents(bundle, length, monkeypatch):
    """A last latent given in part would be made anew, beside frames that are held one by one."""
    canvases = []
    real = tasks.build
    monkeypatch.setattr(tasks, "build", lambda *args: canvases.append(real(*args)) or canvases[-1])
    hole = torch.zeros(31, 33, dtype=torch.bool)
    hole[7:20, 11:29] = True
    shape = replace(ODD, num_frames=length)
    frames = tasks.inpaint(bundle, picture(length, 31, 33), hole, "a ball", shape, settings()).frames
    assert len(frames) == length and len(canvases[0].levels) == prod(canvases[0].grid)
    large = tasks.enlarge(bundle, picture(length, 31, 33), "a ball", shape, 0.7, settings()).frames
    assert len(large) == length and len(canvases[1].levels) == prod(canvases[1].grid)
    assert (canvases[1].levels == 0.7).all()


def test_a_hole_is_filled_from_its_edges():
    hole = torch.zeros(31, 33, dtype=torch.bool)
    hole[7:20, 5:29] = True
    clip = torch.full((2, 31, 33, 3), 90, dtype=torch.uint8)
    clip[:, :, 17:] = 150
    filled = tasks._filled(torch.where(hole[:, :, None], 0, clip), hole)
    assert torch.equal(filled[:, ~hole], clip[:, ~hole])
    assert (filled >= 90).all() and (filled <= 150).all()
    assert (filled[:, 7:20, 5:8] == 90).all() and (filled[:, 7:20, 26:29] == 150).all()


def test_nothing_of_what_is_in_the_hole_is_seen(bundle):
    hole = torch.zeros(31, 33, dtype=torch.bool)
    hole[7:20, 11:29] = True
    clip = picture(5, 31, 33)
    other = torch.where(hole[:, :, None], 255 - clip, clip)
    shape = replace(ODD, num_frames=5)
    one, two = (tasks.inpaint(bundle, frames, hole, "a ball", shape, settings()).frames for frames in (clip, other))
    assert torch.equal(one, two)


def test_ctrl_c_leaves_what_is_made(bundle):
    short = replace(bundle, sampling=replace(bundle.sampling, window=4, context=1))
    clip, calls = picture(5, 31, 33), []

    def stop(done: int, total: int) -> None:
        calls.append(done)
        if done > 0.6 * total:
            raise KeyboardInterrupt

    with pytest.raises(tasks.Stopped, match="of 41 frames") as stopped:
        tasks.extend(short, clip, "a ball", replace(ODD, num_frames=41), 0, settings(on_step=stop))
    made = stopped.value.made.frames
    assert 5 < len(made) < 41 and torch.equal(made[:5], clip)
    with pytest.raises(KeyboardInterrupt) as early:
        tasks.extend(short, clip[:1], "a ball", ODD, 0, settings(on_step=lambda *_: stop(1, 1)))
    assert not isinstance(early.value, tasks.Stopped)


def test_interpolate_keeps_every_given_frame(bundle):
    clip = picture(4, 31, 33)
    frames = tasks.interpolate(bundle, clip, 3, "a ball", replace(ODD, num_frames=10, fps=24.0), settings()).frames
    assert torch.equal(frames[::3], clip) and len(frames) == 10
