"""A report on a world known on paper: every prompt asks for a number, which a clip shows."""

from __future__ import annotations

import math

import pytest
import torch

from minisora.eval.following import MODEL, SHUFFLED, THROUGH, Outcome, Subject, follow
from minisora.eval.score import PromptCase, normalised
from minisora.progress import Event, Watch
from tests.helpers.faithful import Faithful

REAL = "real"


def clip(number):
    return torch.full((5, 16, 16, 3), number, dtype=torch.uint8)


def prompts(count, size):
    numbers = [10 * n for n in range(count)]
    return numbers, [PromptCase(str(n), {}, ("train", "held_out")[n // 10 % 2]) for n in numbers]


def marks(told, asked):
    table = {
        row: torch.tensor([[float(said == int(one.prompt))] for said, one in zip(each, asked, strict=True)])
        for row, each in told.items()
    }
    return table | {SHUFFLED: torch.zeros(len(asked), 1)}


def subject(**changes):
    fields = {
        "stage": "numbers",
        "real": REAL,
        "attributes": ("number",),
        "seconds": 0.5,
        "fps": 8.0,
        "prompts": prompts,
        "render": lambda numbers, size: [clip(n) for n in numbers],
        "looks": lambda frames, fps: frames,
        "judge": lambda clips: [int(each[0, 0, 0, 0]) for each in clips],
        "marks": marks,
    }
    return Subject(**{**fields, **changes})


@pytest.mark.parametrize("right", [4, 3])
def test_a_model_stands_between_what_is_real_and_other_prompts(right):
    made, events = [clip(10 * n if n < right else 7) for n in range(4)], []
    found = follow(subject(), Faithful(made, seconds=0.5), count=4, on_event=events.append)
    assert events == [Event("numbers", n + 1, 4) for n in range(4)]
    assert list(found.table) == list(found.means()) == [REAL, THROUGH, MODEL, SHUFFLED]
    assert found.means()[REAL] == {"number": 1} and found.means()[MODEL] == {"number": right / 4}
    assert found.normalised()["number"].value == right / 4
    assert found.by_phrasing()["train"]["number"].value == 1
    assert found.by_phrasing()["held_out"]["number"].value == (right - 2) / 2
    assert list(found.watch.seconds) == ["rendering", "VAE round trip", "generating", "judging"]
    assert found.motion_energy()[MODEL] == 0
    assert found.sheet([0, 3]).height > 2 * 32  # two rows, of the model's frames above the real ones


@pytest.mark.parametrize("all_drawn", [False, True])
def test_a_phrasing_that_nobody_was_asked_in_has_no_score(all_drawn):
    asked = [PromptCase("1", {}, "train")]
    table = {row: torch.ones(1, 1) for row in (REAL, MODEL)} | {SHUFFLED: torch.zeros(1, 1)}
    found = Outcome(subject=subject(all_drawn=all_drawn), asked=asked, clips={}, table=table, watch=Watch())
    assert found.normalised("train")["number"].value == 1
    assert math.isnan(found.normalised("held_out")["number"].value)


def test_draws_are_of_a_phrasings_own_prompts_or_of_all():
    marked = torch.tensor([[1.0], [0.0], [0.0], [1.0], [1.0], [0.0]])
    table = {REAL: torch.ones(6, 1), MODEL: marked, SHUFFLED: torch.zeros(6, 1)}
    asked = [PromptCase("1", {}, "train" if n < 4 else "held_out") for n in range(6)]
    own, whole = (
        Outcome(subject=subject(all_drawn=drawn), asked=asked, clips={}, table=table, watch=Watch())
        for drawn in (False, True)
    )
    (expected,) = normalised(marked[:4], torch.zeros(4, 1), torch.ones(4, 1))
    assert own.normalised("train")["number"] == expected
    assert whole.normalised("train")["number"].value == expected.value
    assert own.normalised() == whole.normalised()
