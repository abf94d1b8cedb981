"""With an upscaler: generated at the model's size, delivered as asked for, known frames exact."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import torch
from typer.testing import CliRunner

import minisora
from minisora.bundle import Bundle
from minisora.cli import app
from minisora.errors import UsageError
from minisora.generate import deliver, fitting
from minisora.generate.canvas import Condition, Shape
from minisora.generate.deliver import Resampling, delivered, own_size, reduced, side_seen, with_upscaler, working
from minisora.generate.frames import Sampling, looped
from minisora.generate.model import Model
from minisora.generate.schedule import Schedule
from minisora.generate.verbs import Generate, Image, Reverse
from minisora.progress import Watch
from minisora.recipes.transformer import SAMPLING
from minisora.sources import JOBS
from minisora.upscale.files import save_upscaler
from minisora.upscale.model import Upscaler
from minisora.video import Video, fit, resize
from tests.helpers.tiny import UPSCALER as TINY
from tests.helpers.tiny import bundle, picture, sampled, settings

__all__ = ["bundle"]  # a fixture

BALL = Schedule.parse("a ball")
ASKED = Shape(num_frames=9, height=100, width=150, fps=8.0)


@pytest.fixture(scope="module")
def larger(bundle) -> Bundle:
    return replace(bundle, upscaler=Upscaler(TINY), sampling=replace(bundle.sampling, size=(24, 24)))


def made_at(bundle: Bundle, height: int, width: int) -> tuple[int, int]:
    made = working(bundle, replace(ASKED, height=height, width=width))
    assert made.num_frames == ASKED.num_frames and made.fps == ASKED.fps
    return made.height, made.width


def test_frames_as_large_as_in_training_are_made_at_the_delivered_size_over_the_factor(bundle):
    """The sizes of sources.JOBS, as the model's own size is that of the recipes."""
    recipes = replace(bundle, upscaler=Upscaler(TINY), sampling=SAMPLING)
    trained = {(height, width) for _, height, width, _, _ in JOBS.values()}
    assert len(trained) == 4
    for height, width in trained:
        assert made_at(recipes, 4 * height, 4 * width) == (height, width)
        assert made_at(recipes, 4 * height - 2, 4 * width + 6) == (round(height - 0.5), round(width + 1.5))
    assert working(bundle, ASKED) == ASKED
    assert (own_size(recipes), own_size(replace(recipes, upscaler=None))) == ((256, 256), (64, 64))


def test_others_are_made_at_the_nearest_area_that_training_had(bundle):
    recipes = replace(bundle, upscaler=Upscaler(TINY), sampling=SAMPLING)
    assert made_at(recipes, 64, 64) == made_at(recipes, 128, 128) == (64, 64)
    assert made_at(recipes, 128, 224) == (48, 85)
    assert made_at(recipes, 512, 512) == made_at(recipes, 2048, 2048) == (96, 96)
    assert made_at(recipes, 1080, 1920) == (63, 112) and made_at(recipes, 1920, 1080) == (112, 63)
    sides = [made_at(recipes, side, side)[0] for side in range(40, 2000, 10)]
    assert all(one <= 1.06 * other for one, other in pairwise(sides)) and max(sides) <= 101  # they rise, but for NEAR
    narrow = replace(recipes, sampling=replace(SAMPLING, tile=5))
    seen = side_seen(narrow)
    assert 64 < seen < 96
    assert made_at(narrow, 2048, 2048) == made_at(narrow, 4 * seen + 8, 4 * seen + 8) == (seen, seen)


