"""Several videos in one pack, and previews, against the same videos made alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from minisora.bundle import Bundle
from minisora.generate.plan import Work
from minisora.generate.request import Request
from minisora.generate.together import sampled_together
from minisora.generate.verbs import Animate, Edit, Generate, Image, Loop
from minisora.generate.window import encode_prompt, joined
from minisora.progress import Event, Preview
from tests.helpers.tiny import bundle as bundle  # a fixture
from tests.helpers.tiny import picture

PROMPTS = ("a red ball", "two small green cubes roll to the left", "a cone")


def works(bundle: Bundle, kind: type[Request], **fields: object) -> list[Work]:
    return [Work.of(bundle, kind(prompt, seed=seed, **fields)) for seed, prompt in enumerate(PROMPTS)]  # type: ignore[call-arg]


def frames(works: Sequence[Work]) -> list[Tensor]:
    return [work.run().video.frames for work in works]


FIELDS = dict(steps=3, size=(32, 48))


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Generate, {"seconds": 1.0, "one_stage": True}),
        (Generate, {"seconds": 1.0, "candidates": 1}),
        (Generate, {"seconds": 1.0, "one_stage": True, "guidance": 1.0}),
        (Generate, {"seconds": 1.0, "candidates": 1, "context_noise": 0.2, "sampler": "heun"}),
        (Image, {"candidates": 1}),
        (Image, {}),
    ],
)
def test_a_video_of_a_pack_is_the_one_made_alone(bundle, kind, fields):
    alone = frames(works(bundle, kind, **FIELDS, **fields))
    asked = works(bundle, kind, **FIELDS, **fields)
    packed = sampled_together(asked)
    assert all(one is not other for one, other in zip(packed, asked, strict=True))
    for one, other in zip(alone, frames(packed), strict=True):
        assert one.shape == other.shape and (one.int() - other.int()).abs().max() <= 1
    assert not torch.equal(alone[0], alone[1])


def test_each_video_chooses_among_its_own_candidates(bundle, monkeypatch):
    """The chooser likes bright frames; each prompt's brightest candidate is another."""
    from minisora.generate import first_frame, fitting

    def bright(bundle, captioner, latents, shape, text):
        return latents.flatten(1).mean(1) * (-1 if text == PROMPTS[1] else 1)

    monkeypatch.setattr(first_frame, "likelihoods", bright)
    monkeypatch.setattr(fitting, "chooser", lambda *given: "captioner")
    chooses = replace(bundle, trained={"captioner": "playroom"})
    fields = {**FIELDS, "seconds": 1.0, "candidates": 3}
    alone = frames(works(chooses, Generate, **fields))
    packed = frames(sampled_together(works(chooses, Generate, **fields)))
    for one, other in zip(alone, packed, strict=True):
        assert (one.int() - other.int()).abs().max() <= 1


def test_works_that_cannot_share_a_pack_stay_as_they_are(bundle):
    clip = picture(9, 32, 48)
    one = Work.of(bundle, Generate("a ball", seconds=1.0, one_stage=True, **FIELDS))
    others = {
        "longer": Generate("a ball", seconds=1.5, one_stage=True, **FIELDS),
        "settings": Generate("a ball", seconds=1.0, one_stage=True, steps=4, size=(32, 48)),
        "two stages": Generate("a ball", seconds=1.0, candidates=1, **FIELDS),
        "a picture": Animate(clip[0], "a ball", seconds=1.0, **FIELDS),
        "a loop": Loop("a ball", seconds=1.0, **FIELDS),
        "an edit": Edit(_video(clip), "a ball", **FIELDS),
        "a changing prompt": Generate("0-0.5s: a ball | 0.5s-: a cube", seconds=1.0, one_stage=True, **FIELDS),
    }
    assert sampled_together([one]) == [one]
    for name, request in others.items():
        asked = [one, Work.of(bundle, request)]
        assert sampled_together(asked) == asked, name
    long = [Work.of(bundle, Generate("a ball", seconds=9.0, one_stage=True, **FIELDS)) for _ in range(2)]
    assert sampled_together(long) == long
    large = [
        Work.of(bundle, Generate("a ball", seconds=0.5, one_stage=True, steps=1, size=(32, 320))) for _ in range(2)
    ]
    assert sampled_together(large) == large


