"""Windows make everything once, hold on to what is there, and end where the prompt changes."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import torch

from minisora.errors import UsageError
from minisora.generate.canvas import Condition, build
from minisora.generate.rollout import latent_at, plan, roll_out
from minisora.generate.schedule import Part, Schedule
from minisora.progress import Watch
from minisora.vae.model import VideoVAE
from tests.helpers.tiny import SHAPE, bundle, picture, settings

__all__ = ["bundle"]  # a fixture


@pytest.mark.parametrize("seed", range(120))
def test_every_latent_is_made_once_and_each_window_holds_on_to_something(seed):
    rng = Random(seed)
    total, length = rng.randint(1, 60), rng.randint(4, 10)
    context = rng.randint(1, length // 2)
    held = [False] * total
    for _ in range(rng.randint(0, 3)):
        first, count = rng.randrange(total), rng.randint(1, 12)
        held[first : first + count] = [True] * min(count, total - first)
    breaks = sorted(rng.sample(range(1, total + 1), min(total, rng.randint(0, 2))))
    done = list(held)
    for number, window in enumerate(plan(held, length=length, context=context, breaks=breaks)):
        made = [n for n in range(window.first, window.stop) if not done[n]]
        assert made and window.new == made[0] and window.stop - window.first <= length
        if number or any(held):
            known_inside = any(done[window.first : window.stop])
            assert known_inside, "nothing to hold on to"
        assert not any(made[0] < at <= made[-1] for at in breaks)
        for n in made:
            done[n] = True
    assert all(done)


def test_before_a_later_given_stretch_the_last_window_sees_it():
    held = [True] * 5 + [False] * 13 + [True] * 5
    last = plan(held, length=9, context=3)[-1]
    assert not held[last.new] and last.stop >= 18 + 2 and last.first == last.new - 3


@pytest.mark.parametrize("gap", range(1, 24))
@pytest.mark.parametrize("given", [1, 2, 5])
def test_a_gap_ends_in_a_window_that_sees_both_sides(gap, given):
    """And makes a good part of the gap: a few latents more than one, where the gap has them."""
    held = [True] * 5 + [False] * gap + [True] * given
    windows = plan(held, length=9, context=4)
    last = windows[-1]
    assert last.stop - (5 + gap) >= min(2, given) and last.new - last.first >= 2
    assert 5 + gap - last.new >= min(gap, 4)
    assert len(windows) == 1 or gap > 5


def test_the_window_after_a_change_of_words_is_guided_by_the_text_alone(bundle, monkeypatch):
    """Next to generated or known windows of other words.

    Windows of one text are guided along the conditioning too.
    """
    from minisora.generate import rollout

    seen = []
    real = rollout.sample

    def sample(*args, **kwargs):
        seen.append((args[3].history_guidance, args[3].guidance_given))
        return real(*args, **kwargs)

    monkeypatch.setattr(rollout, "sample", sample)
    short = replace(bundle, sampling=replace(bundle.sampling, window=4, context=1))
    shape = replace(SHAPE, num_frames=41)
    how = settings(guidance=3.0, guidance_given=2.0, steps=1)
    told = Schedule((Part(0.0, "a ball"), Part(2.0, "two balls")))  # the second from latent 5 on
    by_text, by_all = (False, 3.0), (True, 2.0)
    list(roll_out(short, build(short, shape), told, how, Watch()))
    assert seen == [by_all, by_all, by_text, by_all]
    seen.clear()
    list(roll_out(short, build(short, shape, [Condition(picture(17, 32, 48))]), told, how, Watch()))  # latents 0 to 4
    assert seen[0] == by_text and set(seen[1:]) == {by_all}
    seen.clear()
    list(roll_out(short, build(short, shape, [Condition(picture(4, 32, 48), at=37)]), told, how, Watch()))
    assert seen.count(by_text) == 1 and seen[0] == by_all


def test_going_back_from_a_clip_at_the_end():
    windows = plan([False] * 12 + [True] * 4, length=8, context=3)
    assert [(w.first, w.stop) for w in windows] == [(7, 15), (2, 10), (0, 5)]


def test_around_a_short_clip_what_is_before_it_is_left_to_the_way_back(bundle):
    """Its words change where the clip ends, so that even few latents take two windows."""
    assert [(w.first, w.stop, w.new) for w in plan([False] * 2 + [True] + [False] * 5, length=6, context=3)] == [
        (2, 8, 3),
        (0, 5, 0),
    ]
    canvas = build(bundle, replace(SHAPE, num_frames=25), [Condition(picture(8, 32, 48), at=9)])
    told = Schedule.parse("0-2.125s: a ball | 2.125s-: two balls")
    latents = torch.cat(list(roll_out(bundle, canvas, told, settings(), Watch())), 1)
    assert latents.shape[1] == 7 and latents.isfinite().all()


def test_a_video_of_one_window_is_seen_whole():
    assert [(w.first, w.stop, w.new) for w in plan([True, True, False, False], length=4, context=1)] == [(0, 4, 2)]
    assert plan([True, True], length=4, context=1) == []


def test_windows_yield_latents_in_order_and_hold_what_is_given(bundle):
    short = replace(bundle, sampling=replace(bundle.sampling, window=3, context=1))
    given = picture(5, 32, 48)
    shape = replace(SHAPE, num_frames=29)
    for at in (0, 12, 24):
        canvas = build(short, shape, [Condition(given, at=at)])
        told = Schedule.parse("0-2s: a ball | 2s-: two balls")
        pieces = list(roll_out(short, canvas, told, settings(), Watch()))
        latents = torch.cat(pieces, 1)
        assert latents.shape[1] == 8 and latents.isfinite().all()
        held = [n for n, whole in enumerate(canvas.held()) if whole]
        assert torch.equal(latents[:, held], canvas.latents(canvas.known)[:, held])
        if at == 0:
            assert len(pieces) > 2


def test_the_first_latent_wholly_after_a_moment():
    moments = (0, 0.125, 0.126, 0.5, 0.625, 1.0, 2.0)
    assert [latent_at(seconds, 8.0, VideoVAE.strides) for seconds in moments] == [0, 1, 2, 2, 2, 3, 5]


def test_parts_of_a_prompt():
    assert Schedule.parse("a ball: 3-4 of them").parts == (Part(0.0, "a ball: 3-4 of them"),)
    assert Schedule.parse("0-4s: a red ball rolls in | 4s-: it bounces").parts == (
        Part(0.0, "a red ball rolls in"),
        Part(4.0, "it bounces"),
    )
    assert Schedule.parse("0s - 1.5s: one|1.5-3: two").parts == (Part(0.0, "one"), Part(1.5, "two"))


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("0-4s: a ball | it bounces", "no times"),
        ("0-4s: a ball | 5s-: it bounces", "ends at 4 s"),
        ("1-4s: a ball", "parts are from 0 s on"),
        ("0-: a ball | 4-5: it bounces", "no end"),
        ("0-4: a ball | 4-4: it bounces", "after it starts"),
    ],
)
def test_times_that_do_not_follow_each_other_are_refused(prompt, said):
    with pytest.raises(UsageError, match=said):
        Schedule.parse(prompt)
