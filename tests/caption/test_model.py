"""The captioner: what it may attend to, cached against uncached decoding, its files."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from minisora.caption.files import ABOUT, FORMAT, WEIGHTS, load_captioner, save_captioner
from minisora.caption.model import Captioner, CaptionerConfig, matching_costs
from minisora.caption.words import AHEAD, END, FIRST_WORD, LONG, SHORT, playroom_words
from minisora.errors import UsageError, WeightsError

TINY = CaptionerConfig(
    words=("a", "red", "ball"), num_frames=4, group=2, side=16, width=24, num_heads=2, encoder_depth=1, longest=12
)


def captioner(config: CaptionerConfig = TINY) -> Captioner:
    torch.manual_seed(0)
    return Captioner(config).eval()


def frames(batch: int = 2, config: CaptionerConfig = TINY) -> torch.Tensor:
    shape = (batch, config.num_frames, config.side, config.side, 3)
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_the_one_that_is_shipped_is_small():
    whole = Captioner(CaptionerConfig(words=playroom_words()))
    assert 2 * sum(p.numel() for p in whole.parameters()) < 15 * 10**6  # bytes, in bf16
    taken = {id(p) for p in whole.muon_params()}
    assert id(whole.stem[1].weight) in taken and id(whole.word.weight) not in taken


def test_a_word_does_not_see_those_after_it():
    model = captioner()
    words = torch.randint(3, 20, (2, 9), generator=torch.Generator().manual_seed(2))
    changed = words.clone()
    changed[:, 5:] = 4
    before, after = model(frames(), words), model(frames(), changed)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


def test_every_frame_can_change_what_is_said():
    model = captioner()
    words = torch.tensor([[SHORT, 4, 5]])
    plain = model(frames(1), words)
    for frame in range(TINY.num_frames):
        shown = frames(1)
        shown[:, frame, :4, :4] = 0
        assert not torch.equal(model(shown, words), plain)


def test_writing_word_by_word_is_the_same_as_all_at_once():
    model, shown = captioner(), frames()
    words = torch.randint(3, 20, (2, 9), generator=torch.Generator().manual_seed(2))
    whole = model(shown, words)
    video, caches, pieces = model.encode(shown), None, []
    for piece in words.split([1, 3, 5], 1):
        logits, caches = model.next_words(piece, video, caches)
        pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, 1), whole)


def seen_from(clip: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """(T, H, W, 3) rolled by so many pixels, and the nearest older pixel in what came in."""
    moved = clip.roll((-down, -right), (1, 2))
    for axis, by in ((1, down), (2, right)):
        lines = moved.movedim(axis, 0)
        if by > 0:
            lines[-by:] = lines[-by - 1]
        elif by < 0:
            lines[:-by] = lines[-by]
    return moved


def test_the_likeliest_words_are_written_until_the_end():
    """Against choosing without a cache, one clip at a time.

    The likeliest is an average over five shifts.
    """
    model, shown = captioner(), frames(3)
    expected = []
    for clip in shown:
        places = [(0, 0), (2, 2), (-2, -2), (2, -2), (-2, 2)]
        views = torch.stack([seen_from(clip, *place) for place in places])
        words = [LONG]
        for _ in range(TINY.longest):
            scores = model(views, torch.tensor([words] * len(places)))[:, -1]
            scores[:, END + 1 : FIRST_WORD] = float("-inf")
            words.append(int(scores.log_softmax(-1).mean(0).argmax()))
            if words[-1] == END:
                break
        expected.append(model.vocabulary.decode(words))
    assert model.texts(shown, long=True) == expected
    assert any(expected)


@pytest.mark.parametrize("ahead", [False, True])
def test_how_likely_a_text_is_is_the_mean_over_its_known_words(ahead):
    """Against one word at a time with caches, each clip alone; unknown words are dropped."""
    model, shown = captioner(), frames(4)
    texts = ["A red, ball", "the red teapot ball", "x9 teapot", "ball a ball a ball a ball a ball a ball a ball"]
    known = [["a", "red", "ball"], ["red", "ball"], [], (["ball", "a"] * 6)[: TINY.longest - 1]]
    expected = []
    for clip, words in zip(shown, known, strict=True):
        video, caches, found, word = model.encode(clip[None]), None, [], AHEAD if ahead else SHORT
        for number in model.vocabulary.numbers(words):
            logits, caches = model.next_words(torch.tensor([[word]]), video, caches)
            logits[..., END + 1 : FIRST_WORD] = float("-inf")
            found.append(float(logits[0, 0].detach().double().log_softmax(-1)[number]))
            word = number
        expected.append(sum(found) / max(len(found), 1))
    got = model.log_likelihood(shown, texts, ahead=ahead)
    assert got.dtype == torch.float32 and got[2] == 0
    torch.testing.assert_close(got.double(), torch.tensor(expected, dtype=torch.float64), atol=1e-5, rtol=1e-5)


def test_a_clip_of_any_length_and_size_is_fitted():
    model = captioner()
    count = torch.arange(40, dtype=torch.uint8)
    clip = count[:, None, None, None].expand(-1, 20, 30, 3)
    assert model.fitted(clip, 10.0)[:, 0, 0, 0].tolist() == [0, 10, 20, 30]  # 4 seconds: all of it
    assert model.fitted(clip, 5.0)[:, 0, 0, 0].tolist() == [10, 15, 20, 25]  # 8 seconds: its middle
    assert model.fitted(clip[:2], 10.0)[:, 0, 0, 0].tolist() == [0, 0, 1, 1]
    assert model.fitted(clip[:1], 10.0).shape == (4, 16, 16, 3)
    (told,) = model.texts(model.fitted(clip, 8.0)[None])
    assert isinstance(told, str)


def test_it_is_the_same_after_saving(tmp_path):
    model = captioner().to(torch.bfloat16)
    save_captioner(model, tmp_path, {"steps": 3})
    again = load_captioner(tmp_path, dtype=torch.bfloat16)
    assert again.config == TINY and again.texts(frames()) == model.texts(frames())
    assert json.loads((tmp_path / ABOUT).read_text())["trained"] == {"steps": 3}


def test_files_that_are_not_right_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="there is no captioner in"):
        load_captioner(tmp_path)
    save_captioner(captioner(), tmp_path, {})
    about = (tmp_path / ABOUT).read_text()
    (tmp_path / ABOUT).write_text(about.replace('"width": 24', '"width": 48'))
    with pytest.raises(WeightsError, match="cannot be read"):
        load_captioner(tmp_path)
    for other, hint in ((FORMAT + 1, "Update minisora"), (FORMAT - 2, "Train it again")):
        (tmp_path / ABOUT).write_text(about.replace(f'"format": {FORMAT}', f'"format": {other}'))
        with pytest.raises(WeightsError, match=hint):
            load_captioner(tmp_path)
    (tmp_path / ABOUT).write_text(about)
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:-8])
    with pytest.raises(WeightsError, match="not the file"):
        load_captioner(tmp_path)


def test_shapes_that_do_not_split_are_refused():
    with pytest.raises(UsageError, match="equal heads"):
        CaptionerConfig(words=(), width=20, num_heads=3)
    for wrong in ({"side": 30}, {"num_frames": 15, "group": 3}, {"num_frames": 10}):
        with pytest.raises(UsageError, match="do not split into tokens"):
            CaptionerConfig(words=(), **wrong)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (0, 2), (-3, 1), (2, -2)])
def test_costs_are_least_where_a_picture_came_from(down, right):
    """Moved by whole half-size pixels: `down` and `right` of them since the frame before."""
    side, reach = 32, 3
    noise = torch.rand(1, 3, side + 16, side + 16, generator=torch.Generator().manual_seed(0))
    noise = noise.repeat_interleave(2, 2).repeat_interleave(2, 3)  # the same in every two pixels
    before = noise[..., 16 : 16 + side, 16 : 16 + side]
    here = noise[..., 16 - 2 * down : 16 - 2 * down + side, 16 - 2 * right : 16 - 2 * right + side]
    costs = matching_costs(here, before)
    assert costs.shape == (1, (2 * reach + 1) ** 2, side // 8, side // 8)
    least = costs[0, :, 1:-1, 1:-1].flatten(1).argmin(0)
    assert (least == (reach - down) * (2 * reach + 1) + reach - right).all()
    torch.testing.assert_close(costs.mean(1), torch.zeros(1, 4, 4), atol=0.15, rtol=0)


def test_files_of_the_format_before_are_read(tmp_path):
    """They had no word for what lies ahead: it begins as that of a short caption."""
    model = captioner()
    save_captioner(model, tmp_path, {})
    weights = load_file(tmp_path / WEIGHTS)
    rows = weights["word.weight"]
    weights["word.weight"] = torch.cat([rows[:AHEAD], rows[AHEAD + 1 :]])
    save_file(weights, tmp_path / WEIGHTS)
    about = json.loads((tmp_path / ABOUT).read_text())
    about |= {"format": FORMAT - 1, "sha256": hashlib.sha256((tmp_path / WEIGHTS).read_bytes()).hexdigest()}
    (tmp_path / ABOUT).write_text(json.dumps(about))
    read = load_captioner(tmp_path).word.weight
    assert torch.equal(read[AHEAD], read[SHORT])
    assert torch.equal(torch.cat([read[:AHEAD], read[AHEAD + 1 :]]), weights["word.weight"].float())
