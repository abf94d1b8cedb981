"""What holds for every field of every verb: in Python, in JSON and in schemas alike."""

from __future__ import annotations

import inspect
import json
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pictures

from minisora.errors import UsageError
from minisora.generate import media, saved
from minisora.generate.fields import FieldError, about, adapter
from minisora.generate.media import Named
from minisora.generate.model import Model
from minisora.generate.storyboard import Board, Shot, Storyboard
from minisora.generate.verbs import (
    VERBS,
    Animate,
    Extend,
    Generate,
)
from minisora.video import Video
from tests.helpers.requests import ALL, ASKED, CLIP, PICTURE
from tests.helpers.tiny import bundle

__all__ = ["bundle"]  # a fixture

EVERY_FIELD = [(verb, name) for verb, kind in VERBS.items() for name in about(kind)]
OUTSIDE = {
    "minimum": lambda bound: bound - 1,
    "exclusiveMinimum": lambda bound: bound,
    "maximum": lambda bound: bound + 1,
    "exclusiveMaximum": lambda bound: bound,
}


def outside() -> list[tuple[str, str, Any]]:
    """Verb, field and value, for each bound that a verb's schema says."""
    found = []
    for verb, kind in VERBS.items():
        for name, told in adapter(kind).json_schema()["properties"].items():
            for part in (told, *told.get("anyOf", ())):
                found += [(verb, name, beyond(part[bound])) for bound, beyond in OUTSIDE.items() if bound in part]
    return found


def test_every_verb_is_here():
    assert ASKED.keys() == VERBS.keys() and all(type(one) is VERBS[verb] for verb, one in ASKED.items())


@pytest.mark.parametrize(("verb", "name"), EVERY_FIELD)
def test_an_unknown_field_is_told_with_the_nearest_one(verb, name):
    """Instead of the one that is meant, which a required one then lacks, in Python and in JSON."""
    kind, given = VERBS[verb], {f.name: getattr(ASKED[verb], f.name) for f in fields(ASKED[verb])}
    given[f"{name}s"] = given.pop(name)
    for make in (lambda: kind(**given), lambda: kind.of_data(given)):
        with pytest.raises(UsageError, match=rf"^{verb} has no field '{name}s'\. Did you mean {name}\?$"):
            make()


@pytest.mark.parametrize("verb", VERBS)
def test_one_that_is_near_none_is_told_with_all_there_are(verb):
    with pytest.raises(UsageError, match=rf"{verb} has no field 'xyzzy'\. It has: .*{list(about(VERBS[verb]))[-1]}\.$"):
        replace(ASKED[verb], xyzzy=1)


@pytest.mark.parametrize("verb", VERBS)
def test_a_field_that_is_missing_is_told_with_what_it_is(verb):
    for name, told in about(VERBS[verb]).items():
        given = {f.name: getattr(ASKED[verb], f.name) for f in fields(ASKED[verb]) if f.name != name}
        if inspect.signature(VERBS[verb]).parameters[name].default is inspect.Parameter.empty:
            with pytest.raises(UsageError) as refused:
                VERBS[verb](**given)
            assert str(refused.value) == f"{verb} needs {name}: {told.help}"


def test_a_mistake_inside_a_board_is_told_of_the_shot():
    shots = [{"prompt": "a ball", "seconds": 1}, {"promt": "a ball", "seconds": 1}]
    with pytest.raises(UsageError, match=r"^shot has no field 'promt'\. Did you mean prompt\?$"):
        Storyboard.of_data({"board": {"shots": shots}})
    shots[1] = {"prompt": "a ball", "seconds": -1}
    with pytest.raises(UsageError, match=r"^seconds -1: give seconds above 0,"):
        Storyboard.of_data({"board": {"shots": shots}})
    with pytest.raises(UsageError, match=r"^shots \[\]: give shots, at least one"):
        Storyboard.of_data({"board": {"shots": []}})


@pytest.mark.parametrize(("verb", "name", "value"), outside())
def test_a_bound_is_told_with_the_value_and_what_to_give(verb, name, value):
    """Again too: the first mistake builds nothing that another is told by."""
    for _ in range(2):
        with pytest.raises(FieldError) as refused:
            replace(ASKED[verb], **{name: value})
        text, shown = str(refused.value), f"{value:.12g}" if isinstance(value, float) else value
        assert text == f"{name} {shown}: give {about(VERBS[verb])[name].give}."
        assert refused.value.labelled(lambda field: f"--{field}") == f"--{text}"


def test_bounds_that_a_user_meets_are_there():
    """So that a bound that is lost is missed."""
    met = {(verb, name) for verb, name, _ in outside()}
    sampled = {(verb, name) for verb in VERBS if verb != "reverse" for name in ("seed", "steps", "context_noise")}
    assert sampled <= met
    assert {("generate", "seconds"), ("generate", "fps"), ("generate", "strength"), ("edit", "strength")} <= met
    assert {("extend", "after"), ("extend", "before"), ("interpolate", "times"), ("image", "candidates")} <= met
    assert {("connect", "seconds"), ("loop", "seconds"), ("animate", "fps"), ("storyboard", "candidates")} <= met


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("verb", "name"), [("generate", "seconds"), ("edit", "strength"), ("extend", "after"), ("image", "guidance")]
)
def test_what_is_no_number_is_refused(verb, name, odd):
    with pytest.raises(FieldError, match=f"^{name} {odd:g}: give "):
        replace(ASKED[verb], **{name: odd})


