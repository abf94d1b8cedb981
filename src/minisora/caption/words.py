"""Text as words with numbers. A word that is not known is spelled, so whatever is said in letters can be said.

The words are those of the playroom's captions. After them come letters and digits, once as the start of a spelled
word ("x") and once as what goes on from a letter ("+x"). Case is dropped; a text comes back as one sentence.

Here: words to numbers and back. Not here: the network (model.py), which captions are learned (train.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple

from minisora.worlds.playroom.phrases import PHRASES
from minisora.worlds.playroom.scene import COLOURS, MATERIALS, SHAPES, SIZES

END, SHORT, LONG, AHEAD = range(4)  # the end of a text, and the three that one begins with
FIRST_WORD = 4
MARKS = (",", ";")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_JOINING = (  # what captions.py itself puts between phrases
    "a an the and away camera to toward left right nothing but the empty floor is seen"
)
_PIECE = re.compile(r"[a-z0-9]+|[,;]")


def playroom_words() -> tuple[str, ...]:
    """All words of the playroom's captions for training, in alphabetical order."""
    phrases = " ".join(_texts(astuple(PHRASES["train"])))
    plain = re.sub(r"\{\w+\}", " ", phrases)
    names = " ".join([*COLOURS, *SHAPES, *SIZES, *MATERIALS])
    found = set(_PIECE.findall(f"{plain} {names} {_JOINING}".lower()))
    return tuple(sorted(found - set(MARKS)))


def _texts(part: object) -> Iterable[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for value in part.values():
            yield from _texts(value)
    elif isinstance(part, tuple):
        for value in part:
            yield from _texts(value)


class Vocabulary:
    """Texts to numbers and back."""

    def __init__(self, words: Sequence[str]) -> None:
        spelled = [*LETTERS, *(f"+{letter}" for letter in LETTERS)]
        self._words = {*words}
        self.pieces = list(dict.fromkeys([*MARKS, *words, *spelled]))
        self._number = {piece: FIRST_WORD + n for n, piece in enumerate(self.pieces)}

    def __len__(self) -> int:
        return FIRST_WORD + len(self.pieces)

    def encode(self, text: str, *, long: bool = False, ahead: bool = False) -> list[int]:
        """What it begins with, the words, END. Signs that are no part of words are dropped, but for MARKS.

        long:   LONG for SHORT
        ahead:  AHEAD: the text is of the clip that begins with what is seen
        """
        numbers = [AHEAD if ahead else LONG if long else SHORT]
        for word in _PIECE.findall(text.lower()):
            if word in self._number:
                numbers.append(self._number[word])
            else:
                numbers += [self._number["+" * (n > 0) + letter] for n, letter in enumerate(word)]
        return [*numbers, END]

    def known(self, text: str) -> list[int]:
        """The words of a text that are known, in order, and nothing else: none is spelled, and there are no MARKS."""
        return [self._number[word] for word in _PIECE.findall(text.lower()) if word in self._words]

    def decode(self, numbers: Iterable[int]) -> str:
        """A sentence, up to END; what a text begins with is left out."""
        text = ""
        for number in numbers:
            if number == END:
                break
            if number < FIRST_WORD:
                continue
            piece = self.pieces[number - FIRST_WORD]
            text += piece[1:] if piece.startswith("+") else piece if piece in MARKS else f" {piece}"
        text = text.strip(" ,;")
        return text[0].upper() + text[1:] + "." if text else ""

    def numbers(self, words: Iterable[str]) -> tuple[int, ...]:
        """Of words that are known."""
        return tuple(self._number[word] for word in words)
