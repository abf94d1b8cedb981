"""With an upscaler a video is made at the model's size and comes out at the one asked for, given frames exactly."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from minisora import deliver, fitting, tasks
from minisora.bundle import Bundle
from minisora.canvas import Condition, Shape
from minisora.cli import app
from minisora.deliver import Resampling, delivered, own_size, reduced, with_upscaler, working
from minisora.errors import UsageError
from minisora.model import Model
from minisora.upscale.files import save_upscaler
from minisora.upscale.model import Upscaler
from minisora.video import Video, fit, resize
from tests.test_canvas import bundle, picture, settings
from tests.upscale.test_model import TINY

__all__ = ["bundle"]  # a fixture

ASKED = Shape(num_frames=9, height=100, width=150, fps=8.0)


@pytest.fixture(scope="module")
def larger(bundle) -> Bundle:
    return replace(bundle, upscaler=Upscaler(TINY), sampling=replace(bundle.sampling, size=(24, 24)))


def test_it_is_made_at_the_models_own_area_and_the_aspect_asked_for(bundle, larger):
    made = working(larger, ASKED)
    assert (made.height, made.width) == (20, 29) and made.num_frames == 9
    assert made.height * made.width == pytest.approx(24 * 24, rel=0.05)
    assert working(larger, replace(ASKED, height=96, width=96)) == replace(ASKED, height=24, width=24)
    assert working(bundle, ASKED) == ASKED
    assert (own_size(larger), own_size(replace(larger, upscaler=None))) == ((96, 96), (24, 24))


def test_every_verb_delivers_the_size_asked_for(larger):
    model, clip = Model(larger), Video(picture(5, 70, 90), 8.0)
    how = {"size": (100, 150), "steps": 1}
    given = fit(clip.frames, 100, 150)[0]
    generated = model.generate("a ball", seconds=1.0, **how)
    assert generated.frames.shape == (9, 100, 150, 3)
    assert model.generate("a ball", seconds=0.5, steps=1).frames.shape == (5, 96, 96, 3)
    streamed = model.stream("a ball", seconds=1.0, **how)
    assert torch.equal(torch.cat(list(streamed.pieces)), generated.frames)
    animated = model.animate(clip.frames[0], "a ball", seconds=1.0, **how).frames
    assert torch.equal(animated[0], given[0]) and animated.shape == (9, 100, 150, 3)
    extended = model.extend(clip, "a ball", after=0.5, **how).frames
    assert torch.equal(extended[:5], given) and len(extended) == 9
    assert model.loop("a ball", seconds=1.0, **how).frames.shape == (8, 100, 150, 3)
    assert model.edit(clip, "a ball", **how).frames.shape == given.shape
    assert model.edit(clip, "a ball", source="a cube", **how).frames.shape == given.shape
    inpainted = model.inpaint(clip, (30, 20, 90, 80), "a ball", **how).frames
    hole = fitting.box((30, 20, 90, 80), replace(ASKED, num_frames=5))
    assert torch.equal(inpainted[:, ~hole], given[:, ~hole]) and not torch.equal(inpainted[:, hole], given[:, hole])


def test_without_a_size_a_clip_keeps_its_aspect_at_the_delivered_area(larger):
    extended = Model(larger).extend(Video(picture(5, 60, 120), 8.0), "a ball", after=0.5, steps=1)
    height, width = extended.frames.shape[1:3]
    assert height * width == pytest.approx(96 * 96, rel=0.15) and width / height == pytest.approx(2, rel=0.1)


def test_what_is_given_is_fitted_from_the_users_own_file(larger):
    """Finer than the size it is made at: the delivered frame is the file's, to the pixel."""
    own = picture(1, 96, 96)[0]
    delivered_first = Model(larger).animate(own, "a ball", seconds=0.5, steps=1).frames[0]
    assert torch.equal(delivered_first, own)


def test_a_region_holds_where_all_of_a_small_pixel_holds(larger):
    region = torch.ones(100, 150, dtype=torch.bool)
    region[40:60, 50:100] = False
    media = picture(9, 100, 150)
    (small,) = reduced(larger, [Condition(media, region=region)], ASKED)
    assert small.region is not None and small.media.shape == (9, 20, 29, 3)
    assert torch.equal(small.media, resize(media, 20, 29))
    rows, columns = torch.arange(20) * 5, torch.arange(29) * 150 / 29
    for row, top in enumerate(rows.tolist()):
        for column, left in enumerate(columns.tolist()):
            covered = region[top : top + 5, int(left) : int(left + 150 / 29) + 1]
            assert covered.all() or not small.region[row, column]
    with pytest.raises(UsageError, match="does not fit a video of 150x100"):
        reduced(larger, [Condition(picture(9, 20, 29))], ASKED)


def test_frames_are_enlarged_then_resampled(larger):
    made = picture(9, 20, 29)
    frames = torch.cat(list(delivered(larger, made.split([1, 4, 4]), ASKED)))
    assert larger.upscaler is not None
    assert torch.equal(frames, resize(torch.cat(list(larger.upscaler.stream([made]))), 100, 150))
    as_made = replace(ASKED, height=24, width=24)
    assert torch.equal(next(delivered(larger, [picture(9, 24, 24)], as_made)), picture(9, 24, 24))


def test_memory_is_refused_by_the_delivered_size(larger):
    with pytest.raises(UsageError, match="GiB of memory"):
        fitting.shape_of(larger, 2.0, (2_000_000, 2_000_000), None)
    small, large = (replace(ASKED, height=side, width=side) for side in (96, 960))
    grown = fitting.memory_bytes(larger, large) - fitting.memory_bytes(larger, small)
    assert grown == pytest.approx((960**2 - 96**2) * (2 * 9 * 3 + 4 * 3 * 4 * 4), rel=0.01)
    assert fitting.in_parts(larger, large, "made small first") == []


def test_which_upscaler(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(deliver, "EMBEDDED", tmp_path / "nothing")
    assert with_upscaler(bundle, None)[0].upscaler is None  # until there is one to ship
    save_upscaler(Upscaler(TINY), tmp_path, {})
    monkeypatch.setattr(deliver, "EMBEDDED", tmp_path)
    plain, notes = with_upscaler(bundle, None)
    assert plain.upscaler == Resampling() and notes == [
        "tiny has no upscaler: what it makes is enlarged by plain resampling"
    ]
    assert with_upscaler(plain, "none")[0].upscaler is None
    own, notes = with_upscaler(replace(bundle, trained={"upscaler": str(tmp_path)}), None)
    assert isinstance(own.upscaler, Upscaler) and own.upscaler.config == TINY and notes == []
    with pytest.raises(UsageError, match="no upscaler 'other'"):
        with_upscaler(bundle, "other")


def test_a_name_that_means_nothing_is_refused_before_the_model_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr("minisora.load", lambda name: pytest.fail("loaded"))
    told = CliRunner().invoke(app, ["image", "a red ball", "--upscale", "other", "-o", str(tmp_path / "out.png")])
    assert told.exit_code == 2 and "there is no upscaler 'other'" in told.output


def test_plain_resampling_is_a_resize_of_every_piece(bundle):
    pieces = list(Resampling().stream(picture(5, 8, 12).split([1, 4])))
    assert torch.equal(torch.cat(pieces), resize(picture(5, 8, 12), 32, 48))
    plain = replace(bundle, upscaler=Resampling())
    assert tasks.generate(plain, "a ball", ASKED, settings()).frames.shape == (9, 100, 150, 3)
