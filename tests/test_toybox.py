"""The embedded weights: they load, follow prompts, and have learned what their prompts say."""

import shutil

import pytest
import torch

import minisora
from minisora.bundle import available
from minisora.errors import UsageError, WeightsError
from minisora.judge.network import load_judge
from minisora.judge.playroom import PlayroomJudge
from minisora.worlds.playroom import COLOURS


def test_the_colour_that_is_asked_for_is_shown_and_hardly_another(toybox):
    """By the judge, which reads pixels.

    The report's score over 200 prompts is the measure; this is its smoke test.
    """
    prompts = {colour: f"a large {colour} ball rolls to the left on a grey floor" for colour in COLOURS}
    clips = [toybox.generate(prompt, seed=n).frames for n, prompt in enumerate(prompts.values())]
    found = [{thing.colour for thing in told.things} for told in load_judge(PlayroomJudge).describe(clips)]
    right = sum(colour in seen for colour, seen in zip(prompts, found, strict=True))
    wrong = sum(len(seen - {colour}) for colour, seen in zip(prompts, found, strict=True))
    assert right >= 5 and wrong < right, found


def test_a_seed_means_the_same_video_and_another_another(toybox):
    prompt = "a small yellow cube spins"
    first, again, other = (toybox.generate(prompt, seconds=1, seed=seed, steps=4).frames for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("size", [(64, 64), (47, 75)])
def test_a_picture_is_the_first_frame_exactly_and_what_follows_moves(toybox, size):
    picture = toybox.image("a large red ball on grass", size=size, steps=8, seed=1).frames[0]
    video = toybox.animate(picture, "a large red ball rolls to the left on grass", size=size, seconds=1, steps=8)
    assert torch.equal(video.frames[0], picture)
    assert video.frames.shape == (9, *size, 3)
    assert (video.frames[-1].float() - video.frames[0].float()).abs().mean() > 1


def test_notes_say_when_a_prompt_is_far_or_cannot_be_read(toybox):
    assert toybox.notes("a small red ball rolls to the left past a green cube") == []
    assert "far from" in toybox.notes("the quarterly report of a bank about interest rates")[0]
    assert "English" in toybox.notes("一个红色的球")[0]


def test_the_bundle_says_what_it_is(toybox):
    assert toybox.card().startswith("# toybox")
    assert sum(p.numel() for p in toybox.bundle.vae.parameters()) < 10e6


@pytest.mark.parametrize("asked", [{"size": (100_000, 100_000)}, {"seconds": 1e9}, {"size": (10**9, 10**9)}])
def test_what_no_memory_holds_is_refused_with_what_it_would_need(toybox, asked):
    with pytest.raises(UsageError, match=r"would need [\d,e+]+ GiB of memory and this machine has \d+\."):
        toybox.generate("a ball", **asked)


def test_a_truncated_copy_is_refused(toybox, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(available()["toybox"], copy)
    weights = copy / "dit.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"dit\.safetensors"):
        minisora.load(copy)
