"""What a recipe says is what is done, and what it says wrongly is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from minisora.curate.recipe import Clips, Duplicates, Recipe, read_recipe
from minisora.errors import UsageError

LEAST = "out: kites\ninput:\n  media: videos\n"


def read(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return read_recipe(path)


def test_what_is_not_said_has_its_usual_value_and_paths_are_relative_to_the_recipe(tmp_path):
    recipe = read(tmp_path, LEAST)
    assert recipe.out == tmp_path / "kites" and recipe.input.media == tmp_path / "videos"
    assert recipe.input.importer == "folder" and recipe.input.annotations is None
    assert recipe.thresholds == {} and recipe.clips == Clips() and recipe.duplicates == Duplicates()


def test_what_is_said_is_kept_in_its_order(tmp_path):
    text = LEAST + (
        "  importer: panda70m\n  annotations: /data/train.csv\n"
        "thresholds:\n  sharpness: [1e-3, null]\n  duration: [2, 20]\n"
        "duplicates: {distance: null}\nclips: {fps: 8, codec: lossless, longest_side: 128}\nexport: [opensora]\n"
    )
    recipe = read(tmp_path, text)
    assert list(recipe.thresholds.items()) == [("sharpness", (0.001, None)), ("duration", (2.0, 20.0))]
    assert recipe.input.annotations == Path("/data/train.csv")
    assert recipe.duplicates.distance is None and recipe.export == ("opensora",)
    assert recipe.clips == Clips(fps=8.0, codec="lossless", longest_side=128)


def test_an_empty_section_is_one_that_is_not_said(tmp_path):
    assert read(tmp_path, LEAST + "thresholds:\ncaptions:\nclips:\n") == read(tmp_path, LEAST)


@pytest.mark.parametrize(
    ("more", "line", "said"),
    [
        ("tresholds: {}\n", 4, "has no stage 'tresholds'. Did you mean 'thresholds'?"),
        ("clips:\n  fps: 8\n  longest_sid: 256\n", 6, "has no field 'longest_sid'. Did you mean 'longest_side'?"),
        ("clips:\n  zoom: 2\n", 5, "has no field 'zoom'. Known: longest_side, multiple"),
        ("thresholds:\n  sharpnes: [1, 2]\n", 5, "no stage computes a score 'sharpnes'. Did you mean 'sharpness'?"),
        ("thresholds:\n  beauty: [1, 2]\n", 5, "Known: duration, "),
        ("thresholds:\n  duration: 2\n", 5, "must be [least, most]"),
        ("thresholds:\n  duration: [20, 2]\n", 5, "nothing is both"),
        ("thresholds:\n  duration: [long, 2]\n", 5, "must be two numbers"),
        ("thresholds:\n  duration: [1, 2]\n  duration: [2, 3]\n", 6, "occurs twice"),
        ("thresholds: duration\n", 4, "`name: value` lines"),
        ("clips:\n  fps: fast\n", 5, "`fps` is 'fast', and must be a number"),
        ("clips:\n  crf: 1.5\n", 5, "`crf` is 1.5, and must be a whole number"),
        ("clips:\n  crf: 99\n", 5, "0, the best, to 51"),
        ("clips:\n  multiple: 15\n", 5, "even"),
        ("clips: {fps: -1}\n", 4, "rate above 0"),
        ("clips: {codec: av1}\n", 4, "Choose one of: h264, lossless"),
        ("captions: {required: perhaps}\n", 4, "true or false"),
        ("duplicates: {distance: 40}\n", 4, "0 to 16"),
        ("export: [open-sora]\n", 4, "Did you mean 'opensora'?"),
        ("export: opensora\n", 4, "must be a list"),
        ("run: {timeout_seconds: 0}\n", 4, "above 0"),
        ("input:\n  media: other\n", 4, "occurs twice"),
        ("clips: [1, 2\n", 5, "not YAML"),
        ("clips: {fps: !rate 2}\n", 4, "cannot be read"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, more, line, said):
    with pytest.raises(UsageError) as error:
        read(tmp_path, LEAST + more)
    assert said in str(error.value) and f"recipe.yaml, line {line}:" in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("input: {media: videos}\n", "line 1: the recipe must say `out:`"),
        ("out: kites\ninput: {importer: folder}\n", "line 2: `input` must say `media:`"),
        ("out: kites\ninput: {media: v, importer: panda70}\n", "line 2: there is no importer 'panda70'"),
        ("- out\n", "line 1: the recipe must be `name: value` lines"),
    ],
)
def test_what_is_needed(tmp_path, text, said):
    with pytest.raises(UsageError) as error:
        read(tmp_path, text)
    assert said in str(error.value)


def test_a_recipe_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"recipe .*nothing\.yaml cannot be read"):
        read_recipe(tmp_path / "nothing.yaml")
