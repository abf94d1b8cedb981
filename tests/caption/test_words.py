"""Words to numbers and back: all that the playroom says, and whatever else is said in letters."""

from __future__ import annotations

import pytest
import torch

from minisora.caption.model import Captioner, CaptionerConfig
from minisora.caption.words import END, FIRST_WORD, LONG, SHORT, Vocabulary, playroom_words
from minisora.worlds import playroom


def test_every_caption_of_the_playroom_comes_back_as_it_was():
    vocabulary = Vocabulary(playroom_words())
    words = set(playroom_words())
    for seed in range(40):
        scene = playroom.draw(seed)
        for start, stop in ((0.0, 2.0), (0.0, 4.0), (2.0, 2.0)):
            for caption in playroom.captions(scene, seed=1, start=start, stop=stop):
                numbers = vocabulary.encode(caption.text, long=False)
                text = " ".join(caption.text.lower().rstrip(".").split())
                assert vocabulary.decode(numbers) == text[0].upper() + text[1:] + "."
                said = {vocabulary.pieces[number - FIRST_WORD] for number in numbers[1:-1]}
                assert said <= words | {",", ";"}, "no word of the playroom needs spelling"


def test_what_is_not_known_is_spelled():
    vocabulary = Vocabulary(["a", "red"])
    numbers = vocabulary.encode("A red axolotl, 42!", long=True)
    assert numbers[0] == LONG and numbers[-1] == END
    assert vocabulary.decode(numbers) == "A red axolotl, 42."
    assert vocabulary.encode("", long=False) == [SHORT, END] and vocabulary.decode([SHORT, END]) == ""
    assert max(numbers) < len(vocabulary)


def test_numbers_of_words_are_for_known_ones():
    vocabulary = Vocabulary(["red"])
    assert vocabulary.pieces[vocabulary.numbers(["red"])[0] - FIRST_WORD] == "red"
    with pytest.raises(KeyError):
        vocabulary.numbers(["blue"])


def test_more_words_leave_what_is_known_as_it_was():
    """A captioner with more words says of those that it knew what it said."""
    torch.manual_seed(0)
    small = Captioner(CaptionerConfig(words=("ball", "red"), num_frames=4, group=2, side=16, width=24, num_heads=2))
    wider = small.with_words(("a", "red", "cone"))
    assert wider.config.words == ("ball", "red", "a", "cone")
    frames = torch.randint(256, (1, 4, 16, 16, 3), dtype=torch.uint8)
    before = small(frames, torch.tensor([small.vocabulary.encode("red ball")]))
    after = wider(frames, torch.tensor([wider.vocabulary.encode("red ball")]))
    kept = [number for number in range(len(wider.vocabulary)) if number < FIRST_WORD]
    kept += wider.vocabulary.numbers(["ball", "red"])
    own = [*range(FIRST_WORD), *small.vocabulary.numbers(["ball", "red"])]
    torch.testing.assert_close(after[..., kept], before[..., own])
