"""Prompts that change over time, told from a later moment on. Reading them is tested in tests/test_rollout.py too."""

from __future__ import annotations

import pytest

from minisora.generate.schedule import parts, told_from, told_until

PROMPT = "0-2s: a ball rolls in | 2-3.5s: it bounces | 3.5s-: it stays"


@pytest.mark.parametrize("seconds", [0.0, 1.0, 2.0, 2.25, 3.5, 10.0])
def test_at_every_moment_it_says_what_it_said_then(seconds):
    def said(prompt: str, moment: float) -> str:
        return [part.text for part in parts(prompt) if part.start <= moment + 1e-9][-1]

    later = told_from(PROMPT, seconds)
    for moment in (0.0, 0.3, 1.0, 1.25, 1.5, 2.0, 3.4, 5.0):
        assert said(later, moment) == said(PROMPT, seconds + moment)


@pytest.mark.parametrize("seconds", [0.0, 1.0, 2.0, 2.25, 3.5, 10.0])
def test_what_begins_later_is_left_out(seconds):
    told, said = parts(told_until(PROMPT, seconds)), parts(PROMPT)
    assert told == said[: len(told)]
    assert all(part.start < seconds or part.start == 0 for part in told)
    assert len(told) == len(said) or said[len(told)].start >= seconds


def test_a_prompt_that_does_not_change_stays():
    assert told_from("a ball rolls in", 3.0) == "a ball rolls in"
    assert told_from("0-2s: a ball", -1.0) == "a ball"