def test_every_verb_delivers_the_size_asked_for(larger):
    model, clip = Model(larger), Video(picture(5, 70, 90), 8.0)
    how = {"size": (100, 150), "steps": 1}
    given = fit(clip.frames, 100, 150)[0]
    generated = model.generate("a ball", seconds=1.0, **how)
    assert generated.frames.shape == (9, 100, 150, 3)
    assert model.generate("a ball", seconds=0.5, steps=1).frames.shape == (5, 96, 96, 3)
    streamed = model.stream(Generate("a ball", seconds=1.0, **how)).video
    assert torch.equal(torch.cat(list(streamed.pieces)), generated.frames)
    animated = model.animate(clip.frames[0], "a ball", seconds=1.0, **how).frames
    assert torch.equal(animated[0], given[0]) and animated.shape == (9, 100, 150, 3)
    extended = model.extend(clip, "a ball", after=0.5, **how).frames
    assert torch.equal(extended[:5], given) and len(extended) == 9
    assert model.loop("a ball", seconds=1.0, **how).frames.shape == (8, 100, 150, 3)
    assert model.edit(clip, "a ball", **how).frames.shape == given.shape
    assert model.edit(clip, "a ball", source="a cube", **how).frames.shape == given.shape
    inpainted = model.inpaint(clip, "a ball", box=(18, 14, 36, 42), **how).frames
    rows = (torch.arange(100) + 8.5) * 70 / 117  # of the clip: 117 rows cover the width, 8 are cut away above
    hole = torch.zeros(100, 150, dtype=torch.bool)
    hole[(rows > 14) & (rows < 56), 30:90] = True
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
    assert small.region is not None and small.media.shape == (9, 25, 38, 3)
    assert torch.equal(small.media, resize(media, 25, 38))
    rows, columns = torch.arange(25) * 4, torch.arange(38) * 150 / 38
    for row, top in enumerate(rows.tolist()):
        for column, left in enumerate(columns.tolist()):
            covered = region[top : top + 4, int(left) : int(left + 150 / 38) + 1]
            assert covered.all() or not small.region[row, column]
    with pytest.raises(UsageError, match="does not fit a video of 150x100"):
        reduced(larger, [Condition(picture(9, 20, 29))], ASKED)


def test_an_enlarged_loop_has_no_seam(bundle):
    """Enlarged as one round of many: with the frames that come before and after."""
    torch.manual_seed(0)
    upscaler = Upscaler(TINY).requires_grad_(False)
    for parameter in upscaler.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    factor, small = upscaler.factor, Shape(num_frames=8, height=24, width=24, fps=8.0)
    shape = replace(small, height=factor * 24, width=factor * 24)
    large = replace(bundle, upscaler=upscaler, sampling=replace(bundle.sampling, size=(24, 24)))
    made = sampled(partial(looped, bundle, small, "a ball", settings()))
    rounds = upscaler.upscale(torch.cat([made] * 3))
    assert torch.equal(sampled(partial(looped, large, shape, "a ball", settings())), rounds[8:16])


def test_frames_are_enlarged_then_resampled(larger):
    made, watch = picture(9, 25, 38), Watch()
    frames = torch.cat(list(delivered(larger, made.split([1, 4, 4]), ASKED, watch)))
    assert larger.upscaler is not None
    assert torch.equal(frames, resize(torch.cat(list(larger.upscaler.stream([made]))), 100, 150))
    assert list(watch.seconds) == ["upscale"]
    as_made = replace(ASKED, height=24, width=24)
    assert torch.equal(next(delivered(larger, [picture(9, 24, 24)], as_made, watch)), picture(9, 24, 24))


def test_the_seconds_of_delivery_are_those_of_no_other_stage(larger):
    """Each piece takes a while to be made, and each to be enlarged."""
    watch = Watch()

    class Slow(Resampling):
        def stream(self, pieces):
            for piece in super().stream(pieces):
                time.sleep(0.03)
                yield piece

    def made():
        for _ in range(3):
            with watch.timed("decode"):
                time.sleep(0.1)
            yield picture(1, 24, 24)

    began = time.perf_counter()
    shape = replace(ASKED, num_frames=3, height=96, width=96)
    assert sum(len(piece) for piece in delivered(replace(larger, upscaler=Slow()), made(), shape, watch)) == 3
    assert watch.seconds["decode"] >= 0.3 and 0.09 <= watch.seconds["upscale"] <= time.perf_counter() - began - 0.3
    whole = Watch()
    sampled(Sampling(larger, ASKED, BALL, settings()), whole)
    assert list(whole.seconds) == ["canvas", "text", "denoise", "decode", "upscale"]


