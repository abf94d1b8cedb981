"""Marks and normalised scores on cases that are known on paper."""

from __future__ import annotations

import math

import pytest
import torch

from minisora.eval.score import ATTRIBUTES, PromptCase, marks, match, normalised, shuffled
from minisora.judge.playroom import Description, Found
from minisora.worlds import playroom


def thing(colour, shape, motion="still", size="small", direction=None):
    return {"colour": colour, "shape": shape, "size": size, "motion": motion, "direction": direction}


def asked(things, camera="static", prompt="a small red ball"):
    return PromptCase(prompt, {"things": things, "count": len(things), "camera": camera}, "train")


def seen(things, camera="static"):
    found = tuple(Found(t["colour"], t["shape"], t["size"], t["motion"], t["direction"] or "none") for t in things)
    return Description(found, len(found), camera)


def named(values):
    return dict(zip(ATTRIBUTES, values, strict=True))


def test_what_is_right_gets_full_marks():
    for seed in range(20):
        facts = playroom.facts(playroom.draw(seed), 0, 2)
        got = marks(seen(facts["things"], facts["camera"]), PromptCase("a small red ball", facts, "train"))
        assert all(mark == 1 or math.isnan(mark) for mark in got), (facts, got)


def test_each_mistake_costs_its_own_attribute():
    things = [thing("red", "ball", "rolls_left", direction="left"), thing("blue", "cube")]
    wrong = [thing("red", "cone", "rolls_right", direction="right"), thing("blue", "cube")]
    got = named(marks(seen(wrong, "zoom_in"), asked(things)))
    assert got == {"colour": 1, "shape": 0.5, "count": 1, "size": 1, "motion": 0.5, "direction": 0, "camera": 0}


def test_size_is_asked_only_where_the_prompt_says_one():
    things = [thing("red", "ball")]
    assert math.isnan(named(marks(seen(things), asked(things, prompt="a red ball")))["size"])


def test_an_empty_clip_gets_nothing_but_its_camera():
    got = named(marks(Description((), 0, "static"), asked([thing("red", "ball")])))
    assert [got[name] for name in ("colour", "shape", "count", "size", "motion")] == [0] * 5
    assert got["camera"] == 1


def test_what_has_another_colour_is_matched_with_what_is_left():
    found = seen([thing("green", "cone"), thing("blue", "cube")]).things
    pairs = match([thing("blue", "cube"), thing("red", "cone")], found)
    assert [one.colour for one in pairs] == ["blue", "green"]


def test_normalised_is_the_ratio_and_its_interval_narrows_with_the_prompts():
    generator = torch.Generator().manual_seed(0)

    def row(mean, count):
        return (torch.rand(count, 1, generator=generator) < mean).double()

    widths = []
    for count in (100, 1600):
        (one,) = normalised(row(0.6, count), row(0.2, count), torch.ones(count, 1))
        assert one.low < one.value < one.high
        widths.append(one.high - one.low)
    assert one.value == pytest.approx((0.6 - 0.2) / (1 - 0.2), abs=0.05)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.3)  # as the root of the prompts


def test_shuffling_holds_clips_against_other_prompts():
    colours = list(playroom.COLOURS)
    prompts = [asked([thing(colour, "ball")]) for colour in colours]
    told = [seen([thing(colour, "ball")]) for colour in colours]
    floor = shuffled(told, prompts).mean(0)
    assert named(floor.tolist())["colour"] == 0 and named(floor.tolist())["shape"] == 1