@pytest.mark.parametrize(
    ("verb", "name", "value", "give"),
    [
        ("generate", "size", "64", "WIDTHxHEIGHT in pixels"),
        ("generate", "size", "0x64", "WIDTHxHEIGHT in pixels"),
        ("generate", "size", (64, 0), "WIDTHxHEIGHT in pixels"),
        ("generate", "size", [64, 32], "WIDTHxHEIGHT in pixels"),
        ("generate", "size", (64.5, 32), "WIDTHxHEIGHT in pixels"),
        ("outpaint", "to", "large", "WIDTHxHEIGHT in pixels"),
        ("outpaint", "corner", "1", "2 whole numbers with commas"),
        ("inpaint", "box", (1, 2, 3), "4 whole numbers with commas"),
        ("inpaint", "box", (1, 2, 3, 4.5), "4 whole numbers with commas"),
        ("inpaint", "box", "1,2,3,x", "4 whole numbers with commas"),
        ("generate", "seed", 1.5, "a whole number from 0 to"),
        ("generate", "steps", "many", "1 to 1000"),
        ("animate", "at", ["1.5"], "SECONDS=FILE, such as 1.5=end.png"),
        ("animate", "at", ["1=a.png", "1=b.png"], "SECONDS=FILE, such as 1.5=end.png"),
        ("animate", "at", {"soon": "a.png"}, "SECONDS=FILE, such as 1.5=end.png"),
        ("extend", "clip", 5, "a file, a Video"),
        ("extend", "clip", {"name": "a.mp4"}, "a file, or a name and its sha256"),
        ("extend", "clip", {"name": "a.mp4", "sha256": 5}, "a file, or a name and its sha256"),
        (
            "animate",
            "picture",
            torch.zeros(3, 32, 32),
            r"a picture of \(H, W, 3\) uint8, not \(3, 32, 32\) torch.float32",
        ),
    ],
)
def test_what_cannot_be_read_is_told_with_what_can(verb, name, value, give):
    with pytest.raises(UsageError, match=f": give {give}") as refused:
        replace(ASKED[verb], **{name: value})
    assert len(str(refused.value)) < 200 and "\n" not in str(refused.value)


@pytest.mark.parametrize("verb", VERBS)
def test_by_position_and_by_name_are_one(verb):
    given = {f.name: getattr(ASKED[verb], f.name) for f in fields(ASKED[verb])}
    taken = [p.name for p in inspect.signature(VERBS[verb]).parameters.values() if p.kind is not p.KEYWORD_ONLY]
    assert 1 <= len(taken) <= 3
    values = [given.pop(name) for name in taken]
    assert VERBS[verb](*values, **given) == ASKED[verb] == VERBS[verb](**given, **dict(zip(taken, values, strict=True)))
    with pytest.raises(UsageError, match=f"^{verb} takes {' and '.join(taken)} by position, all else by name"):
        VERBS[verb](*values, 1, **given)


@pytest.mark.parametrize("request_", ALL, ids=repr)
def test_nothing_of_it_can_be_changed(request_):
    for f in fields(request_):
        with pytest.raises(FrozenInstanceError):
            setattr(request_, f.name, getattr(request_, f.name))


