"""Captions read by the playroom's own phrases: true ones state all, those of others do not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from minisora.caption.protocol import Answer, Failed
from minisora.eval.captions import SPANS, caption_scores, marks_of, read, truth
from minisora.video import Video
from minisora.worlds import playroom
from minisora.worlds.playroom.facts import watch
from minisora.worlds.seeds import CAPTIONS


class Told:
    """The playroom's captions of the clips that are asked for, in order, moved on by `off`."""

    name, together = "told", 4

    def __init__(self, count: int, off: int = 0) -> None:
        self.scenes = [playroom.draw(CAPTIONS[n], split="held_out") for n in range(count)]
        self.off, self.at = off, 0

    def __call__(self, clips: Sequence[Video], *, long: bool = False) -> list[Answer]:
        said: list[Answer] = []
        for clip in clips:
            start, stop = SPANS[self.at % 2]
            assert len(clip.frames) == 1 + 8 * (stop - start)
            scene = self.scenes[(self.at + self.off) % len(self.scenes)]
            said.append(playroom.captions(scene, seed=7, start=start, stop=stop, phrasing="held_out")[long].text)
            self.at += 1
        return said


@pytest.mark.parametrize("phrasing", ["train", "held_out"])
def test_true_captions_are_right_in_every_wording(phrasing):
    for seed in range(40):
        scene = playroom.draw(seed, split="held_out")
        for start, stop in ((0.0, 2.0), (2.0, 4.0), (0.0, 4.0), (0.0, 0.0)):
            for caption in playroom.captions(scene, seed=seed, start=start, stop=stop, phrasing=phrasing):
                marks = marks_of(caption.text, scene, start, stop)
                assert marks.pop("false") == 0.0, caption.text
                assert set(marks.values()) == {1.0}, (caption.text, marks)


def test_scores_lie_between_their_floor_and_ceiling(tmp_path):
    figures = {figure.name: figure for figure in caption_scores(Told(12), 12, long=True, out=tmp_path)}
    assert figures["right"].mean == figures["right"].ceiling == 1.0 and figures["right"].floor < 0.2
    assert figures["false"].mean == figures["false"].ceiling == 0.0 and figures["false"].floor > 0.8
    assert (tmp_path / "captions.md").read_text().count("\n") == 2 + len(figures)
    others = {figure.name: figure for figure in caption_scores(Told(12, off=2), 12)}
    assert others["right"].mean < 0.2 and others["false"].mean > 0.8


def test_clips_without_a_caption_are_not_left_out():
    class Silent(Told):
        def __call__(self, clips: Sequence[Video], *, long: bool = False) -> list[Answer]:
            return [Failed("no voice") for _ in clips]

    figures = {figure.name: figure for figure in caption_scores(Silent(0), 4)}
    assert figures["right"].n == 4 and figures["right"].mean == 0.0 and figures["false"].mean == 0.0


def test_claims_are_read_from_a_caption():
    text = (
        "A small red ball rolls to the left and bumps into a shiny green cube, which starts moving away, and "
        "a blue cone spins in place behind a white cylinder on grass at sunset, the camera circles to the left."
    )
    assert read(text) == {
        *(("thing", name) for name in ("red ball", "green cube", "blue cone", "white cylinder")),
        *(("look", "red ball", "small"), ("look", "green cube", "shiny")),
        *(("way", "red ball", "left"), ("hits", "red ball", "green cube"), ("pushed", "green cube", "away")),
        *(("motion", "blue cone", "spins"), ("place", "blue cone", "behind", "white cylinder")),
        *(("floor", "grass"), ("light", "sunset"), ("camera", "orbit_left")),
    }
    assert read("Children play chess in a park.") == set()
    assert read("A red ball rolls past a blue cube.") == {("thing", "red ball"), ("thing", "blue cube")}


def test_one_wrong_word_is_seen():
    scene = next(
        scene
        for seed in range(300)
        if len((scene := playroom.draw(seed)).things) == 1 and scene.things[0].motion == "rolls_left"
    )
    thing, stretch = scene.things[0], (0.0, 4.0)
    name = f"{thing.size} {thing.colour} {thing.shape}"

    def right_and_false(text: str) -> tuple[float, float]:
        marks = marks_of(text, scene, *stretch)
        return marks["right"], marks["false"]

    assert right_and_false(f"a {name} moves to the left") == (1.0, 0.0)
    assert right_and_false(f"a {name} moves to the right") == (0.0, 1.0)
    assert right_and_false(f"a {name} moves across the floor") == (0.0, 0.0)
    assert right_and_false(f"a {name}") == (0.0, 0.0)
    assert right_and_false(f"a {name} moves to the left, a white cone stays still") == (0.0, 1.0)
    other = "large" if thing.size == "small" else "small"
    assert right_and_false(f"a {other} {thing.colour} {thing.shape} moves to the left") == (1.0, 1.0)


def test_what_is_left_of_another_has_that_one_right_of_it():
    relations = {"left of": "to the right of", "right of": "to the left of", "behind": "in front of"}
    asked = 0
    for seed in range(120):
        scene = playroom.draw(seed)
        for one, how, other in watch(scene, 0.0, 2.0).relations:
            first, second = (f"a {scene.things[n].colour} {scene.things[n].shape}" for n in (one, other))
            if how in relations and first != second and scene.things[other].motion == "still":
                claims, wrong = (
                    read(f"{second} stays still {words} {first}")
                    for words in (relations[how], {"behind": "behind"}.get(how, f"to the {how}"))
                )
                true = truth(scene, 0.0, 2.0)[0]
                assert claims <= true and any(claim[0] == "place" for claim in claims), claims
                assert not wrong <= true, wrong
                asked += 1
    assert asked > 10


def test_what_passes_behind_goes_past():
    asked = 0
    for seed in range(120):
        scene = playroom.draw(seed)
        for seen in watch(scene, 0.0, 4.0).things:
            for other, how in seen.past:
                name, passed = (f"{scene.things[n].colour} {scene.things[n].shape}" for n in (seen.number, other))
                if how != "past" and seen.direction == "left" and name != passed:
                    true = truth(scene, 0.0, 4.0)[0]
                    assert read(f"a {name} moves left past a {passed}") <= true
                    assert ("past", name, {"behind": "in front of", "in front of": "behind"}[how], passed) not in true
                    asked += 1
    assert asked > 3
