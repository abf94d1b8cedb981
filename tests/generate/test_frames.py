"""Each way to frames keeps what it was given, to the pixel, at odd sizes and lengths too."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod

import pytest
import torch
from torch import Tensor

from minisora.bundle import Bundle
from minisora.errors import UsageError
from minisora.generate import frames as ways
from minisora.generate.canvas import Condition, Shape
from minisora.generate.fitting import size_for
from minisora.generate.frames import (
    ENLARGED_NOISE,
    SOURCE_GUIDANCE,
    WARM_UP,
    Excerpt,
    Joined,
    Sampling,
    closing,
    edited,
    enlarged,
    looped,
    to_whole_latents,
)
from minisora.generate.model import Model
from minisora.generate.plan import Stopped
from minisora.generate.regions import filled, inpainting
from minisora.generate.schedule import Schedule
from minisora.generate.verbs import Edit, Extend, Generate, Interpolate, Request
from minisora.generate.window import decode
from minisora.progress import Event, Watch
from minisora.video import Video, resize
from tests.helpers.tiny import bundle, picture, sampled, settings

__all__ = ["bundle"]  # a fixture

ODD = Shape(num_frames=23, height=31, width=33, fps=8.0)
FIVE = Shape(num_frames=5, height=32, width=48, fps=8.0)
BALL = Schedule.parse("a ball")


def asked(bundle: Bundle, shape: Shape, *conditions: Condition) -> Sampling:
    return Sampling(bundle, shape, BALL, settings(), conditions)


def made(bundle: Bundle, request: Request) -> Tensor:
    return Model(bundle).run(request).video.frames


@pytest.mark.parametrize(("length", "at"), [(5, 0), (6, 0), (7, 16), (3, 9)])
def test_extend_keeps_the_clip(bundle, length, at):
    clip = picture(length, 31, 33)
    frames = sampled(asked(bundle, ODD, Condition(clip, at=at)))
    assert frames.shape == (23, 31, 33, 3) and torch.equal(frames[at : at + length], clip)
    before, after = at / 8, (23 - at - length) / 8
    how = {"size": (31, 33), "steps": 3, "seed": 5, "guidance": 3.0}
    same = made(bundle, Extend(Video(clip, 8.0), "a ball", before=before, after=after, **how))
    assert torch.equal(same[at : at + length], clip) and len(same) == 23


def test_a_long_extension_keeps_the_clip_too(bundle):
    short = replace(bundle, sampling=replace(bundle.sampling, window=3, context=1))
    clip = picture(6, 31, 33)
    frames = sampled(asked(short, ODD, Condition(clip, at=10)))
    assert torch.equal(frames[10:16], clip) and len(frames) == 23


def test_connect_keeps_both(bundle):
    one, other = picture(5, 31, 33, seed=1), picture(6, 31, 33, seed=2)
    frames = sampled(asked(bundle, ODD, Condition(one), Condition(other, at=17)))
    assert torch.equal(frames[:5], one) and torch.equal(frames[-6:], other) and len(frames) == 23


@pytest.mark.parametrize("window", [3, 12])
def test_the_way_back_of_a_loop_follows_the_clip(bundle, window):
    """In one piece, and where its frames come in several, of which some hold what was given."""
    bundle = replace(bundle, sampling=replace(bundle.sampling, window=window, context=1))
    clip = picture(9, 31, 33)
    around = asked(bundle, replace(ODD, num_frames=17), Condition(clip[-5:]), Condition(clip[:4], at=13))
    frames = sampled(Joined((clip, Excerpt(around, 5, 13))))
    assert torch.equal(frames[:9], clip) and len(frames) == 17
    assert torch.equal(frames[9:], sampled(around)[5:13])


def test_a_loop_is_the_same_wherever_its_circle_is_cut(bundle):
    """Decoding two rounds of the same circle gives the same frames twice, without a seam."""
    shape = Shape(num_frames=16, height=32, width=48, fps=8.0)
    latents = torch.randn(1, 4, 4, 6, 4)
    before = torch.cat([latents, latents], 1)[:, -WARM_UP:]

    def played(rounds: int) -> Tensor:
        pieces = decode(bundle, [before, *[latents] * rounds], shape, Watch(), first_alone=False)
        return torch.cat(list(pieces))[WARM_UP * 4 :]

    twice = played(2)
    torch.testing.assert_close(twice[:16].float(), twice[16:].float(), atol=1.0, rtol=0)  # rounding at .5
    assert sampled(partial(looped, bundle, shape, "a ball", settings())).shape == (16, 32, 48, 3)
    with pytest.raises(UsageError, match=r"multiple of 4.*nearest are 12 frames \(1.5 s\) and 16 frames"):
        closing(bundle, replace(shape, num_frames=15))


@pytest.mark.parametrize(("height", "width"), [(64, 96), (16, 176)])
def test_what_is_larger_than_the_network_sees_is_made_small_first(bundle, height, width):
    narrow = replace(bundle, sampling=replace(bundle.sampling, tile=2, size=(32, 32)))
    shape = Shape(num_frames=1, height=height, width=width, fps=8.0)
    told: list[Event] = []
    large = sampled(asked(narrow, shape), Watch(on_event=told.append))
    assert large.shape == (1, height, width, 3)
    done = [event.done for event in told]
    assert done == sorted(done) and done[0] == 0 and done[-1] == 3
    assert {(event.stage, event.total) for event in told} == {("denoise", 3)}
    small_height, small_width = size_for(narrow, height, width)
    small = sampled(asked(narrow, replace(shape, height=small_height, width=small_width))._sampled)
    again = sampled(enlarged(asked(narrow, shape), resize(small, height, width), ENLARGED_NOISE))
    assert torch.equal(large, again)


def test_an_edit_of_no_strength_is_the_clip(bundle):
    clip = Video(picture(6, 32, 48), 8.0)
    how = {"size": (32, 48), "steps": 3, "seed": 5}
    assert torch.equal(made(bundle, Edit(clip, "a ball", strength=0.0, **how)), clip.frames)
    start = Condition(to_whole_latents(bundle, clip.frames), noise=0.0)
    shape = Shape(num_frames=6, height=32, width=48, fps=8.0)
    assert torch.equal(sampled(asked(bundle, shape, start)), clip.frames)  # as the canvas has it too
    changed = made(bundle, Edit(clip, "a ball", strength=0.7, **how))
    assert changed.shape == clip.frames.shape and not torch.equal(changed, clip.frames)


def test_an_edit_to_the_same_words_and_guidance_changes_nothing(bundle):
    """The two velocities are one, so what is left is the way through the VAE and back."""
    clip = picture(5, 32, 48)

    def turned(into: str, steps: int) -> Tensor:
        how = settings(guidance=SOURCE_GUIDANCE, steps=steps)
        return sampled(partial(edited, bundle, clip, 8.0, ("a ball", into), 0.8, how))

    through = sampled(lambda watch: decode(bundle, [bundle.vae.encode(clip[None].float() / 127.5 - 1)], FIVE, watch))
    assert (turned("a ball", 3).float() - through.float()).abs().max() <= 1
    assert not torch.equal(turned("two cubes", 3), through)


def hole_of(height: int, width: int) -> Tensor:
    hole = torch.zeros(height, width, dtype=torch.bool)
    hole[7:20, 11:29] = True
    return hole


def test_what_is_outside_a_hole_is_kept(bundle):
    clip, hole, shape = picture(5, 31, 33), hole_of(31, 33), replace(ODD, num_frames=5)
    frames = sampled(inpainting(bundle, clip, hole, shape, BALL, settings()))
    assert torch.equal(frames[:, ~hole], clip[:, ~hole]) and not torch.equal(frames[:, hole], clip[:, hole])
    for bad, said in ((~torch.zeros_like(hole), "whole frame"), (torch.zeros_like(hole), "empty")):
        with pytest.raises(UsageError, match=said):
            inpainting(bundle, clip, bad, shape, BALL, settings())


@pytest.mark.parametrize("length", [5, 7, 8])
def test_what_a_region_gives_fills_its_latents(bundle, length, monkeypatch):
    """A last latent given in part would be made anew, beside frames that are held one by one."""
    canvases = []
    real = ways.build
    monkeypatch.setattr(ways, "build", lambda *args: canvases.append(real(*args)) or canvases[-1])
    shape, clip = replace(ODD, num_frames=length), picture(length, 31, 33)
    frames = sampled(inpainting(bundle, clip, hole_of(31, 33), shape, BALL, settings()))
    assert len(frames) == length and len(canvases[0].levels) == prod(canvases[0].grid)
    large = sampled(enlarged(asked(bundle, shape), clip, 0.7))
    assert len(large) == length and len(canvases[1].levels) == prod(canvases[1].grid)
    assert (canvases[1].levels == 0.7).all()


def test_a_preview_longer_than_the_video_is_cut_and_a_shorter_one_goes_on(bundle):
    shape = replace(ODD, num_frames=7)
    large = [sampled(enlarged(asked(bundle, shape), picture(count, 31, 33), 0.0)) for count in (7, 8, 11, 4)]
    assert all(len(frames) == 7 for frames in large)
    assert torch.equal(large[0], picture(7, 31, 33)) and torch.equal(large[2], picture(11, 31, 33)[:7])
    assert torch.equal(large[3][:4], picture(4, 31, 33))


def test_a_hole_is_filled_from_its_edges():
    hole = torch.zeros(31, 33, dtype=torch.bool)
    hole[7:20, 5:29] = True
    clip = torch.full((2, 31, 33, 3), 90, dtype=torch.uint8)
    clip[:, :, 17:] = 150
    got = filled(torch.where(hole[:, :, None], 0, clip), hole)
    assert torch.equal(got[:, ~hole], clip[:, ~hole])
    assert (got >= 90).all() and (got <= 150).all()
    assert (got[:, 7:20, 5:8] == 90).all() and (got[:, 7:20, 26:29] == 150).all()


def test_nothing_of_what_is_in_the_hole_is_seen(bundle):
    hole, clip, shape = hole_of(31, 33), picture(5, 31, 33), replace(ODD, num_frames=5)
    other = torch.where(hole[:, :, None], 255 - clip, clip)
    one, two = (sampled(inpainting(bundle, given, hole, shape, BALL, settings())) for given in (clip, other))
    assert torch.equal(one, two)


def test_ctrl_c_leaves_what_is_made(bundle):
    short = Model(replace(bundle, sampling=replace(bundle.sampling, window=4, context=1)))
    clip = picture(5, 31, 33)

    def stop(event: Event) -> None:
        if event.done > 0.6 * event.total:
            raise KeyboardInterrupt

    asked = Extend(Video(clip, 8.0), "a ball", after=4.5, size=(31, 33), steps=3)
    with pytest.raises(Stopped, match="of 41 frames") as stopped:
        short.run(asked, on_event=stop)
    result = stopped.value.result
    assert 5 < len(result.video.frames) < 41 and torch.equal(result.video.frames[:5], clip)
    assert stopped.value.num_frames == 41 and result.request == asked and "denoise" in result.timings

    def stop_at_once(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as early:
        short.run(Generate("a ball", seconds=2.0, size=(31, 33), steps=3), on_event=stop_at_once)
    assert not isinstance(early.value, Stopped)


def test_interpolate_keeps_every_given_frame(bundle):
    clip = picture(4, 31, 33)
    frames = made(bundle, Interpolate(Video(clip, 8.0), "a ball", times=3, size=(31, 33), steps=3))
    assert torch.equal(frames[::3], clip) and len(frames) == 10