def without_media(value: Any) -> Any:
    """What is named instead of media, so that two requests can be compared."""
    if isinstance(value, Video):
        return Named(**media.named(value))
    if isinstance(value, dict):
        return {key: without_media(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(without_media(each) for each in value)
    if isinstance(value, Board | Shot):
        return {f.name: without_media(getattr(value, f.name)) for f in fields(value)}
    return value


@pytest.mark.parametrize("request_", ALL, ids=repr)
def test_through_json_it_comes_back(request_):
    text = json.dumps(request_.to_data())
    again = type(request_).of_data(json.loads(text))
    assert json.dumps(again.to_data()) == text
    for f in fields(request_):
        one, other = (without_media(getattr(each, f.name)) for each in (request_, again))
        assert one == other and type(one) is type(other), f.name


def test_sizes_and_moments_stand_in_json_as_people_write_them():
    animated, board = ASKED["animate"].to_data(), ASKED["storyboard"].to_data()["board"]
    assert animated["size"] == "40x24" and {float(at) for at in animated["at"]} == {0.125, 1.5}
    assert ASKED["outpaint"].to_data()["to"] == "64x48" and ASKED["outpaint"].to_data()["corner"] == "3,4"
    assert ASKED["inpaint"].to_data()["box"] == "1,2,30,4"
    assert board["size"] == "64x48" and [*map(float, board["shots"][0]["keyframes"])] == [0.5]
    assert Generate("a ball", size="40x24") == Generate("a ball", size=(24, 40))
    of_arrays = Generate("a ball", size=tuple(np.array([24, 40]))), Generate("a ball", size=torch.empty(24, 40).shape)
    assert all(one.to_data() == Generate("a ball", size=(24, 40)).to_data() for one in of_arrays)


def test_media_of_files_are_named_by_their_bytes_and_of_memory_by_their_frames(tmp_path):
    import hashlib

    CLIP.save(tmp_path / "clip.mkv")
    Pictures.fromarray(PICTURE.frames[0].numpy()).save(tmp_path / "a.png")
    digests = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("clip.mkv", "a.png")}
    for given in (tmp_path / "clip.mkv", str(tmp_path / "clip.mkv")):
        asked = Extend(given, "a ball", after=1.0)
        for one in (asked, asked.opened()):
            assert one.to_data()["clip"] == {"name": "clip.mkv", "sha256": digests["clip.mkv"]}
    animated = Animate(tmp_path / "a.png", "a ball", at={1.0: tmp_path / "a.png"})
    for one in (animated, animated.opened()):
        assert one.to_data()["picture"] == one.to_data()["at"]["1.0"] == {"name": "a.png", "sha256": digests["a.png"]}
    named = ASKED["extend"].to_data()["clip"]
    assert named["name"] is None and named == Extend(Video(CLIP.frames.clone(), 8.0), "a", after=1.0).to_data()["clip"]
    other = CLIP.frames.clone()
    other[0, 0, 0, 0] ^= 1
    assert Extend(Video(other, 8.0), "a", after=1.0).to_data()["clip"] != named
    assert str(tmp_path) not in json.dumps([asked.to_data(), animated.to_data()])


def test_a_picture_may_be_a_tensor_a_file_or_a_video(tmp_path):
    Pictures.fromarray(PICTURE.frames[0].numpy()).save(tmp_path / "a.png")
    for given in (PICTURE.frames[0], PICTURE, tmp_path / "a.png", str(tmp_path / "a.png")):
        opened = Animate(given, "a ball").opened()
        assert torch.equal(opened.picture.frames, PICTURE.frames)
        assert opened.opened().picture is opened.picture  # it is read once


def test_what_is_named_only_asks_for_its_folder():
    again = Extend.of_data(ASKED["extend"].to_data())
    with pytest.raises(UsageError, match=r"frames from memory \(SHA-256 [0-9a-f]{12}\) is named .* --media FOLDER"):
        again.opened()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_its_schema_which_its_json_keeps(verb):
    schema = adapter(VERBS[verb]).json_schema()
    assert schema["properties"].keys() == about(VERBS[verb]).keys() and schema["additionalProperties"] is False
    assert schema["description"] == inspect.getdoc(VERBS[verb])
    json.dumps(schema)
    jsonschema = pytest.importorskip("jsonschema")
    checked = jsonschema.Draft202012Validator(schema)
    for one in ALL:
        if isinstance(one, VERBS[verb]):
            checked.validate(one.to_data())
    assert not checked.is_valid({**ASKED[verb].to_data(), "xyzzy": 1})


@pytest.mark.parametrize("verb", VERBS)
def test_every_field_is_explained(verb):
    for name, told in about(VERBS[verb]).items():
        assert told.help.endswith((".", ")")), name
    assert VERBS[verb].__doc__


@pytest.mark.parametrize("verb", VERBS)
def test_a_method_has_the_signature_and_the_words_of_its_request(verb, bundle):
    kind, own, bound = VERBS[verb], getattr(Model, verb), getattr(Model(bundle), verb)
    assert bound.__doc__ == own.__doc__ == kind.__doc__
    asked = inspect.signature(kind).parameters
    assert inspect.signature(bound).parameters == asked and next(iter(asked)) in (
        "prompt",
        "picture",
        "clip",
        "one",
        "board",
    )
    assert list(inspect.signature(own).parameters.values())[1:] == list(asked.values())
    assert inspect.signature(bound).return_annotation is Video


def test_a_request_reads_as_it_is_written():
    assert repr(Generate("a ball", seed=3, size="40x24")) == "Generate(size=(24, 40), seed=3, prompt='a ball')"
    assert repr(Storyboard(Board((Shot(prompt="a ball", seconds=1),)))) == (
        "Storyboard(board=Board(shots=(Shot(prompt='a ball', seconds=1.0, keyframes={}, same_scene=False),), "
        "size=None, fps=None))"
    )


def test_media_are_found_in_every_place_of_a_request(tmp_path):
    """The frames of memory too, where they were saved without loss."""
    CLIP.save(tmp_path / "kept.mkv")
    PICTURE.save(tmp_path / "kept.png")
    for one in ALL:
        again = saved.with_media(type(one).of_data(one.to_data()), tmp_path).opened()
        assert again.to_data() == one.to_data()
