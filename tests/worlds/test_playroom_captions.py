"""Captions say only what their stretch shows, judged by the scene or by the pixels."""

import re

import pytest
import torch

from minisora.errors import UsageError
from minisora.video import Shape
from minisora.worlds.playroom import COLOURS, SHAPES, SIZES, Scene, captions, clips, draw, facts, render
from minisora.worlds.playroom.captions import dense_caption
from minisora.worlds.playroom.phrases import HELD_OUT, TRAIN, WIDE

SPANS = ((0.0, 2.0), (0.0, 4.0), (2.0, 4.0), (0.0, 0.0), (2.0, 2.0))
TELLING = (  # of the held-out set
    "heads travels leftward rightward approaches viewer nearer farther recedes hops jumps repeatedly "
    "rotating whirls axis motionless circular path disappears reappears streak strikes drives crashes "
    "sending fixed swings sweeps tighter wider viewpoint floorboards chessboard-like meadow beach "
)
NAME = re.compile(rf"((?:(?:small|large|matte|shiny) )*)({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})")


def cases(count, phrasing):
    for seed in range(count):
        scene = draw(seed)
        for start, stop in SPANS:
            for caption in captions(scene, seed=1, start=start, stop=stop, phrasing=phrasing):
                yield scene, start, stop, caption.text.lower()


@pytest.mark.parametrize("phrasing", ["train", "held_out", "wide"])
def test_all_that_is_seen_is_named_and_nothing_else(phrasing):
    for scene, start, stop, text in cases(70, phrasing):
        seen = {(t["colour"], t["shape"]): t for t in facts(scene, start, stop)["things"]}
        named = NAME.findall(text)
        assert {(colour, shape) for _, colour, shape in named} == set(seen), text
        for looks, colour, shape in named:
            thing = seen[colour, shape]
            assert set(looks.split()) <= {thing["size"], thing["material"]}, text
        assert not set(SIZES) & set(NAME.sub("", text).split())


def test_a_single_moment_has_no_motion():
    verbs = re.compile(r"\b(rolls|slides|moves|glides|goes|bounc|spins|circles|camera|zoom|cut|leaves|collides|hits)")
    for _, start, stop, text in cases(40, "train"):
        if start == stop:
            assert not verbs.search(text), text


def finder(groups):
    """text -> keys of all templates in it; of those that overlap the longest counts."""
    keys = {template: key for key, templates in groups.items() for template in templates}
    longest_first = "|".join(re.escape(template) for template in sorted(keys, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w-])(?:{longest_first})(?![\w-])")
    return lambda text: {keys[found] for found in pattern.findall(text)}


@pytest.mark.parametrize("phrasing", ["train", "wide"])
def test_camera_and_cut_are_said_when_and_only_when_they_are_seen(phrasing):
    said = finder((TRAIN if phrasing == "train" else WIDE).cameras)
    for scene, start, stop, text in cases(80, phrasing):
        known = facts(scene, start, stop)
        moves = {known["camera"], known["camera_after"]} - {"", "none", None}
        assert said(text) - {"static"} == moves - {"static"}, (text, known["camera"])
        assert bool(re.search(r"\bcuts?\b", text)) == known["cut"], text


def test_left_and_right_are_as_the_pixels_go():
    checked = 0
    for seed in range(250):
        scene = draw(seed)
        first = scene.things[0]
        if len(scene.things) > 1 or scene.shots[0].move != "static" or scene.cut is not None:
            continue
        if first.motion not in ("rolls_left", "rolls_right", "trail"):
            continue
        masks = render([scene], height=48, width=48, num_frames=2, fps=0.5, truth=True).masks[0]
        middle = [torch.nonzero(mask == 1)[:, 1].float().mean() for mask in masks]
        side = "right" if middle[1] > middle[0] else "left"
        other = {"left": "right", "right": "left"}[side]
        for phrasing in ("train", "wide"):
            for caption in captions(scene, seed=0, start=0.0, stop=2.0, phrasing=phrasing):
                words = re.findall(r"\b(?:left|right)\b", caption.text)
                assert words in ([side], [other, side]), caption.text
                checked += 1
    assert checked > 40


