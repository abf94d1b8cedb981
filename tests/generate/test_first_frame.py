"""The first frame from a prompt: candidates, the choice, and the rest conditioned on its latent."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby, pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from minisora import device
from minisora.bundle import Bundle
from minisora.errors import UsageError
from minisora.eval.report import prompts, render_all
from minisora.generate import first_frame, fitting
from minisora.generate import frames as ways
from minisora.generate.canvas import Shape, build
from minisora.generate.first_frame import FirstFrame, chooser, first_latents, likelihoods, picture_first
from minisora.generate.frames import ENLARGED_NOISE, Sampling, enlarged
from minisora.generate.model import Model
from minisora.generate.plan import Stopped
from minisora.generate.rollout import roll_out
from minisora.generate.schedule import Schedule
from minisora.generate.verbs import Generate
from minisora.generate.window import Settings, decode, encode_prompt, sample
from minisora.progress import Event, Watch
from minisora.video import Video, resize
from tests.helpers.tiny import SHAPE, bundle, picture, sampled, settings

__all__ = ["bundle"]  # a fixture

BALL = Schedule.parse("a ball")


class Prefers:
    """A captioner that finds one candidate likelier than the others."""

    def __init__(self, number: int) -> None:
        self.number, self.seen = number, 0
        self.texts: list[str] = []

    def fitted(self, frames: Tensor, fps: float) -> Tensor:
        return frames

    def log_likelihood(self, frames: Tensor, texts: list[str], *, ahead: bool) -> Tensor:
        self.texts += texts
        here = torch.arange(self.seen, self.seen + len(frames))
        self.seen += len(frames)
        return -(here != self.number).float()


def choosing(candidates: int, number: int) -> FirstFrame:
    return FirstFrame(candidates, Prefers(number))  # type: ignore[arg-type]


def made(bundle: Bundle, shape: Shape, how: Settings, first: FirstFrame | None = None) -> Tensor:
    return sampled(Sampling(bundle, shape, BALL, how, first=first))


def first_of(bundle: Bundle, text: str, how: Settings, first: FirstFrame) -> Tensor:
    return first_latents(bundle, [(text, how.seed)], SHAPE, how, first, Watch())


def test_the_chosen_latent_is_held_exactly_and_the_rest_is_made(bundle):
    canvas = build(bundle, SHAPE)
    how = choosing(3, 1)
    begun, rest = picture_first(bundle, BALL, canvas, settings(steps=6), how, Watch())
    chosen = first_of(bundle, "a ball", settings(steps=3), choosing(3, 1))
    assert begun.held() == [True, False, False, False]
    latents = torch.cat(list(roll_out(bundle, begun, BALL, settings(steps=6), rest)), 1)
    assert torch.equal(latents[:, :1], chosen) and latents.isfinite().all()
    assert latents[:, 1:].abs().amin((2, 3, 4)).min() > 0


def test_one_candidate_is_what_the_seed_alone_gives(bundle):
    """A picture equals that of one stage, bit for bit; a video begins with half the steps."""
    still = replace(SHAPE, num_frames=1)
    assert torch.equal(
        made(bundle, still, settings(), FirstFrame()),
        made(bundle, still, settings()),
    )
    begun = made(bundle, SHAPE, settings(steps=5), FirstFrame())[:1]
    alone = made(bundle, still, settings(steps=3))
    assert (begun.int() - alone.int()).abs().max() <= 1  # decoded with the latent after it, it is rounded otherwise


def test_one_stage_is_a_single_window_of_noise(bundle):
    canvas = build(bundle, SHAPE)
    tokens = sample(bundle, canvas, encode_prompt(bundle, "a ball"), settings(), Watch())
    frames = torch.cat(list(decode(bundle, [canvas.latents(tokens)], SHAPE, Watch())))
    assert torch.equal(made(bundle, SHAPE, settings()), frames)
    assert not torch.equal(made(bundle, SHAPE, settings(), FirstFrame()), frames)


@pytest.mark.parametrize("change", [{}, {"guidance": 1.0}, {"guidance_rescale": 0.5}])
def test_a_candidate_is_the_same_however_many_there_are(bundle, change):
    """Each equals its own seed alone: prompts and null texts of a pack stay with their samples."""
    how = settings(**change)
    third = [first_of(bundle, "a red ball", how, choosing(count, 2)) for count in (3, 5, 11)]
    seed = (how.seed + 2 * first_frame._SEED_STRIDE) % 2**63
    alone = first_of(bundle, "a red ball", replace(how, seed=seed), FirstFrame())
    for one in third:
        torch.testing.assert_close(one, alone, atol=2e-5, rtol=1e-4)
    assert not torch.allclose(first_of(bundle, "a red ball", how, choosing(3, 1)), alone, atol=0.1)


def test_the_first_is_taken_where_no_candidate_is_likelier(bundle):
    assert torch.equal(
        first_of(bundle, "a ball", settings(), choosing(3, 0)),
        first_of(bundle, "a ball", settings(), choosing(3, 99)),
    )


def test_of_a_prompt_that_changes_its_beginning_counts(bundle):
    how, canvas, told = choosing(2, 1), build(bundle, SHAPE), Schedule.parse("0-1s: a ball | 1s-: two cubes")
    begun, _ = picture_first(bundle, told, canvas, settings(), how, Watch())
    assert how.captioner.texts == ["a ball", "a ball"]  # type: ignore[union-attr]
    first = first_of(bundle, "a ball", settings(steps=2), choosing(2, 1))
    assert torch.equal(begun.latents(begun.known)[:, :1], first)


def test_a_long_video_goes_on_from_its_first_frame(bundle):
    short = replace(bundle, sampling=replace(bundle.sampling, window=3, context=1))
    shape = replace(SHAPE, num_frames=33)
    whole = made(short, shape, settings(), choosing(2, 1))
    assert len(whole) == 33
    half = settings(steps=first_frame.first_steps(settings().steps))
    still = made(short, replace(shape, num_frames=1), half, choosing(2, 1))
    assert torch.equal(whole[:1], still)


def test_what_is_made_small_first_begins_with_a_chosen_frame(bundle):
    narrow = replace(bundle, sampling=replace(bundle.sampling, tile=2, size=(32, 32)))
    shape = Shape(num_frames=5, height=64, width=64, fps=8.0)
    small = made(narrow, replace(shape, height=32, width=32), settings(), choosing(2, 1))
    large = made(narrow, shape, settings(), choosing(2, 1))
    again = sampled(enlarged(Sampling(narrow, shape, BALL, settings()), resize(small, 64, 64), ENLARGED_NOISE))
    assert torch.equal(large, again)


@pytest.mark.parametrize(("num_frames", "windows"), [(1, 0), (13, 1), (33, 4)])
def test_both_stages_are_counted_as_one(bundle, num_frames, windows):
    short = replace(bundle, sampling=replace(bundle.sampling, window=4 if windows < 2 else 3, context=1))
    told: list[Event] = []
    watch, shape = Watch(on_event=told.append), replace(SHAPE, num_frames=num_frames)
    sampled(Sampling(short, shape, BALL, settings(steps=3), first=choosing(2, 0)), watch)
    assert {event.total for event in told} == {2 + 3 * windows if windows else 3}
    assert [stage for stage, _ in groupby(event.stage for event in told)] == ["first frame", "denoise"][
        : 1 + (windows > 0)
    ]
    done = [event.done for event in told]
    assert all(before <= after <= before + 1 for before, after in pairwise(done)) and done[-1] == told[0].total
    stages = ["canvas", "text", "first frame", "choose", *(["denoise"] if windows else []), "decode"]
    assert list(watch.seconds) == stages


@pytest.mark.parametrize("at", [1, 3])
def test_either_stage_can_be_cancelled(bundle, at):
    def cancel(event: Event) -> None:
        assert event.done <= at
        if event.done == at:
            raise KeyboardInterrupt

    begins = replace(bundle, sampling=replace(bundle.sampling, size=(32, 48), candidates=1))
    with pytest.raises(KeyboardInterrupt) as stopped:
        Model(begins).run(Generate("a ball", seconds=1.5, steps=3), on_event=cancel)
    assert not isinstance(stopped.value, Stopped)


def test_the_true_frame_is_likelier_than_those_of_other_scenes(toybox):
    """Held-out scenes through the VAE, each against three others.

    The words are of two seconds, not of a picture.
    """
    one = chooser("playroom", torch.device("cpu"), torch.float32)
    scenes, asked = prompts(24)
    pictures = torch.stack([clip[:1] for clip in render_all(scenes, (64, 64))])
    vae = toybox.bundle.vae
    latents = vae.encode((pictures.float() / 127.5 - 1).to(next(vae.parameters()).dtype))
    shape, right = Shape(num_frames=1, height=64, width=64, fps=8.0), 0
    for n, words in enumerate(asked):
        others = [n, (n + 7) % 24, (n + 11) % 24, (n + 17) % 24]
        right += int(likelihoods(toybox.bundle, one, latents[others], shape, words.prompt).argmax()) == 0
    assert right >= 20
    assert not likelihoods(toybox.bundle, one, latents[:3], shape, "Ein Teekessel pfeift").any()


@pytest.fixture
def model(bundle) -> Model:
    """As small as it gets; it begins with a first frame, and names who chooses."""
    named = replace(bundle, trained={"captioner": "playroom"})
    return Model(replace(named, sampling=replace(bundle.sampling, size=(32, 32), window=4, context=1, candidates=4)))


FEW: dict[str, Any] = {"steps": 2, "guidance": 1.0, "seed": 3}


def test_candidates_as_users_ask_for_them(model, monkeypatch):
    firsts: list[FirstFrame | None] = []
    real = Sampling._sampled
    monkeypatch.setattr(Sampling, "_sampled", lambda self, watch: firsts.append(self.first) or real(self, watch))
    monkeypatch.setattr(fitting, "chooser", lambda *_: Prefers(0))
    model.image("a ball", **FEW)
    model.image("a ball", candidates=1, **FEW)
    model.generate("a ball", seconds=0.5, candidates=3, **FEW)
    model.generate("a ball", seconds=0.5, one_stage=True, **FEW)
    asked = Generate("a ball", seconds=4.0, candidates=2, **FEW)
    streamed = torch.cat(list(model.stream(asked).video.pieces))
    assert torch.equal(streamed, model.run(asked).video.frames)
    counts = [first and first.candidates for first in firsts]
    assert counts == [4, 1, 3, None, 2, 2]
    for verb in (model.generate, model.image):
        with pytest.raises(UsageError, match="candidates 0: give 1 or more"):
            verb("a ball", candidates=0)
    with pytest.raises(UsageError, match="one_stage makes no first frame to choose: leave out candidates"):
        model.generate("a ball", candidates=2, one_stage=True)
    for asked in ({"candidates": 2}, {"one_stage": True}):
        with pytest.raises(UsageError, match="preview has its first frame already: leave out candidates and one_stage"):
            model.generate("a ball", seconds=1.0, preview=Video(picture(9, 32, 32), 8.0), **asked)


def test_a_bundle_says_how_many_and_one_that_does_not_stays_in_one_stage(bundle):
    shape = Shape(num_frames=17, height=32, width=32, fps=8.0)
    assert fitting.first_frame(bundle, shape, None, False) is None
    assert fitting.first_frame(bundle, shape, 1, False) == FirstFrame()
    one = replace(bundle, sampling=replace(bundle.sampling, candidates=4))
    assert fitting.first_frame(one, shape, None, False) == FirstFrame()  # nobody to choose
    assert fitting.first_frame(one, shape, None, True) is None
    chosen = fitting.first_frame(replace(one, trained={"captioner": "playroom"}), shape, None, False)
    assert chosen.candidates == 4 and chosen.captioner is chooser("playroom", torch.device("cpu"), torch.float32)


def test_who_names_no_captioner_takes_the_first(model):
    alone = Model(replace(model.bundle, trained={}))
    assert torch.equal(alone.image("a ball", **FEW).frames, alone.image("a ball", candidates=1, **FEW).frames)
    with pytest.raises(UsageError, match="tiny names no captioner that could choose from 2 candidates"):
        alone.image("a ball", candidates=2)
    nowhere = Model(replace(model.bundle, trained={"captioner": "nowhere"}))
    with pytest.raises(UsageError, match="there is no captioner 'nowhere'"):
        nowhere.image("a ball")


def test_more_candidates_than_memory_holds(model, monkeypatch):
    shape = Shape(num_frames=17, height=32, width=32, fps=8.0)
    monkeypatch.setattr(device, "machine_bytes", lambda: 2**27)
    most = max(n for n in range(1, 100_000) if fitting.memory_bytes(model.bundle, shape, n) <= 0.9 * 2**27)
    monkeypatch.setattr(fitting, "chooser", lambda *_: SimpleNamespace())
    assert fitting.first_frame(model.bundle, shape, most, False).candidates == most
    with pytest.raises(UsageError, match=rf"a choice from {most + 1} candidates of 32x32 .* It holds {most}: ask"):
        fitting.first_frame(model.bundle, shape, most + 1, False)
    with pytest.raises(UsageError, match=f"It holds {most}"):
        model.generate("a ball", candidates=10**12)


def test_scenes_of_a_storyboard_without_keyframes_begin_with_a_chosen_frame(model, tmp_path, monkeypatch):
    from PIL import Image

    Image.fromarray(picture(1, 32, 32)[0].numpy()).save(tmp_path / "a.png")
    (tmp_path / "film.yaml").write_text(
        "shots:\n  - {prompt: a ball, seconds: 0.5}\n"
        "  - {prompt: a cube, seconds: 0.5, keyframes: {0: a.png}}\n  - {prompt: a cone, seconds: 0.5}\n"
    )
    began, real = [], ways.picture_first
    monkeypatch.setattr(ways, "picture_first", lambda *given: began.append(given[1].first) or real(*given))
    frames = model.storyboard(tmp_path / "film.yaml", candidates=1, **FEW).frames
    assert began == ["a ball", "a cone"] and torch.equal(frames[5], picture(1, 32, 32)[0])
    scene = model.generate("a ball", seconds=0.5, candidates=1, **FEW).frames
    assert torch.equal(frames[:5], scene)
    began.clear()
    model.storyboard(tmp_path / "film.yaml", one_stage=True, **FEW)
    assert began == []
