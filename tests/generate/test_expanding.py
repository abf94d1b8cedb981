"""Requests whose prompts are expanded: what is used, what is kept, what the user is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import minisora
from minisora.cli import app
from minisora.errors import UsageError
from minisora.generate import saved
from minisora.generate.expanding import expanded
from minisora.generate.fields import FieldError, about
from minisora.generate.fitting import notes_on
from minisora.generate.model import Model
from minisora.generate.plan import Work
from minisora.generate.request import Sampled
from minisora.generate.schedule import Schedule
from minisora.generate.storyboard import Board, Shot, Storyboard
from minisora.generate.verbs import VERBS, Animate, Edit, Generate, Image, Loop
from minisora.progress import Watch
from minisora.text.playroom.parse import parse
from tests.helpers.requests import ASKED, CLIP, PICTURE
from tests.helpers.tiny import bundle

__all__ = ["bundle"]  # a fixture

FEW = {"steps": 1, "guidance": 1.0}
SHORT = "red ball rolls left"


@pytest.fixture
def model(bundle) -> Model:
    """A tiny model that says it was trained on the playroom, version 2."""
    sampling = replace(bundle.sampling, size=(32, 32), window=4, context=1)
    trained = {"captioner": "playroom", "world": 2}
    return Model(replace(bundle, sampling=sampling, trained=trained, digest="0123456789abcdef"))


def prompt_of(model: Model, request: Sampled) -> str:
    made, _ = expanded(request.opened(), model.bundle, Watch())
    return made.prompt  # type: ignore[attr-defined, no-any-return]


def test_the_prompt_is_used_and_what_was_typed_is_kept(model, tmp_path):
    asked = Generate(SHORT, seconds=0.5, seed=3, expand="auto", **FEW)
    result = model.run(asked)
    used = result.request
    assert isinstance(used, Generate)
    assert (used.typed, used.expand) == (SHORT, None) and used.prompt == model.expand(SHORT, seed=3).prompt != SHORT
    assert result.notes[0] == f'"{SHORT}" was expanded to "{used.prompt}"' and result.notes[1].startswith("added: ")
    assert "expand" in result.timings
    result.video.save(tmp_path / "out.mp4")
    again = saved.read(tmp_path / "out.mp4").request
    assert again == used
    assert torch.equal(model.run(again).video.frames, result.video.frames), "and it is not expanded twice"
    plain = model.run(replace(used, typed=None)).video.frames
    assert torch.equal(plain, result.video.frames), "the prompt alone makes the frames"


@pytest.mark.parametrize("verb", [verb for verb, kind in VERBS.items() if issubclass(kind, Sampled)])
def test_every_verb_with_a_prompt_and_a_model_has_the_option(model, verb):
    assert about(VERBS[verb])["expand"].flag.metavar == "auto|grammar|smollm2|URL"
    values = {"prompt": "crimson sphere"} if verb != "storyboard" else {}
    made, notes = expanded(replace(ASKED[verb], expand="grammar", **values), model.bundle, Watch())
    assert made.expand is None and notes  # type: ignore[attr-defined]
    if verb != "storyboard":
        assert made.typed == "crimson sphere" and "a " in made.prompt  # type: ignore[attr-defined]
        assert "red ball" in made.prompt  # type: ignore[attr-defined]


def test_nothing_is_added_where_a_clip_or_a_picture_shows_it(model):
    added = parse(prompt_of(model, Generate("a red ball", expand="auto"))).facts
    assert added.floor and added.light and added.camera and added.things[0].moves
    for request in (
        Animate(PICTURE, "a red ball", seconds=0.5, expand="auto"),
        Edit(CLIP, "a red ball", expand="auto"),
        Loop("a red ball", clip=CLIP, seconds=1.0, expand="auto"),
    ):
        assert prompt_of(model, request) == "a red ball"
    assert parse(prompt_of(model, Loop("a red ball", seconds=1.0, expand="auto"))).facts.floor


def test_a_picture_gets_no_motion_and_no_camera(model):
    found = parse(prompt_of(model, Image("a red ball", expand="auto"))).facts
    assert found.floor and found.camera is None and not found.things[0].moves


def test_both_texts_of_an_edit_get_the_same_words(model):
    asked = Edit(CLIP, "a blue sphere on sand", source="a crimson sphere on sand", expand="auto")
    made, _ = expanded(asked, model.bundle, Watch())
    assert isinstance(made, Edit)
    assert (made.prompt, made.source) == ("a blue ball; on a sandy floor", "a red ball; on a sandy floor")
    assert (made.typed, made.typed_source) == (asked.prompt, asked.source)


def test_a_prompt_that_changes_is_expanded_part_by_part(model):
    found = model.expand("0-1s: red ball rolls left on grass | 1s-: it bounces", seed=1)
    one, other = Schedule.parse(found.prompt).parts
    assert (one.start, other.start) == (0.0, 1.0)
    assert "rolls to the left" in one.text and "on grass" in one.text and "grass" in str(parse(other.text).facts)
    assert any(each.startswith("0 s: red ball: ") for each in found.added)
    mixed = model.expand("0-1s: red ball rolls left | 1s-: a fox comes")
    assert mixed.prompt.endswith("| 1-: a fox comes") and mixed.reason.startswith("1 s: it asks for")
    assert mixed.notes()[-1] == f"not expanded: {mixed.reason}"


def test_shots_of_a_scene_are_expanded_one_after_the_other(model):
    shots = (
        Shot(prompt="a large red ball rolls left on sand", seconds=0.5),
        Shot(prompt="the ball bounces", seconds=0.5, same_scene=True),
        Shot(prompt="a cube", seconds=0.5, keyframes={0.0: PICTURE}),
    )
    made, _ = expanded(Storyboard(Board(shots), expand="auto"), model.bundle, Watch())
    assert isinstance(made, Storyboard) and isinstance(made.board, Board) and made.expand is None
    _, second, third = made.board.shots
    assert second.prompt.startswith("a large ") and "sand" in str(parse(second.prompt).facts)
    assert third.prompt == "a cube", "a keyframe shows the rest"
    assert [shot.typed for shot in made.board.shots] == [shot.prompt for shot in shots]
    assert Storyboard.of_data(made.to_data()).to_data() == made.to_data()


def test_weights_without_dense_captions_get_natural_ones(model):
    old = Model(replace(model.bundle, trained={"captioner": "playroom"}))
    dense, natural = (each.expand("red ball rolls left", seed=1).prompt for each in (model, old))
    assert "; " in dense and "; " not in natural and parse(natural).facts.things[0].across is None


def test_chinese_works_and_the_note_says_how(model):
    prompt = Schedule.parse("一个红色的小球滚到左边")
    foreign = replace(model.bundle, text=_Foreign(model.bundle.text))
    (note,) = notes_on(foreign, prompt)
    assert "reads English only" in note and "--expand auto" in note
    (other,) = notes_on(replace(foreign, trained={}), prompt)
    assert "--expand" not in other and "still to come" in other
    assert "small" in prompt_of(model, Generate(prompt.first, expand="auto"))


class _Foreign:
    """An encoder that cannot read."""

    def __init__(self, encoder) -> None:
        self.encoder = encoder

    def unreadable(self, text: str) -> bool:
        return True


def test_models_of_no_world_need_a_language_model(bundle, monkeypatch):
    monkeypatch.setattr("minisora.text.expand.has_smollm2", lambda: False)
    for how, told in (("auto", "nothing here can expand"), ("grammar", "of no such world")):
        with pytest.raises(UsageError, match=told):
            Work.of(bundle, Generate(SHORT, expand=how))


@pytest.mark.parametrize("how", ["gramar", "", "ftp://host", "file:///etc", "https://a b"])
def test_another_way_is_refused(how):
    with pytest.raises(FieldError, match=r"^expand .*: give auto, grammar, smollm2, or an address such as http"):
        Generate(SHORT, expand=how)


def test_the_command_tells_and_saves_it(model, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(minisora, "load", lambda name, upscale=None: model)
    out, request = tmp_path / "out.mp4", tmp_path / "request.json"
    asked = ["generate", SHORT, "--expand", "auto", "--seconds", "0.5", "--steps", "1", "-o", str(out)]
    done = CliRunner().invoke(app, [*asked, "--save-request", str(request)])
    assert done.exit_code == 0, done.output
    assert f'note: "{SHORT}" was expanded to "' in done.stderr and "note: added: red ball: " in done.stderr
    values = json.loads(request.read_text(encoding="utf-8"))["request"]
    assert values["typed"] == SHORT and "rolls to the left" in values["prompt"] and values["expand"] is None
    done = CliRunner().invoke(app, ["generate", "--expand", SHORT, "-o", str(out)])
    assert done.exit_code == 2