def _video(clip: Tensor):
    from minisora.video import Video

    return Video(clip, 8.0)


def test_every_listener_hears_of_every_step_and_shares_the_seconds(bundle):
    heard: list[list[Event]] = [[], [], []]
    asked = [
        Work.of(bundle, Image(prompt, one_stage=True, **FIELDS), on_event=heard[n].append)
        for n, prompt in enumerate(PROMPTS)
    ]
    results = [work.run() for work in sampled_together(asked)]
    assert heard[0] == heard[1] == heard[2] == [Event("denoise", n, 3) for n in (1, 2, 3)]
    assert len({result.timings["denoise"] for result in results}) == 1
    assert all(result.timings["decode"] > 0 for result in results)


class Shown:
    """A listener that decodes every preview."""

    def __init__(self) -> None:
        self.frames: list[Tensor] = []

    def __call__(self, preview: Preview) -> None:
        self.frames.append(preview(0))


def watching(work: Work, shown: Shown) -> Work:
    return replace(work, watch=replace(work.watch, on_preview=shown))


def test_previews_change_nothing_and_the_last_of_a_picture_is_the_picture(bundle):
    requests = [
        Image("a red ball", one_stage=True, **FIELDS),
        Generate("a red ball", seconds=2.0, candidates=1, **FIELDS),
        Generate("0-1s: a ball | 1s-: a cube", seconds=4.0, one_stage=True, **FIELDS),
        Loop("a red ball", seconds=2.0, **FIELDS),
        Edit(_video(picture(9, 32, 48)), "a ball", source="a cube", **FIELDS),
        Generate("a ball", seconds=0.5, one_stage=True, steps=1, size=(32, 320)),
    ]
    for request in requests:
        plain, shown = Work.of(bundle, request).run().video.frames, Shown()
        watched = watching(Work.of(bundle, request), shown).run().video.frames
        assert torch.equal(plain, watched), request
        assert shown.frames and all(frame.dtype == torch.uint8 and frame.ndim == 3 for frame in shown.frames)
        if isinstance(request, Image):
            assert torch.equal(shown.frames[-1], plain[0])


def test_in_a_pack_each_listener_sees_its_own_video(bundle):
    shown = [Shown() for _ in PROMPTS]
    asked = works(bundle, Image, one_stage=True, **FIELDS)
    packed = sampled_together([watching(work, one) for work, one in zip(asked, shown, strict=True)])
    for work, one in zip(packed, shown, strict=True):
        assert torch.equal(work.run().video.frames[0], one.frames[-1])


def test_nobody_listening_costs_no_decoding(bundle, monkeypatch):
    calls = []
    monkeypatch.setattr("minisora.generate.window.preview", lambda *given: calls.append(given))
    Work.of(bundle, Image("a ball", one_stage=True, **FIELDS)).run()
    assert not calls


def test_prompts_joined_one_by_one_are_those_encoded_at_once(bundle):
    """Against the network's own context of all texts, as one call computes it."""
    one_by_one = joined([encode_prompt(bundle, prompt) for prompt in PROMPTS])
    texts = bundle.text.encode([*PROMPTS, "", "", ""])
    at_once = bundle.dit.context(texts.tokens, tuple(texts.lengths))
    assert one_by_one.count == 3 and one_by_one.lengths == tuple(texts.lengths) == one_by_one.both.lengths
    torch.testing.assert_close(one_by_one.tokens, texts.tokens)
    for mine, theirs in ((one_by_one.both.keys, at_once.keys), (one_by_one.both.values, at_once.values)):
        for x, y in zip(mine, theirs, strict=True):
            torch.testing.assert_close(x, y)
    assert one_by_one.prompt_alone.lengths == tuple(texts.lengths)[:3]
