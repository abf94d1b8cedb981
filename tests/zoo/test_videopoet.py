"""VideoPoet's tasks: what each is shown and has to write, and that nothing else gets through."""

from __future__ import annotations

import math

import pytest
import torch

from minisora.zoo import videopoet
from minisora.zoo.frame.entry import Ask
from minisora.zoo.frame.sets import CLIPS_32, FIELDS, ToyBatch
from minisora.zoo.videogpt import LENGTH, VQVAE, K
from minisora.zoo.videopoet import TASKS, VideoPoet

LABELS = torch.zeros(2, len(FIELDS), dtype=torch.long)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = VideoPoet(VQVAE().eval())
    torch.nn.init.normal_(model.head.weight, std=0.5)
    return model.eval()


@pytest.fixture
def clips():
    return torch.rand(2, *CLIPS_32.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_how_much_each_task_knows_and_writes():
    sizes = {name: (len(task.prefix), len(task.written)) for name, task in TASKS.items()}
    assert sizes == {
        "text": (0, 256),
        "image": (64, 256),
        "prediction": (128, 128),
        "inpainting": (192, 64),
        "outpainting": (128, 128),
    }
    for name in ("text", "prediction", "inpainting", "outpainting"):  # a picture is no four frames of a video
        both = torch.cat([TASKS[name].prefix, TASKS[name].written])
        assert torch.equal(both.sort().values, torch.arange(LENGTH))


@pytest.mark.parametrize("name", TASKS)
def test_what_is_unknown_does_not_change_the_prefix(model, clips, name):
    task = TASKS[name]
    hidden = clips.clone()
    hidden[:, task.frames :] = torch.rand_like(hidden[:, task.frames :])
    grid = hidden.unflatten(2, (8, 4)).unflatten(4, (8, 4)).transpose(3, 4)
    grid[:, :, ~task.seen] = torch.rand_like(grid[:, :, ~task.seen])
    hidden = grid.transpose(3, 4).flatten(4, 5).flatten(2, 3)
    assert not torch.equal(hidden, clips)
    torch.testing.assert_close(model.prefix(name, hidden, LABELS), model.prefix(name, clips, LABELS))


def test_copying_holds_the_last_known_frame(clips):
    copied = TASKS["prediction"].shown(clips)
    torch.testing.assert_close(copied[:, :8], clips[:, :8])
    torch.testing.assert_close(copied[:, 8:], clips[:, 7:8].expand(-1, 8, -1, -1, -1))
    torch.testing.assert_close(TASKS["image"].shown(clips), clips[:, :1].expand_as(clips))
    assert not TASKS["text"].shown(clips).any()


def test_a_written_code_sees_the_whole_prefix_and_no_later_code(model, clips):
    task = TASKS["prediction"]
    prefix, before = model.prefix("prediction", clips, LABELS), torch.randint(K, (2, len(task.written)))
    logits = model(before, task.written, prefix=prefix)
    later = before.clone()
    later[:, 50:] = (later[:, 50:] + 1) % K
    torch.testing.assert_close(model(later, task.written, prefix=prefix)[:, :50], logits[:, :50])
    other = prefix.clone()
    other[:, -1] *= -1
    assert not torch.allclose(model(before, task.written, prefix=other)[:, 0], logits[:, 0])


@pytest.mark.parametrize("name", ["image", "inpainting"])
def test_writing_with_the_cache_is_writing_anew(model, clips, name):
    task = TASKS[name]
    ask = Ask(LABELS, torch.Generator().manual_seed(0))
    codes = videopoet.written(model, name, clips, ask, temperature=0)
    known = [cell for cell in range(LENGTH) if cell not in set(task.written.tolist())]
    torch.testing.assert_close(codes[:, known], model.tokenize(task.shown(clips))[:, known])
    before = torch.cat([torch.full((2, 1), K), codes[:, task.written][:, :-1]], 1)
    logits = model(before, task.written, prefix=model.prefix(name, clips, LABELS))
    torch.testing.assert_close(logits.argmax(-1), codes[:, task.written])


def test_the_loss_is_on_what_is_written_alone(clips):
    """A new model spends log K on each, whatever the task."""
    torch.manual_seed(0)
    model = VideoPoet(VQVAE().eval())
    for name in TASKS:
        nats = videopoet.nats(model, name, ToyBatch(clips, LABELS))
        assert float(nats.detach()) == pytest.approx(math.log(K), rel=1e-4)
    assert float(videopoet.SHARES.sum()) == pytest.approx(1)


def test_hidden_words_change_nothing(model, clips):
    wordless = torch.ones(2, dtype=torch.bool)
    other = LABELS + 1
    one, two = (model.prefix("text", clips, labels, wordless) for labels in (LABELS, other))
    torch.testing.assert_close(one, two)
    assert not torch.allclose(model.prefix("text", clips, LABELS), model.prefix("text", clips, other))
