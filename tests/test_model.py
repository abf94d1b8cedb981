"""The verbs as users call them: files and videos of any size and rate go in, are fitted, and are kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image

from minisora.errors import UsageError
from minisora.model import Model
from minisora.video import Video, read_video, resize
from tests.test_canvas import bundle, picture

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


def test_extend_both_ways(model):
    given = clip(6)
    video = model.extend(given, "a ball", before=1.0, after=1.5, **FEW)
    assert len(video.frames) == 8 + 6 + 12 and torch.equal(video.frames[8:14], given.frames)
    with pytest.raises(UsageError, match="adds nothing"):
        model.extend(given, "a ball")


def test_connect_fits_the_second_to_the_first(model):
    one, other = clip(5), clip(4, 64, 32, seed=2)
    video = model.connect(one, other, "a ball", seconds=1.0, **FEW)
    assert len(video.frames) == 5 + 8 + 4 and torch.equal(video.frames[:5], one.frames)
    assert torch.equal(video.frames[-4:], other.frames[:, 16:48])


def test_loops(model):
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
    for strength in (-0.1, 1.5, float("nan")):
        with pytest.raises(UsageError, match="0 \\(keep all\\) to 1"):
            model.edit(given, "a blue ball", strength=strength)


def test_inpaint_and_outpaint_keep_the_rest(model):
    given = clip(5)
    frames = model.inpaint(given, (8, 4, 24, 20), "a ball", **FEW).frames
    hole = torch.zeros(32, 32, dtype=torch.bool)
    hole[4:20, 8:24] = True
    assert torch.equal(frames[:, ~hole], given.frames[:, ~hole]) and not torch.equal(frames, given.frames)
    with pytest.raises(UsageError, match="does not lie inside 32x32"):
        model.inpaint(given, (8, 4, 40, 20), "a ball")
    with pytest.raises(UsageError, match="mask of 16x16"):
        model.inpaint(given, torch.ones(16, 16, dtype=torch.bool), "a ball")
    frames = model.outpaint(given, "a ball", size=(40, 51), **FEW).frames
    assert frames.shape == (5, 40, 51, 3) and torch.equal(frames[:, 4:36, 9:41], given.frames)
    with pytest.raises(UsageError, match="larger frame"):
        model.outpaint(given, "a ball", size=(32, 32))


def test_interpolate_keeps_the_rate_of_the_file_times_n(model):
    given = clip(4, fps=5.0)
    video = model.interpolate(given, "a ball", times=3, **FEW)
    assert video.fps == 15.0 and torch.equal(video.frames[::3], given.frames)


def test_pictures_at_several_moments(model):
    first, last = picture(1, 32, 32)[0], picture(1, 32, 32, seed=2)[0]
    video = model.animate({0.0: first, 1.0: last}, "a ball", seconds=1.0, **FEW)
    assert torch.equal(video.frames[0], first) and torch.equal(video.frames[8], last) and len(video.frames) == 9


def test_a_long_video_goes_to_the_file_as_it_is_made(model, tmp_path):
    how = {**FEW, "seed": 5}
    stream = model.stream("0-2s: a ball | 2s-: two balls", seconds=4.0, **how)
    assert not model.sees_at_once(4.0, None)
    stream.save(tmp_path / "long.mkv")
    whole = model.generate("0-2s: a ball | 2s-: two balls", seconds=4.0, **how).frames
    assert stream.made == 33 and torch.equal(read_video(tmp_path / "long.mkv").frames, whole)


def test_an_interrupted_stream_keeps_what_is_made(model, tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    stream = model.stream("a ball", seconds=4.0, on_step=interrupt, **FEW)
    stream.save(tmp_path / "part.mkv")
    assert 0 < stream.made < 33 and len(read_video(tmp_path / "part.mkv").frames) == stream.made
    stream = model.stream("a ball", seconds=4.0, on_step=lambda *_: interrupt(1, 0), **FEW)
    with pytest.raises(KeyboardInterrupt):
        stream.save(tmp_path / "none.mkv")
    assert not (tmp_path / "none.mkv").exists()


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
