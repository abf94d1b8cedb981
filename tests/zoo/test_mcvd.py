"""MCVD: what is masked is not seen, windows are right, blocks follow each other."""

from __future__ import annotations

import torch

from minisora.zoo import mcvd
from minisora.zoo.frame.entry import Ask
from minisora.zoo.frame.sets import CLIPS_32, FIELDS, ToyBatch

LABELS = torch.zeros(4, len(FIELDS), dtype=torch.long)


def frames(count, batch=4):
    return torch.randn(batch, count, 32, 32, 3)


def test_hidden_frames_change_nothing_and_seen_ones_do():
    torch.manual_seed(0)
    model = mcvd.MaskedNet()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x, p, f, t = frames(4), frames(2), frames(2), torch.tensor([10, 200, 500, 900])
    seen = torch.tensor([[True, True], [True, False], [False, True], [False, False]])
    eps = model(x, t, LABELS, p, f, seen)
    other_past, other_future = model(x, t, LABELS, -p, f, seen), model(x, t, LABELS, p, -f, seen)
    for n, (past, future) in enumerate(seen.tolist()):
        assert torch.equal(eps[n], other_past[n]) != past
        assert torch.equal(eps[n], other_future[n]) != future


def test_channels_hold_frame_after_frame():
    x = frames(4)
    torch.testing.assert_close(mcvd.as_channels(x)[..., 3:6], x[:, 1])


class Recorder(torch.nn.Module):
    """Keeps what it is asked, and sees noise everywhere."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def forward(self, x, t, labels, p, f, seen):
        self.asked.append((x, t, p, f, seen))
        return x


def test_a_training_window_is_cut_in_past_block_and_future_and_masks_are_fair():
    count = 2000
    clips = torch.arange(16.0).reshape(1, 16, 1, 1, 1).expand(count, 16, 2, 2, 3)
    recorder = Recorder()
    mcvd.loss(recorder, ToyBatch(clips, LABELS[:1].expand(count, -1)), torch.Generator().manual_seed(0))
    (_, _, p, f, seen) = recorder.asked[0]
    start = p[:, 0, 0, 0, 0]
    torch.testing.assert_close(p[:, 1, 0, 0, 0], start + 1)
    torch.testing.assert_close(f[:, :, 0, 0, 0], start[:, None] + torch.tensor([6.0, 7.0]))
    assert start.unique().tolist() == list(range(9))
    tasks = (2 * seen[:, 0] + seen[:, 1].long()).bincount() / count
    torch.testing.assert_close(tasks, torch.full((4,), 0.25), atol=0.04, rtol=0)


def test_a_clip_is_generated_and_then_predicted_from_its_own_last_frames():
    recorder = Recorder()
    clip = mcvd.sample({"mcvd": recorder}, Ask(LABELS, torch.Generator().manual_seed(0)))
    assert clip.shape == (4, *CLIPS_32.shape)
    calls = recorder.asked[:: mcvd.STEPS]
    assert [seen[0].tolist() for *_, seen in calls] == [[False, False]] + 3 * [[True, False]]
    for n, (_, _, p, _, _) in enumerate(calls[1:], 1):
        torch.testing.assert_close(p, clip[:, 4 * n - 2 : 4 * n])
