"""A bundle with a student: when it is used, and that every verb can be made by it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from minisora.bundle import Bundle, Student
from minisora.diffusion.samplers import dpmpp_2m, euler
from minisora.dit.lora import adapters_of, add_lora
from minisora.dit.model import DiT
from minisora.generate.canvas import Condition, Shape, build
from minisora.generate.model import Model
from minisora.generate.window import encode_prompt, sample, settings_for
from minisora.progress import Watch
from minisora.video import Video
from tests.helpers.tiny import DIT, bundle, picture

__all__ = ["bundle"]  # a fixture


def small(bundle: Bundle) -> Bundle:
    return replace(bundle, sampling=replace(bundle.sampling, size=(32, 32), seconds=1.0, steps=2, window=4, context=1))


@pytest.fixture
def taught(bundle: Bundle) -> Bundle:
    draw = torch.Generator().manual_seed(4)
    adapters = adapters_of(add_lora(DiT(DIT), 2))
    adapters = {name: 0.2 * torch.randn(value.shape, generator=draw) for name, value in adapters.items()}
    return replace(small(bundle), student=Student(adapters=adapters, rank=2, steps=3))


@pytest.mark.parametrize(
    "given", [{"steps": 24}, {"steps": 3}, {"guidance": 1.0}, {"sampler": "euler"}, {"guidance_rescale": 0.1}], ids=str
)
def test_steps_guidance_or_sampler_are_of_the_full_weights(taught, given):
    plain = settings_for(replace(taught, student=None), given)
    assert settings_for(taught, given) == plain and not plain.student
    assert plain.sampler is (euler if "sampler" in given else dpmpp_2m)


def test_without_them_the_student_makes_it_in_its_own_steps_without_guidance(taught):
    how = settings_for(taught, {"seed": 7, "context_noise": 0.1})
    assert how.student and (how.seed, how.context_noise) == (7, 0.1)
    assert (how.steps, how.guidance, how.guidance_given) == (3, 1.0, 1.0)


def test_a_student_changes_nothing_where_it_is_not_used(taught):
    plain = Model(replace(taught, student=None)).generate("a ball", seed=1)
    asked = Model(taught).generate("a ball", seed=1, steps=2)
    assert torch.equal(plain.frames, asked.frames)
    own = Model(taught).generate("a ball", seed=1)
    assert not torch.equal(own.frames, plain.frames)
    assert torch.equal(own.frames, Model(taught).generate("a ball", seed=1).frames)  # its fresh noise is of the seed
    assert not torch.equal(own.frames, Model(taught).generate("a ball", seed=2).frames)


def test_the_network_is_called_once_a_step(taught):
    called = []
    by_student = taught.with_student()
    handle = by_student.dit.register_forward_hook(lambda module, given, out: called.append(given[0].lengths))
    Model(taught).generate("a ball", one_stage=True)
    handle.remove()
    assert called == [(3 * 2 * 2,)] * 3  # one pack, without the null text beside it


def test_a_sample_is_the_same_however_many_are_made_beside_it(taught):
    how, canvas = settings_for(taught, {}), build(taught, Shape(num_frames=5, height=32, width=32, fps=8.0))
    by_student = taught.with_student()
    told = encode_prompt(by_student, "a ball")
    alone = sample(by_student, canvas, told, how, Watch(), seeds=[6])
    torch.testing.assert_close(
        sample(by_student, canvas, told, how, Watch(), seeds=[5, 6])[1:], alone, atol=1e-4, rtol=1e-4
    )


def test_tokens_that_are_given_are_kept_exactly(taught):
    how = settings_for(taught, {})
    canvas = build(taught, Shape(num_frames=9, height=32, width=32, fps=8.0), [Condition(picture(1, 32, 32))])
    by_student = taught.with_student()
    tokens = sample(by_student, canvas, encode_prompt(by_student, "a ball"), how, Watch())
    given = canvas.levels == 0
    assert torch.equal(tokens[:, given], canvas.known[:, given]) and tokens.isfinite().all()


def test_every_way_to_a_video_goes_by_the_student(taught, monkeypatch):
    """The full weights are not called at all."""
    model, clip = Model(taught), Video(picture(5, 32, 32), 8.0)
    called = []
    handle = taught.dit.register_forward_hook(lambda *_: called.append(1))
    made = [
        model.generate("a ball", candidates=1),
        model.image("a ball"),
        model.animate(clip.frames[0], "a ball"),
        model.extend(clip, "a ball", after=0.5),
        model.loop("a ball", seconds=1.0),
        model.edit(clip, "a cube", strength=0.6),
        model.edit(clip, "a cube", source="a ball", strength=0.6),
        model.generate("a ball", preview=clip, strength=0.6),
        model.inpaint(clip, "a ball", box=(0, 0, 16, 16)),
        model.generate("0-1s: a ball | 1s-: a cube", seconds=2.5),
    ]
    handle.remove()
    assert not called and all(len(video.frames) for video in made)
    assert torch.equal(made[2].frames[0], clip.frames[0]) and torch.equal(made[3].frames[:5], clip.frames)


def test_an_edit_to_the_same_words_changes_nothing(taught):
    """Neither side is guided, so both estimates are equal; only the VAE's round trip is left."""
    model, clip = Model(taught), Video(picture(5, 32, 32), 8.0)
    same = model.edit(clip, "a ball", source="a ball", strength=0.8).frames
    latents = Model(taught).edit(clip, "a ball", source="a ball", strength=0.1).frames
    assert (same.float() - latents.float()).abs().max() <= 1
