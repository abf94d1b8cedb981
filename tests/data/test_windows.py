"""Windows: cuts match the clip, some tokens are always generated, times have the right moments."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from random import Random
from statistics import fmean, stdev

import pytest
import torch
from torch import Tensor

from minisora.data.windows import StoredClip, Window, WindowConfig, draw_times, draw_window
from minisora.vae.model import VideoVAE
from minisora.worlds.clip import Caption

FPS = 8.0
FRAMES = 33
PATCH = (2, 2)
NULL = torch.full((2, 3), -1.0)
PATTERNS = [name for name, _ in WindowConfig().patterns]


def clip(num_frames: int = FRAMES) -> StoredClip:
    """Every latent holds the number of its last frame; single frames have a half added."""
    count = VideoVAE.strides.num_latents(num_frames)
    ends = torch.arange(count) * 4.0
    frames = tuple(sorted({*range(0, num_frames, 4), 6, 19} & set(range(num_frames))))
    seconds = (num_frames - 1) / FPS
    captions = (Caption("whole", 0, seconds), Caption("early", 0, seconds / 2), Caption("late", seconds / 2, seconds))
    return StoredClip(
        groups=ends[:, None, None, None].expand(count, 4, 6, 2).contiguous(),
        singles=torch.tensor(frames)[:, None, None, None].expand(len(frames), 4, 6, 2) + 0.5,
        frames=frames,
        fps=FPS,
        captions=captions,
        texts=tuple(torch.full((n + 1, 3), float(n)) for n in range(len(captions))),
        hints=torch.cat([2 * ends, 2 * torch.tensor(frames) + 1])[:, None, None, None]
        .expand(-1, 4, 6, 1)
        .to(torch.int8),
    )


def only(pattern: str, **changes: object) -> WindowConfig:
    return replace(WindowConfig(patterns=((pattern, 1.0),)), **changes)  # type: ignore[arg-type]


def windows(config: WindowConfig, count: int = 300, num_frames: int = FRAMES) -> list[Window]:
    stored = clip(num_frames)
    return [draw_window(stored, NULL, config, PATCH, Random(f"windows/{n}")) for n in range(count)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_something_is_made_and_what_is_given_is_cleaner(pattern):
    given_at_all = False
    for window in windows(only(pattern, extra_frame=0.0)):
        assert window.loss_mask.any()
        assert window.loss_mask.dtype == torch.bool and window.times.dtype == torch.float32
        assert window.times.shape == window.loss_mask.shape == (len(window.latents), 2, 3)
        assert (window.times >= 0).all() and (window.times[window.loss_mask] > 0).all() and (window.times < 1).all()
        given = window.times[~window.loss_mask]
        if len(given):
            given_at_all = True
            assert given.max() <= min(WindowConfig().most_context_noise, window.times[window.loss_mask].max())
    assert given_at_all == (pattern not in ("all", "each"))


@pytest.mark.parametrize("count", [2, 3, 5, 9])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_pattern_gives_what_it_says(pattern, count):
    config = only(pattern)
    seen = set()
    for n in range(200):
        times, loss_mask = draw_times(count, 2, 3, config, Random(n))
        rows = loss_mask.flatten(1)
        if pattern == "region":
            assert torch.equal(loss_mask, loss_mask[:1].expand_as(loss_mask)) and loss_mask.any()
            ys, xs = torch.nonzero(loss_mask[0], as_tuple=True)
            assert loss_mask[0, ys.min() : ys.max() + 1, xs.min() : xs.max() + 1].all()  # one rectangle
            continue
        assert (rows.all(1) | ~rows.any(1)).all()
        given = [i for i in range(count) if not rows[i].any()]
        seen.add(tuple(given))
        if pattern in ("all", "each"):
            assert given == []
        elif pattern == "first":
            assert given == [0]
        elif pattern == "first_k":
            assert given == list(range(len(given))) and 0 < len(given) < count
        elif pattern == "last_k":
            assert given == list(range(count - len(given), count)) and 0 < len(given) < count
        elif pattern == "ends" and count > 2:
            free = [i for i in range(count) if i not in given]
            assert free == list(range(free[0], free[-1] + 1)) and free[0] > 0 and free[-1] < count - 1
        elif pattern == "some":
            assert 0 < len(given) < count
        distinct = len(times.unique())
        assert distinct == count if pattern == "each" else distinct <= 2
    if pattern in ("first_k", "last_k"):
        assert len(seen) == count - 1


def test_latents_are_those_of_the_clip_at_the_seconds_that_are_said():
    """Every latent names its frame: windows begin anywhere.

    Time counts from the end of the first latent.
    """
    begun, kinds, extras = set(), Counter(), 0
    for window in windows(WindowConfig(extra_frame=0.5, begin_later=0.6), count=1500):
        marks = window.latents[:, 0, 0, 0]
        assert (window.latents == marks[:, None, None, None]).all()
        frames, single = marks.floor(), (marks % 1 == 0.5) | (marks == 0)
        assert torch.equal(window.single, single)
        torch.testing.assert_close(window.seconds, (frames - frames[0]) / FPS)
        assert len(window.seconds) == len(window.single) == len(window.latents)
        own = int((window.seconds.diff() > 0).long().cumprod(0).sum()) + 1  # those of the window itself, in order
        begun.add(int(frames[0]))
        if len(marks) > 1:
            kinds["single" if single[0] else "group"] += 1
            assert not single[1:own].any()
        for at in range(own, len(marks)):
            extras += 1
            assert single[at] and frames[0] < frames[at] < frames[own - 1]
            assert not window.loss_mask[at].any() and not window.times[at].any()
    assert {0, 4, 8, 12, 6, 19} <= begun and min(kinds.values()) > 50 and extras > 300


def test_a_window_without_a_frame_of_its_own_holds_its_whole_first_group():
    config = only("all", begin_later=1.0, begin_with_group=1.0, extra_frame=0.0, lengths=((3, 1.0),))
    later = [window for window in windows(config) if window.latents[0, 0, 0, 0] > 0]
    assert later and all(not window.single.any() for window in later)


@pytest.mark.parametrize("num_frames", [1, 5, 9])
def test_short_clips_give_what_they_have(num_frames):
    for window in windows(WindowConfig(extra_frame=1.0), 200, num_frames):
        assert 1 <= len(window.latents) <= VideoVAE.strides.num_latents(num_frames) + 3 and window.loss_mask.any()


def test_lengths_come_in_the_shares_that_are_asked_for():
    config = WindowConfig(extra_frame=0.0)
    count = 3000
    lengths = Counter(len(window.latents) for window in windows(config, count))
    for length, share in config.lengths:
        assert lengths[length] == pytest.approx(share * count, abs=4 * math.sqrt(share * count) + 1)


def test_the_text_is_that_of_the_nearest_stretch_or_none():
    whole_clips = only("all", drop_text=0.25, begin_later=0.0, lengths=((9, 1.0),))
    dropped = [torch.equal(window.text, NULL) for window in windows(whole_clips, 2000)]
    assert fmean(dropped) == pytest.approx(0.25, abs=0.04)
    pieces = windows(only("all", drop_text=0.0, begin_later=1.0, lengths=((5, 1.0),)), 200)
    nulls = [torch.equal(window.text, NULL) for window in pieces]
    assert fmean(nulls) == pytest.approx(1 / 5, abs=0.1)  # of five places to begin, the middle one is near no caption
    whole = windows(only("all", drop_text=0.0, begin_later=0.0, lengths=((9, 1.0),)), 20)
    assert all(torch.equal(window.text, clip().texts[0]) for window in whole)
    early = windows(only("all", drop_text=0.0, begin_later=0.0, lengths=((5, 1.0),)), 20)
    assert all(torch.equal(window.text, clip().texts[1]) for window in early)


@pytest.mark.parametrize("length", [1, 5])
def test_the_one_caption_of_a_clip_is_told_of_every_part_of_it(length):
    """As of curated clips, whose captions are of all they hold."""
    one = replace(clip(), captions=(Caption("a kite", 0.0, 8.0),), texts=clip().texts[:1])
    config = only("all", drop_text=0.0, begin_later=1.0, lengths=((length, 1.0),))
    for n in range(20):
        assert torch.equal(draw_window(one, NULL, config, (1, 1), Random(n)).text, one.texts[0])


def logits(times: Tensor, shift: float) -> list[float]:
    """What was drawn before the shift: t = s u / (1 + (s - 1) u)"""
    u = times.double() / (shift - (shift - 1) * times.double())
    return torch.logit(u).tolist()


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("pattern", ["all", "each"])
def test_times_are_logit_normal_shifted_by_the_tokens(pattern, count):
    config = only(pattern, time_mean=0.3, time_std=0.8, shift=1.7, shift_tokens=40)
    drawn = [draw_times(count, 4, 5, config, Random(n))[0] for n in range(1500)]
    shift = 1.7 * math.sqrt(count * 20 / 40)
    for latent in range(count) if pattern == "each" else [0]:
        found = logits(torch.stack([times[latent, 0, 0] for times in drawn]), shift)
        assert fmean(found) == pytest.approx(0.3, abs=4 * 0.8 / math.sqrt(1500))
        assert stdev(found) == pytest.approx(0.8, rel=0.08)


def test_given_tokens_are_slightly_noised_as_often_as_asked():
    config = only("first", context_noise=0.3)
    given = [float(draw_times(5, 2, 3, config, Random(n))[0][0, 0, 0]) for n in range(2000)]
    assert fmean(t > 0 for t in given) == pytest.approx(0.3, abs=0.04)
    noised = [t for t in given if t > 0]
    assert max(noised) <= config.most_context_noise
    assert fmean(noised) == pytest.approx(config.most_context_noise / 2, rel=0.1)


def test_hints_go_with_their_latents():
    """Of groups twice the last frame, of single ones one more, so that both are told apart."""
    for window in windows(WindowConfig(extra_frame=0.5)):
        assert window.hints is not None and window.hints.shape == (*window.loss_mask.shape, 1)
        assert torch.equal(window.hints[:, 0, 0, 0].float(), 2 * window.latents[:, 0, 0, 0])


def test_single_frames_are_told_as_a_moment_or_as_the_clip_that_they_begin():
    captions = (
        Caption("moment", 0, 0),
        Caption("dense moment", 0, 0, True),
        Caption("clip", 0, 2),
        Caption("late", 2, 4),
    )
    one = replace(clip(1), captions=captions, texts=tuple(torch.full((1, 3), float(n)) for n in range(4)))
    config = WindowConfig(lengths=((1, 1.0),), drop_text=0.0, of_clip=0.4, dense=0.7)
    told = Counter(int(draw_window(one, NULL, config, PATCH, Random(n)).text[0, 0]) for n in range(3000))
    assert {n: told[n] / 3000 for n in range(4)} == pytest.approx({0: 0.18, 1: 0.42, 2: 0.4, 3: 0.0}, abs=0.03)


def test_a_window_is_a_function_of_the_generator():
    for n in range(100):
        one, other = (draw_window(clip(), NULL, WindowConfig(extra_frame=0.5), PATCH, Random(n)) for _ in range(2))
        for name, value in vars(one).items():
            assert torch.equal(value, getattr(other, name)), name