def test_memory_is_refused_by_the_delivered_size(larger):
    said = r"2 s of 2000000x1000000 at 8 fps would need .* GiB of memory and this machine has .*smaller size"
    for make in (Model(larger).run, Model(larger).stream):
        with pytest.raises(UsageError, match=said) as refused:
            make(Generate("a ball", seconds=2.0, size=(1_000_000, 2_000_000)))
        assert "\n" not in str(refused.value)
    small, large = (replace(ASKED, height=side, width=side) for side in (480, 960))  # made at one size
    grown = fitting.memory_bytes(larger, large) - fitting.memory_bytes(larger, small)
    assert grown == pytest.approx((960**2 - 480**2) * (2 * 9 * 3 + 4 * 3 * 4 * 4), rel=0.01)
    assert fitting.in_parts(larger, large) == []


def test_which_upscaler(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(deliver, "EMBEDDED", tmp_path / "nothing")
    assert with_upscaler(bundle, None).upscaler is None  # until there is one to ship
    save_upscaler(Upscaler(TINY), tmp_path, {})
    monkeypatch.setattr(deliver, "EMBEDDED", tmp_path)
    plain = with_upscaler(bundle, None)
    assert plain.upscaler == Resampling()
    assert with_upscaler(plain, "none").upscaler is None
    own = with_upscaler(replace(bundle, trained={"upscaler": str(tmp_path)}), None)
    assert isinstance(own.upscaler, Upscaler) and own.upscaler.config == TINY
    with pytest.raises(UsageError, match="no upscaler 'other'"):
        with_upscaler(bundle, "other")


def test_a_bundle_without_an_upscaler_is_enlarged_by_plain_resampling_and_says_so(bundle, tmp_path, monkeypatch):
    save_upscaler(Upscaler(TINY), tmp_path / "upscaler", {})
    monkeypatch.setattr(deliver, "EMBEDDED", tmp_path / "upscaler")
    monkeypatch.setattr("minisora.bundle.load", lambda name, **_: bundle)
    said = "tiny has no upscaler: what it makes is enlarged by plain resampling"
    model, asked = minisora.load("tiny"), Image("a ball", size=(96, 96), steps=1)
    assert model.run(asked).notes == (said,)
    assert model.run(asked).notes == (said,)  # of this call alone
    assert model.stream(asked).notes == (said,)
    assert model.run(Reverse(Video(picture(5, 32, 32), 8.0))).notes == ()  # nothing is enlarged
    told = CliRunner().invoke(app, ["image", "a ball", "--steps", "1", "-o", str(tmp_path / "out.png")])
    assert told.exit_code == 0 and told.stderr.splitlines() == [f"note: {said}"]
    for none, upscaler in (("none", None), (str(tmp_path / "upscaler"), Upscaler)):
        model = minisora.load("tiny", upscale=none)
        assert model.run(asked).notes == () and (upscaler is None or isinstance(model.bundle.upscaler, upscaler))


def test_a_name_that_means_nothing_is_refused_before_the_model_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr("minisora.bundle.load", lambda name, **_: pytest.fail("loaded"))
    told = CliRunner().invoke(app, ["image", "a red ball", "--upscale", "other", "-o", str(tmp_path / "out.png")])
    assert told.exit_code == 2 and "there is no upscaler 'other'" in told.output
    with pytest.raises(
        UsageError, match=r"no upscaler 'other'\. Give .*the folder that `minisora train toybox-upscale` left, or none"
    ):
        minisora.load(upscale="other")


def test_plain_resampling_is_a_resize_of_every_piece(bundle):
    pieces = list(Resampling().stream(picture(5, 8, 12).split([1, 4])))
    assert torch.equal(torch.cat(pieces), resize(picture(5, 8, 12), 32, 48))
    plain = replace(bundle, upscaler=Resampling())
    assert sampled(Sampling(plain, ASKED, BALL, settings())).shape == (9, 100, 150, 3)
