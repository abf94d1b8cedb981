"""Sets of pictures: where a recipe says so, a file of one picture is a clip of one frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from minisora.curate.recipe import read_recipe
from minisora.curate.runner import local_engine, run
from minisora.curate.signals import Reading, read_signals
from minisora.data.clips import to_clip
from minisora.data.shards import Shards
from minisora.errors import UsageError
from tests.helpers.colours import profile
from tests.helpers.curating import film, moving

RECIPE = "out: out\ninput: {media: set, pictures: true}\nclips: {longest_side: 64, multiple: 16, fps: 8}\n"


def picture(seed: int) -> np.ndarray:
    """(48, 64, 3) uint8"""
    return moving(seed, 1)[0].numpy()


@pytest.fixture
def recipe(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    Image.fromarray(picture(1)).save(folder / "a.png")
    (folder / "a.txt").write_text("a field of many colours")
    lying = Image.fromarray(picture(2)).transpose(Image.Transpose.ROTATE_90)
    exif = lying.getexif()
    exif[0x0112] = 6  # as a telephone says that it has to be turned clockwise
    lying.save(folder / "b.JPG", exif=exif, quality=95)
    film(folder / "c.mp4", moving(3))
    (folder / "d.webp").write_bytes(b"no picture")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return read_recipe(tmp_path / "recipe.yaml")


def test_a_picture_is_a_clip_of_one_frame(recipe):
    ledger = run(recipe, local_engine(1, 300.0))
    assert ledger.kept == 3 and "d.webp" in (recipe.out / "quarantine.jsonl").read_text()
    shards = Shards(recipe.out / "clips")
    sizes = zip(*(shards.columns(name) for name in ("num_frames", "height", "width")), strict=True)
    assert sorted(sizes) == [(1, 48, 64), (1, 48, 64), (16, 48, 64)]
    clips = [shards.read_whole(n, to_clip) for n in range(3)]
    stills = sorted((clip for clip in clips if len(clip.frames) == 1), key=lambda clip: len(clip.captions))
    for clip, seed in zip(stills, (2, 1), strict=True):  # the first was turned
        right, upside_down = (
            np.abs(clip.frames[0].numpy() - one.astype(float)).mean() for one in (picture(seed), picture(seed)[::-1])
        )
        assert right < 8 and right < 0.5 * upside_down  # JPEG and H.264 lose a little
    assert [(caption.text, caption.start) for caption in stills[1].captions] == [("a field of many colours", 0.0)]


def test_they_are_taken_only_where_the_recipe_says_so(recipe):
    videos = replace(recipe, input=replace(recipe.input, pictures=False))
    assert run(videos, local_engine(1, 300.0)).kept == 1
    assert run(recipe, local_engine(1, 300.0)).kept == 3  # later, in the same folder
    only = replace(recipe, input=replace(recipe.input, media=recipe.input.media / "none"))
    (recipe.input.media / "none").mkdir()
    with pytest.raises(UsageError, match=r"\.gif \.jpg"):
        run(only, local_engine(1, 300.0))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_picture_is_scored_in_srgb(tmp_path, suffix):
    """One of light, by its profile: 55 of 255 is a grey of 128."""
    grey, path = Image.new("RGB", (64, 48), (55, 55, 55)), tmp_path / f"a.{suffix}"
    grey.save(path, icc_profile=profile(gamma=1.0))
    assert read_signals(path, Reading(pictures=True)).frames["luma"][0] == pytest.approx(128, abs=1)
    grey.save(path)
    assert read_signals(path, Reading(pictures=True)).frames["luma"][0] == pytest.approx(55, abs=1)