def test_a_collision_outside_the_stretch_is_not_told():
    told = 0
    for seed in range(200):
        scene = draw(seed)
        if scene.things[0].motion != "collides" or scene.cut is not None:
            continue
        event = scene.things[0].path.event
        assert event < 1.8
        for start, stop in ((0.0, event - 0.1), (event + 0.1, 4.0), (0.0, 4.0)):
            for caption in captions(scene, seed=0, start=start, stop=stop):
                says = re.search(r"\b(hits|bumps|collides|knocks|runs into|meets|against)\b", caption.text)
                assert bool(says) == (start == 0.0 and stop == 4.0), caption.text
                told += bool(says)
    assert told > 10


def words_of(phrases):
    return re.findall(r"[a-z-]+", repr(vars(phrases)).lower())


def test_the_two_phrasings_share_no_template():
    def templates(phrases):
        for value in vars(phrases).values():
            for group in value.values() if isinstance(value, dict) else [value]:
                yield from (template.strip(" ,") for template in group)

    assert set(templates(TRAIN)) < set(templates(WIDE))
    shared = set(templates(WIDE)) & set(templates(HELD_OUT))
    assert shared <= {""}, shared


def test_telling_words_of_the_held_out_set_are_in_no_other():
    told = " ".join(re.split(r"[^a-z{}-]+", repr(vars(WIDE)).lower()))
    for word in TELLING.split():
        assert any(word in template for template in words_of(HELD_OUT)), word
        assert not re.search(rf"\b{word}\b", told), word


def test_the_example_of_the_readme_is_in_the_grammar():
    """Every part of it is a template of the training set."""
    assert "rolls" in TRAIN.go_ball and "{go} to the left" in TRAIN.motions["left"]
    assert "past {other}" in TRAIN.past["past"] and "the camera orbits right" in TRAIN.cameras["orbit_right"]


def test_lengths_are_as_readers_write():
    words = [len(text.split()) for _, start, stop, text in cases(40, "train") if start < stop]
    assert min(words) >= 7 and max(words) <= 60 and 12 < sum(words) / len(words) < 30


def test_clips_carry_captions_and_truth():
    shape = Shape(num_frames=9, height=32, width=48, fps=8.0)
    (short,) = clips([5], shape)
    assert short.frames.shape == (9, 32, 48, 3)
    assert {(c.start, c.stop) for c in short.captions} == {(0.0, 1.0), (0.0, 0.0)}
    assert Scene.from_json(short.truth["scene"]) == draw(5)
    _, same = clips([4, 5], shape)
    assert torch.equal(same.frames, short.frames) and same.captions == short.captions


def test_another_phrasing_is_refused():
    with pytest.raises(UsageError, match="held_out"):
        captions(draw(0), seed=0, start=0.0, stop=1.0, phrasing="odd")


def test_dense_captions_say_all_that_is_seen_and_where():
    """Looks of every thing, its side as the pixels have it, floor, light and camera."""
    sided = 0
    for seed in range(60):
        scene = draw(seed)
        for start, stop in ((0.0, 2.0), (0.0, 0.0)):
            caption = dense_caption(scene, seed=3, start=start, stop=stop)
            text, known = caption.text, facts(scene, start, stop)
            assert caption.dense and ",," not in text and ",;" not in text, text
            named = NAME.findall(text)
            seen = {(t["colour"], t["shape"]): {t["size"], t["material"]} for t in known["things"]}
            assert {(colour, shape): set(looks.split()) for looks, colour, shape in named if looks} == seen, text
            assert any(words in text for words in TRAIN.floors[scene.floor]), text
            assert any(words in text for words in TRAIN.lights[scene.light]), text
            if stop > start and not known["cut"]:
                assert any(words in text for words in TRAIN.cameras[known["camera"]]), text
        masks = render([scene], height=64, width=64, num_frames=1, truth=True).masks[0, 0]
        for number, thing in enumerate(scene.things):
            columns = torch.nonzero(masks == number + 1)[:, 1].float()
            if len(columns) > 20 and abs(columns.mean() / 32 - 1) > 0.5:
                side = "left" if columns.mean() < 32 else "right"
                assert f"{thing.colour} {thing.shape} on the {side}" in text, text
                sided += 1
    assert sided > 10
