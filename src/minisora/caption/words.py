"""The captioner's tokenizer: words of the playroom's captions; unknown words are spelled by letter.

After the words come letters and digits, once as the start of a spelled word ("x") and once as its
continuation ("+x"). Case is dropped; decoding gives one sentence.

Here: words to numbers and back. Not here: the network (model.py), the captions it learns
(train.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple

from minisora.worlds.playroom.phrases import PHRASES
from minisora.worlds.playroom.scene import COLOURS, MATERIALS, SHAPES, SIZES

END, SHORT, LONG, AHEAD = range(4)  # the end token, and the three start tokens
FIRST_WORD = 4
MARKS = (",", ";")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_JOINING = (  # words that captions.py puts between phrases
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
    """Encodes texts as token numbers and decodes them."""

    def __init__(self, words: Sequence[str]) -> None:
        spelled = [*LETTERS, *(f"+{letter}" for letter in LETTERS)]
        self._words = {*words}
        self.pieces = list(dict.fromkeys([*MARKS, *words, *spelled]))
        self._number = {piece: FIRST_WORD + n for n, piece in enumerate(self.pieces)}

    def __len__(self) -> int:
        return FIRST_WORD + len(self.pieces)

    def encode(self, text: str, *, long: bool = False, ahead: bool = False) -> list[int]:
        """Encode a text: start token, words, END.

        Characters outside of words and MARKS are dropped.

        long:   start with LONG, not SHORT
        ahead:  start with AHEAD: the text describes the clip that begins with the given frame
        """
        numbers = [AHEAD if ahead else LONG if long else SHORT]
        for word in _PIECE.findall(text.lower()):
            if word in self._number:
                numbers.append(self._number[word])
            else:
                numbers += [self._number["+" * (n > 0) + letter] for n, letter in enumerate(word)]
        return [*numbers, END]

    def known(self, text: str) -> list[int]:
        """Numbers of a text's known words, in order, without spelled words and MARKS."""
        return [self._number[word] for word in _PIECE.findall(text.lower()) if word in self._words]

    def decode(self, numbers: Iterable[int]) -> str:
        """Decode numbers up to END as a sentence, without start tokens."""
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
        """Numbers of known words."""
        return tuple(self._number[word] for word in words)
