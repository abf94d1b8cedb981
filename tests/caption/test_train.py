"""What the captioner is shown and how it learns."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from minisora.caption import files
from minisora.caption.adapters import OwnCaptioner
from minisora.caption.files import load_captioner
from minisora.caption.model import Captioner, CaptionerConfig
from minisora.caption.train import (
    WHOLE,
    CaptionBatches,
    caption_run,
    draw_stretch,
    flow_of,
)
from minisora.caption.words import END, LONG, SHORT, Vocabulary, playroom_words
from minisora.errors import UsageError
from minisora.eval.captions import caption_scores
from minisora.train.config import OptimConfig, RunConfig
from minisora.train.loop import run as train
from minisora.worlds import playroom
from minisora.worlds.playroom.facts import View, watch
from minisora.worlds.playroom.hints import HINTS, NOTHING, hints_of
from minisora.worlds.playroom.scene import is_held_out
from minisora.worlds.seeds import CAPTIONER

TINY = CaptionerConfig(
    words=playroom_words(), num_frames=4, group=2, side=32, width=48, num_heads=2, encoder_depth=1, decoder_depth=1
)
BATCHES = CaptionBatches(config=TINY, scenes=4)


def test_a_batch_is_a_function_of_its_step():
    one, again, other = BATCHES(3), pickle.loads(pickle.dumps(BATCHES))(3), BATCHES(4)
    assert torch.equal(one.frames, again.frames) and torch.equal(one.words, again.words)
    assert not torch.equal(one.frames, other.frames)
    assert one.frames.shape == (4, 4, 32, 32, 3) and one.frames.dtype == torch.uint8
    assert len(one.words) == len(one.frames) * BATCHES.captions_per_clip
    assert one.tokens == int((one.words[:, 1:] != NOTHING).sum()) and one.flops > 0


def test_captions_are_of_the_frames_they_stand_beside():
    """Things that a caption names are in its scene, none of which is held out."""
    batch, vocabulary = BATCHES(0), Vocabulary(TINY.words)
    scenes = [playroom.draw(CAPTIONER[n]) for n in range(4)]
    assert not any(is_held_out(t.colour, t.shape, t.motion) for scene in scenes for t in scene.things)
    for row, words in enumerate(batch.words.tolist()):
        assert words[0] in (SHORT, LONG) and words.count(END) == 1
        text = vocabulary.decode(words)
        things = {f"{thing.colour} {thing.shape}" for thing in scenes[row // BATCHES.captions_per_clip].things}
        assert any(thing in text.lower() for thing in things) or "empty floor" in text


@pytest.mark.parametrize("stretch", [(0.0, 2.0), (2.0, 4.0), (0.0, 4.0)])
def test_a_stretch_is_seen_as_a_clip_of_it_will_be(stretch):
    scenes, model = [playroom.draw(3), playroom.draw(4)], Captioner(TINY)
    drawn = draw_stretch(scenes, 32, 32, *stretch, TINY.num_frames)
    count = round((stretch[1] - stretch[0]) * 8)
    clip = playroom.render(scenes, height=32, width=32, fps=8.0, num_frames=count, start=stretch[0])
    for number in range(2):
        assert torch.equal(drawn.frames[number], model.fitted(clip.frames[number], 8.0))


def test_a_moment_is_one_frame_again_and_again():
    drawn = draw_stretch([playroom.draw(3)], 32, 32, 2.0, 2.0, 4)
    assert drawn.frames.shape[:2] == (1, 4) and (drawn.frames == drawn.frames[:, :1]).all()
    assert drawn.masks is not None and drawn.masks.shape[:2] == (1, 4)


def test_hints_are_of_the_thing_that_covers_a_token():
    scene = next(scene for scene in map(playroom.draw, range(100)) if len(scene.things) == 2)
    view = View(watch(scene, 0.0, 2.0).things[:1], "static", False, None, ())
    seen = view.things[0]
    masks = torch.zeros(2, 16, 16, dtype=torch.long)
    masks[1, :2, :4] = seen.number + 1  # an eighth of the later token at the top left: too little to be asked
    masks[0, 8:, 8:] = seen.number + 1
    masks[0, 8:, :8] = 3 - (seen.number + 1)  # another thing, of which the view says nothing
    hints = hints_of(view, masks).flatten(0, 2)
    asked = [HINTS[name][n] if n != NOTHING else None for name, n in zip(HINTS, hints[3].tolist(), strict=True)]
    thing = seen.thing
    assert asked == [
        "a thing",
        thing.shape,
        thing.colour,
        thing.size,
        thing.material,
        seen.motion,
        seen.direction or "no direction",
    ]
    assert hints.shape == (8, len(HINTS))
    assert hints[:, 0].tolist() == [0, 0, NOTHING, 1, NOTHING, 0, 0, 0]
    assert (hints[[0, 1, 2, 4, 5, 6, 7], 1:] == NOTHING).all()


def test_hints_fit_what_is_shown():
    """Where a thing lies there is more to see than where none does."""
    batch, config = BATCHES(0), TINY
    middle = batch.frames[:, config.middle_frames]
    cells = middle.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).float()  # (B, moments, rows, 8, columns, 8, 3)
    tokens = cells.transpose(3, 4).flatten(4, 5).flatten(1, 3)  # (B, tokens, pixels, 3)
    asked = batch.hints[..., 1] != NOTHING
    assert asked.any() and batch.hints.shape == (4, config.moments * config.places, len(HINTS))
    spread = tokens.amax((2, 3)) - tokens.amin((2, 3))
    assert spread[asked].mean() > 1.5 * spread[batch.hints[..., 0] == 0].mean()
    assert batch.flow.shape == (*batch.hints.shape[:2], 2) and batch.flow.isfinite().float().mean() > 0.9
    assert batch.whole.shape == (4, len(WHOLE)) and (batch.whole < torch.tensor([*map(len, WHOLE.values())])).all()


def test_flow_leads_to_where_the_same_is_seen():
    """After two frames what moved looks as at the start; what stayed in place does not."""
    side, cells = 96, 12
    scenes = [playroom.draw(seed) for seed in range(30)]
    drawn = playroom.render(scenes, height=side, width=side, fps=8.0, num_frames=6, truth=True)
    middle = (torch.arange(cells) + 0.5) / cells
    place = torch.stack([middle.repeat(cells), middle.repeat_interleave(cells)], -1)
    stayed, followed = [], []
    for number in range(len(scenes)):
        flow = flow_of(drawn, number, torch.tensor([3]), torch.tensor([5]), cells) / (8 * cells)
        clear = (flow.norm(dim=-1) > 0.01) & ((place + flow - 0.5).abs().amax(-1) < 0.5)
        first, last = (drawn.frames[number, frame].permute(2, 0, 1).float()[None] for frame in (3, 5))

        def at(picture, points):
            return F.grid_sample(picture, points[None, None] * 2 - 1, align_corners=False)[0, :, 0].T

        stayed.append((at(first, place) - at(last, place)).abs().mean(-1)[clear])
        followed.append((at(first, place) - at(last, place + flow)).abs().mean(-1)[clear])
    assert len(torch.cat(stayed)) > 500
    assert torch.cat(followed).median() < 0.4 * torch.cat(stayed).median()


def test_it_learns_a_batch_by_heart_and_leaves_a_captioner(tmp_path):
    torch.manual_seed(0)
    run = caption_run(TINY, scenes=2)
    model, batch, noise = run.build(), replace(BATCHES, captions_per_clip=1)(0), torch.Generator()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    parts = []
    for _ in range(60):
        parts.append(run.loss(model, batch, noise))
        optimizer.zero_grad()
        parts[-1]["loss"].backward()
        optimizer.step()
    assert parts[-1]["loss"] < 0.3 * parts[0]["loss"] and parts[-1]["accuracy"] > 0.9 and parts[-1]["named"] > 0.9
    run.publish(run.published(model.eval()), tmp_path, 60)
    texts = load_captioner(tmp_path / "captioner").texts(batch.frames, long=bool(batch.words[0, 0] == LONG))
    assert texts[0] == model.vocabulary.decode(batch.words[0].tolist())


def test_the_one_loop_trains_it(tmp_path):
    optim = OptimConfig(lr=1e-3, muon_lr=0.02, warmup_steps=1)
    pieces = vars(caption_run(TINY, scenes=2))
    train(RunConfig(name="captioner", steps=2, optim=optim, prefetch=0, bf16=False, **pieces), tmp_path)
    assert load_captioner(tmp_path / "captioner").config == TINY


def test_one_may_begin_with_another_and_is_shown_what_that_was_not(tmp_path, monkeypatch):
    shown, draw = [], playroom.draw
    monkeypatch.setattr(playroom, "draw", lambda seed, **how: shown.append(seed) or draw(seed, **how))
    first = caption_run(TINY, scenes=2)
    first.publish(first.published(first.build()), tmp_path, 3)
    begun = caption_run(scenes=2, base=tmp_path / "captioner")
    held, weights = load_captioner(tmp_path / "captioner").state_dict(), begun.build().captioner().state_dict()
    assert all(torch.equal(weights[name], held[name]) for name in held)
    for run, steps in ((first, 3), (begun, 4)):
        for step in range(steps):
            run.batch(step)
    assert shown == list(range(shown[0], shown[0] + 14))
    begun.publish(begun.published(begun.build()), tmp_path / "more", 4)
    trained = load_captioner(tmp_path / "more" / "captioner").trained
    assert (trained["steps"], trained["clips"], trained["world"]) == (7, 14, playroom.WORLD_VERSION)


def test_one_of_another_world_writes_and_is_begun_with_but_not_judged(tmp_path, monkeypatch):
    run = caption_run(TINY, scenes=2)
    run.publish(run.published(run.build()), tmp_path, 3)
    monkeypatch.setattr(files, "WORLD_VERSION", playroom.WORLD_VERSION + 1)
    other = OwnCaptioner(load_captioner(tmp_path / "captioner"))
    with pytest.raises(UsageError, match=r"knows world \d, this minisora draws world \d: train it with"):
        caption_scores(other, 2)
    about = json.loads((tmp_path / "captioner" / files.ABOUT).read_text())
    del about["trained"]["world"]  # from before worlds had versions
    (tmp_path / "captioner" / files.ABOUT).write_text(json.dumps(about))
    monkeypatch.setattr(files, "WORLD_VERSION", 1)
    files.check_world(load_captioner(tmp_path / "captioner"))
    assert caption_run(base=tmp_path / "captioner").batch.seen == 0  # none of this world's scenes was shown
