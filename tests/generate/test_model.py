"""The verbs as users call them: files and videos of any size and fps are fitted and kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image

from minisora.errors import UsageError
from minisora.generate.frames import Excerpt, Joined, Sampling
from minisora.generate.model import Model
from minisora.generate.plan import Work
from minisora.generate.request import Request
from minisora.generate.schedule import Part
from minisora.generate.verbs import (
    Animate,
    Connect,
    Edit,
    Extend,
    Generate,
    Inpaint,
    Interpolate,
    Loop,
    Outpaint,
)
from minisora.progress import Event
from minisora.video import Video, read_video, resize
from tests.helpers.tiny import bundle, picture

__all__ = ["bundle"]  # a fixture

FEW = {"steps": 2, "guidance": 1.0, "seed": 3}


@pytest.fixture
def model(bundle) -> Model:
    return Model(replace(bundle, sampling=replace(bundle.sampling, size=(32, 32), window=4, context=1)))


def clip(frames: int, height: int = 32, width: int = 32, fps: float = 8.0, seed: int = 1) -> Video:
    return Video(picture(frames, height, width, seed=seed), fps)


def test_a_clip_of_another_size_and_rate_is_fitted(model, tmp_path):
    source = clip(9, 64, 64, fps=16.0)
    source.save(tmp_path / "clip.mkv")
    for given in (source, tmp_path / "clip.mkv"):
        video = model.extend(given, "a ball", after=0.5, **FEW)
        assert video.fps == 8.0 and video.frames.shape == (9, 32, 32, 3)
        assert torch.equal(video.frames[:5], resize(source.frames[::2], 32, 32))


def notes(model: Model, request: Request) -> tuple[str, ...]:
    return model.run(request).notes


def test_extend_both_ways(model):
    given = clip(6)
    video = model.extend(given, "a ball", before=1.0, after=1.5, **FEW)
    assert len(video.frames) == 8 + 6 + 12 and torch.equal(video.frames[8:14], given.frames)
    with pytest.raises(UsageError, match="say how much to add: after SECONDS, before SECONDS, or both"):
        model.extend(given, "a ball")
    for nothing in ({"after": 0.05}, {"before": 0.01}):
        with pytest.raises(UsageError, match="are no frame at 8 fps"):
            model.extend(given, "a ball", **nothing)
    for odd in (float("inf"), float("nan"), -1.0):
        with pytest.raises(UsageError, match=f"after {odd:g}: give 0 to"):
            model.extend(given, "a ball", after=odd)


def test_a_clip_may_be_extended_at_its_own_rate(model):
    given = clip(6, fps=16.0)
    result = model.run(Extend(given, "a ball", after=0.5, fps=16.0, **FEW))
    video = result.video
    assert video.fps == 16.0 and len(video.frames) == 14 and torch.equal(video.frames[:6], given.frames)
    assert result.notes == ()


def test_what_was_fitted_is_said(model, tmp_path):
    assert notes(model, Extend(clip(9, 64, 48, fps=16.0), "a ball", after=0.5, size=(32, 32), **FEW)) == (
        "the clip (48x64) was fitted to 32x32; 25% of the picture is cut away",
        "the clip (16 fps) was brought to 8 fps",
    )
    assert notes(model, Connect(clip(5), clip(4, 64, 32), "a ball", seconds=1.0, **FEW)) == (
        "the second clip (32x64) was fitted to 32x32; 50% of the picture is cut away",
    )
    Image.fromarray(picture(1, 64, 64)[0].numpy()).save(tmp_path / "photo.png")
    photo = tmp_path / "photo.png"
    assert notes(model, Animate(photo, "a ball", seconds=0.5, **FEW)) == (f"{photo} (64x64) was fitted to 32x32",)
    assert notes(model, Outpaint(clip(5), "a ball", to=(40, 51), **FEW)) == ()


def test_a_preview_is_made_large_at_the_rate_that_is_asked_for(model):
    small = clip(9)
    at_twice = model.generate("a ball", seconds=1.0, fps=16.0, preview=small, strength=0.0, **FEW)
    assert torch.equal(at_twice.frames[::2], small.frames)


@pytest.mark.parametrize("verb", ["outpaint", "extend", "edit", "generate", "interpolate"])
def test_what_no_memory_holds_is_refused_before_it_is_asked_for(model, verb):
    size = (100_000, 100_000)
    with pytest.raises(UsageError, match="would need"):
        if verb == "generate":
            model.generate("a ball", size=size)
        elif verb == "outpaint":
            model.outpaint(clip(5), "a ball", to=size)
        elif verb == "extend":
            model.extend(clip(5), "a ball", after=1.0, size=size)
        else:
            getattr(model, verb)(clip(5), "a ball", size=size)


def test_a_prompt_of_moments_that_the_video_does_not_have_is_refused(model):
    with pytest.raises(UsageError, match='says "it bounces" from 4 s on, and the video ends at 2 s'):
        model.generate("0-4s: a ball | 4s-: it bounces", seconds=2.0, **FEW)
    for one in (lambda told: model.loop(told, seconds=1.0), lambda told: model.edit(clip(17), told, source="a cube")):
        with pytest.raises(UsageError, match="does not change over time"):
            one("0-0.5s: a ball | 0.5s-: two balls")
    with pytest.raises(UsageError, match="too long"):
        model.stream(Generate(f"0-1s: a ball | 1s-: {'a ball ' * 600}", seconds=4.0))


def test_the_way_back_of_a_loop_is_told_what_is_said_of_it(model):
    plan = Loop("0-3s: a ball | 3s-: two balls", clip=clip(17), seconds=2.0, **FEW).plan(model.bundle)
    held = 1 + model.bundle.sampling.context * 4
    assert isinstance(plan.frames, Joined)
    back = plan.frames.parts[1]
    assert isinstance(back, Excerpt)
    assert back.sampling.prompt.parts == (Part(0.0, "a ball"), Part(3 - (17 - held) / 8, "two balls"))


def test_connect_fits_the_second_to_the_first(model):
    one, other = clip(5), clip(4, 64, 32, seed=2)
    video = model.connect(one, other, "a ball", seconds=1.0, **FEW)
    assert len(video.frames) == 5 + 8 + 4 and torch.equal(video.frames[:5], one.frames)
    assert torch.equal(video.frames[-4:], other.frames[:, 16:48])


def test_loops(model):
    for nothing in ({"seconds": 0.05}, {"seconds": 0.05, "clip": clip(5)}):
        with pytest.raises(UsageError, match=r"does not close|hold no frame"):
            model.loop("a ball", **nothing)
    assert len(model.loop("a ball", seconds=1.0, **FEW).frames) == 8
    given = clip(5)
    video = model.loop("a ball", clip=given, seconds=1.0, **FEW)
    assert len(video.frames) == 13 and torch.equal(video.frames[:5], given.frames)
    with pytest.raises(UsageError, match="multiple of 4 frames, at most 16"):
        model.loop("a ball", seconds=30.0, **FEW)


def test_edit_with_and_without_what_it_shows_now(model):
    given = clip(5)
    for source in (None, "a red ball"):
        assert model.edit(given, "a blue ball", source=source, **FEW).frames.shape == given.frames.shape
    assert torch.equal(model.edit(given, "a blue ball", source="a red ball", strength=0.0).frames, given.frames)
    few = {**FEW, "steps": 1}
    assert not torch.equal(
        model.edit(given, "a blue ball", source="a red ball", strength=0.1, **few).frames, given.frames
    )
    with pytest.raises(UsageError, match=r"source draws new noise .* as euler alone can: leave out sampler"):
        model.edit(given, "a blue ball", source="a red ball", sampler="heun")
    with pytest.raises(UsageError, match=r"takes 13 frames at most, not 17\. Cut the clip"):
        model.edit(clip(17), "a blue ball", source="a red ball")
    for strength in (-0.1, 1.5, float("nan")):
        with pytest.raises(UsageError, match=rf"strength {strength:g}: give 0 \(keep all\) to 1"):
            model.edit(given, "a blue ball", strength=strength)


def test_inpaint_and_outpaint_keep_the_rest(model):
    given = clip(5)
    hole = torch.zeros(32, 32, dtype=torch.bool)
    hole[4:20, 8:24] = True
    parts = (
        {"box": (8, 4, 16, 16)},
        {"mask": hole},
        {"mask": Video(255 * hole[None, :, :, None].expand(1, 32, 32, 3).byte(), 1.0)},
    )
    made = [model.inpaint(given, "a ball", **part, **FEW).frames for part in parts]
    for frames in made:
        assert torch.equal(frames[:, ~hole], given.frames[:, ~hole]) and not torch.equal(frames, given.frames)
        assert torch.equal(frames, made[0])
    with pytest.raises(UsageError, match="box 8,4,32,16 does not lie inside the clip, 32x32"):
        model.inpaint(given, "a ball", box=(8, 4, 32, 16))
    with pytest.raises(UsageError, match=r"the mask is 16x16, the clip 32x32\. Make them equal"):
        model.inpaint(given, "a ball", mask=torch.ones(16, 16, dtype=torch.bool))
    with pytest.raises(UsageError, match="the region is the whole frame"):
        model.inpaint(given, "a ball", mask=torch.ones(32, 32, dtype=torch.bool))
    for several in ({}, {"box": (8, 4, 8, 8), "mask": hole}, {"box": (8, 4, 8, 8), "colour": (0, 0, 0)}):
        with pytest.raises(UsageError, match="say which part: box X,Y,WIDTH,HEIGHT, mask FILE or colour R,G,B"):
            model.inpaint(given, "a ball", **several)
    frames = model.outpaint(given, "a ball", to=(40, 51), **FEW).frames
    assert frames.shape == (5, 40, 51, 3) and torch.equal(frames[:, 4:36, 9:41], given.frames)
    frames = model.outpaint(given, "a ball", to=(40, 51), corner=(1, 7), **FEW).frames
    assert torch.equal(frames[:, 7:39, 1:33], given.frames)
    for outside in ({"to": (32, 32)}, {"to": (40, 40), "corner": (9, 0)}, {"to": (40, 40), "corner": (0, 9)}):
        with pytest.raises(UsageError, match="larger frame"):
            model.outpaint(given, "a ball", **outside)


def test_a_colour_names_what_is_ever_near_it(model):
    given = clip(5)
    frames = torch.full_like(given.frames, 200)
    frames[2, 4:20, 8:24] = torch.tensor([250, 30, 10], dtype=torch.uint8)
    hole = torch.zeros(32, 32, dtype=torch.bool)
    hole[4:20, 8:24] = True
    made = model.inpaint(Video(frames, 8.0), "a ball", colour=(255, 0, 0), **FEW).frames
    assert torch.equal(made[:, ~hole], frames[:, ~hole]) and not torch.equal(made[0, hole], frames[0, hole])
    with pytest.raises(UsageError, match="colour 0,0,255: no pixel of the clip is within 60 of it"):
        model.inpaint(Video(frames, 8.0), "a ball", colour=(0, 0, 255))


def test_interpolate_keeps_the_rate_of_the_file_times_n(model):
    given = clip(4, fps=5.0)
    video = model.interpolate(given, "a ball", times=3, **FEW)
    assert video.fps == 15.0 and torch.equal(video.frames[::3], given.frames)
    with pytest.raises(UsageError, match="the clip has one frame, and nothing lies between"):
        model.interpolate(clip(1), "a ball")


def test_pictures_at_several_moments(model):
    first, last = picture(1, 32, 32)[0], picture(1, 32, 32, seed=2)[0]
    video = model.animate(first, "a ball", at={1.0: last}, seconds=1.0, **FEW)
    assert torch.equal(video.frames[0], first) and torch.equal(video.frames[8], last) and len(video.frames) == 9
    with pytest.raises(UsageError, match=r"at 1.5: give a moment above 0, within 1 s"):
        model.animate(first, "a ball", at={1.5: last}, seconds=1.0)
    with pytest.raises(UsageError, match=r"the picture at 50 s: the video's last frame is at .* s. Ask for more"):
        model.animate(first, "a ball", at={50.0: last})
    with pytest.raises(UsageError, match=r"at 0: give a moment above 0, within 1 s"):
        model.animate(first, "a ball", at={0: last}, seconds=1.0)
    with pytest.raises(UsageError, match="overlap"):
        model.animate(first, "a ball", at={0.01: last}, seconds=1.0)


def test_a_long_video_goes_to_the_file_as_it_is_made(model, tmp_path):
    how = {**FEW, "seed": 5}
    asked = Generate("0-2s: a ball | 2s-: two balls", seconds=4.0, **how)
    assert (
        Work.of(model.bundle, asked).is_long
        and not Work.of(model.bundle, replace(asked, seconds=1.0, prompt="a ball")).is_long
    )
    stream = model.stream(asked).video
    stream.save(tmp_path / "long.mkv")
    whole = model.run(asked).video.frames
    assert stream.made == 33 and torch.equal(read_video(tmp_path / "long.mkv").frames, whole)


def test_an_interrupted_stream_keeps_what_is_made(model, tmp_path):
    def interrupt(event: Event) -> None:
        if event.done > event.total // 2:
            raise KeyboardInterrupt

    def at_once(event: Event) -> None:
        raise KeyboardInterrupt

    asked = Generate("a ball", seconds=4.0, **FEW)
    stream = model.stream(asked, on_event=interrupt).video
    stream.save(tmp_path / "part.mkv")
    assert 0 < stream.made < 33 and len(read_video(tmp_path / "part.mkv").frames) == stream.made
    stream = model.stream(asked, on_event=at_once).video
    with pytest.raises(KeyboardInterrupt):
        stream.save(tmp_path / "none.mkv")
    assert not (tmp_path / "none.mkv").exists()


@pytest.mark.parametrize("verb", ["extend", "connect", "loop", "edit", "inpaint", "outpaint", "interpolate"])
def test_any_verb_can_be_streamed(model, verb):
    """With notes, and with the same frames as in one go; long clips are made window by window."""
    given = clip(21, 64, 64, seed=3)
    asked = {
        "extend": lambda: Extend(given, "a ball", before=1.0, after=1.0, **FEW),
        "connect": lambda: Connect(given, given, "a ball", seconds=0.5, **FEW),
        "loop": lambda: Loop("a ball", clip=given, seconds=0.5, **FEW),
        "edit": lambda: Edit(given, "a ball", strength=0.5, **FEW),
        "inpaint": lambda: Inpaint(given, "a ball", box=(2, 2, 30, 30), **FEW),
        "outpaint": lambda: Outpaint(given, "a ball", to=(48, 48), **FEW),
        "interpolate": lambda: Interpolate(given, "a ball", **FEW),
    }[verb]()
    stream, whole = model.stream(asked), model.run(asked)
    pieces = list(stream.video.pieces)
    assert len(pieces) > 1 and torch.equal(torch.cat(pieces), whole.video.frames)
    assert stream.video.num_frames == len(whole.video.frames) and stream.notes == whole.notes
    assert list(stream.timings) == list(whole.timings)


def test_a_storyboard_keeps_its_keyframes(model, tmp_path):
    Image.fromarray(picture(1, 32, 32)[0].numpy()).save(tmp_path / "a.png")
    (tmp_path / "film.yaml").write_text(
        "shots:\n"
        "  - {prompt: a ball, seconds: 1, keyframes: {0.5: a.png}}\n"
        "  - {prompt: from the left, seconds: 1, same_scene: true}\n"
        "  - {prompt: at night, seconds: 0.5, keyframes: {0: a.png}}\n"
    )
    frames = model.storyboard(tmp_path / "film.yaml", **FEW).frames
    assert len(frames) == 17 + 5
    assert torch.equal(frames[4], picture(1, 32, 32)[0]) and torch.equal(frames[17], picture(1, 32, 32)[0])
    assert model.storyboard(tmp_path / "film.yaml", size=(24, 40), **FEW).frames.shape[1:3] == (24, 40)


def test_a_storyboard_has_its_own_size_and_is_refused_before_any_of_it_is_made(model, tmp_path, monkeypatch):
    for name, seed in (("a.png", 1), ("b.png", 2)):
        Image.fromarray(picture(1, 32, 32, seed=seed)[0].numpy()).save(tmp_path / name)
    film = tmp_path / "film.yaml"
    film.write_text("size: 40x24\nshots: [{prompt: a ball, seconds: 0.5}]")
    assert model.storyboard(film, **FEW).frames.shape[1:3] == (24, 40)
    monkeypatch.setattr(Sampling, "__call__", lambda *_: pytest.fail("a scene was made"))
    first = "shots:\n  - {prompt: a ball, seconds: 1, keyframes: {1: a.png}}\n"
    for second, says in {
        "  - {prompt: further, seconds: 1, same_scene: true, keyframes: {0: b.png}}": "at one moment",
        "  - {prompt: further, seconds: 1, same_scene: true, keyframes: {0.03: b.png}}": "overlap",
        "  - {prompt: further, seconds: 1, keyframes: {0: none.png}}": "there is no file",
        f"  - {{prompt: {'a ball ' * 600}, seconds: 1}}": "too long",
        "  - {prompt: further, seconds: 900000}": "would need",
    }.items():
        film.write_text(first + second)
        with pytest.raises(UsageError, match=says):
            model.storyboard(film, **FEW)
