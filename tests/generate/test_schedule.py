"""Prompts that change over time, from or until a moment.

Reading them is tested in test_rollout.py too.
"""

from __future__ import annotations

import pytest

from minisora.errors import UsageError
from minisora.generate.schedule import Part, Schedule

PROMPT = Schedule.parse("0-2s: a ball rolls in | 2-3.5s: it bounces | 3.5s-: it stays")
MOMENTS = [0.0, 1.0, 2.0, 2.25, 3.5, 10.0]


def said(schedule: Schedule, moment: float) -> str:
    return [part.text for part in schedule.parts if part.start <= moment + 1e-9][-1]


@pytest.mark.parametrize("seconds", MOMENTS)
def test_at_every_moment_it_says_what_it_said_then(seconds):
    later = PROMPT.since(seconds)
    assert later.parts[0].start == 0
    for moment in (0.0, 0.3, 1.0, 1.25, 1.5, 2.0, 3.4, 5.0):
        assert said(later, moment) == said(PROMPT, seconds + moment)


@pytest.mark.parametrize("seconds", MOMENTS)
def test_what_begins_later_is_left_out(seconds):
    told = PROMPT.until(seconds).parts
    assert told == PROMPT.parts[: len(told)]
    assert all(part.start < seconds or part.start == 0 for part in told)
    assert len(told) == len(PROMPT.parts) or PROMPT.parts[len(told)].start >= seconds


def test_a_prompt_that_does_not_change_stays():
    assert Schedule.parse("a ball rolls in").since(3.0) == Schedule.parse(" a ball rolls in ")
    assert Schedule.parse("0-2s: a ball").since(-1.0).first == "a ball"
    assert not Schedule.parse("a ball").changes and PROMPT.changes


@pytest.mark.parametrize("schedule", [PROMPT, *(PROMPT.since(s) for s in (1.0, 2.25)), PROMPT.until(3.0)], ids=str)
def test_as_text_it_is_read_again(schedule):
    assert Schedule.parse(str(schedule)) == schedule


def test_shots_after_each_other():
    one, other = (
        Schedule.parse("a ball: 3-4 of them"),
        Schedule.parse("0-1s: it bounces | 1-9s: it rolls | 9-: it stays"),
    )
    joined = Schedule.joined([(one, 1.5), (other, 4.0), (one, 2.0)])
    assert joined.parts == (
        Part(0.0, "a ball: 3-4 of them"),
        Part(1.5, "it bounces"),
        Part(2.5, "it rolls"),
        Part(5.5, "a ball: 3-4 of them"),
    )


def test_spaces_without_end_are_read_at_once():
    """A pattern with two neighbours that take spaces would need hours."""
    many = 16_000 * " "
    for text in (f"0{many}-{many}x", f"0{many}x", f"0-1{many}s{many}x", f"0-{many}:{many}"):
        assert Schedule.parse(text).first == text.strip()
    assert Schedule.parse(f"0{many}s{many}-{many}2{many}s{many}: a ball |{many}2-: a cube").parts[1].text == "a cube"


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_prompt_is_refused(empty):
    with pytest.raises(UsageError, match=r"the prompt is empty\. Say what to show"):
        Schedule.parse(empty)


@pytest.mark.parametrize("text", ["3-2: the score", "0-0: a draw", "2-: x", "10-12s: a clock"])
def test_what_only_looks_like_a_time_may_be_written_plainly(text):
    with pytest.raises(UsageError, match=r"was read as a time") as said:
        Schedule.parse(f" {text} ")
    plainly = str(said.value).split('write "')[1].removesuffix('".')
    assert Schedule.parse(plainly).first == text
    assert Schedule.parse(str(Schedule.parse(plainly))) == Schedule.parse(plainly)
