"""Scores of captions from their text alone, and stripping of openings such as "The video shows".

A clip is scored by all its captions together: the longest for length, the worst for the other
rules.

Here: rules for text. Not here: whether a caption fits its clip (learned.py), thresholds
(decide.py).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

WORDS = {
    "caption_count": "captions of the clip, empty and repeated ones left out",
    "caption_words": "words of the longest caption; letters of Chinese, Japanese, Korean and Thai count as words",
    "caption_url": "share of the captions with an address of the web or of mail, 0 to 1",
    "caption_repeat": "share of words that are in a row of three said before; of the worst caption, 0 to 1",
    "caption_symbols": "share of signs that no sentence needs, tags and emoji among them; of the worst caption, 0 to 1",
    "caption_latin": "share of letters that are Latin; of all captions, 0 to 1",
    "caption_upper": "share of Latin letters that are capitals; of the worst caption, 0 to 1",
    "caption_shared": "clips of the set whose captions are all the same as this one's, itself among them",
}

_MEDIUM = r"(?:short |brief |silent |given |provided |entire |following )*(?:video|clip|footage|film|scene|image|gif)s?"
_SHOWS = (
    r"(?:shows?|showing|showcas(?:es|ing)|depict(?:s|ing)?|display(?:s|ing)?|features?|featuring|portrays?|presents?"
    r"|captures?|illustrates?|demonstrates?|contains?|(?:opens|begins|starts) with|is (?:of|about|showing))"
)
_OPENINGS = re.compile(
    r"(?:(?:sure|certainly|okay)[,!.]+\s*)?(?:here is (?:a|the) (?:detailed )?(?:caption|description)[^:.!]*[:.!]\s*)?"
    r"(?:(?:caption|description|answer)\s*:\s*)?"
    r"(?:"
    rf"(?:the|this|an?|these) {_MEDIUM}(?: clip| footage| sequence)? {_SHOWS}(?: that)?\b"
    r"|an? (?:short |brief )?(?:video|clip) of\b"
    rf"|in (?:the|this) {_MEDIUM}"
    r"(?:,? we (?:can )?see\b|,? there (?:is|are)\b|,|(?= (?:an?|the|two|three|some|several)\b))"
    r"|we (?:can )?see\b"
    r")?[\s:,]*",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"https?:|www\.|[\w.-]+@[\w-]+\.\w|\b[\w-]{2,}\.(?:com|net|org|io|tv|ly|me)\b", re.IGNORECASE)
_LETTER_SCRIPTS = "CJK |HIRAGANA|KATAKANA|HANGUL|THAI|LAO |KHMER|MYANMAR"  # written without spaces between words
_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_USUAL = set(".,;:!?'\"’‘“”()-–—…%&/°+、。，；：！？「」『』《》（）·")


def cleaned(captions: Iterable[str], *, strip: bool = True) -> list[str]:
    """Captions without extra spaces, duplicates and empty ones.

    strip: remove openings such as "The video shows" too
    """
    plain = (" ".join(caption.split()) for caption in captions)
    return list(dict.fromkeys(text for text in (stripped(one) if strip else one for one in plain) if text))


def stripped(caption: str) -> str:
    """The caption without its opening, capitalised if it was.

    Unchanged if nothing would be left.
    """
    rest = caption[_OPENINGS.match(caption).end() :]  # type: ignore[union-attr]  # it matches nothing too
    if not rest:
        return caption
    return rest[0].upper() + rest[1:] if caption[0].isupper() else rest


def word_scores(captions: Sequence[str]) -> dict[str, float]:
    """The scores of `WORDS` but caption_shared, which depends on the whole set.

    A clip without captions has no faults.
    """
    texts = cleaned(captions, strip=False)
    joined = "".join(texts)
    letters = sum(map(str.isalpha, joined))
    return {
        "caption_count": float(len(texts)),
        "caption_words": float(max((len(_words(text)) for text in texts), default=0)),
        "caption_url": sum(_ADDRESS.search(text) is not None for text in texts) / max(len(texts), 1),
        "caption_repeat": max(map(_repeated, texts), default=0.0),
        "caption_symbols": max(map(_symbols, texts), default=0.0),
        "caption_latin": sum(map(_is_latin, joined)) / letters if letters else 1.0,
        "caption_upper": max(map(_upper, texts), default=0.0),
    }


def shared_scores(captions: Iterable[Sequence[str]]) -> list[float]:
    """The caption_shared of each clip of a set, by words alone; 0 without captions."""
    digests = [
        hash(frozenset(" ".join(_words(one)).casefold() for one in texts)) if texts else None for texts in captions
    ]
    count = Counter(digests)
    return [float(count[one]) if one is not None else 0.0 for one in digests]


def _words(text: str) -> list[str]:
    """Split into words; in a script without spaces each character is a word."""
    found: list[str] = []
    for word in _WORD.findall(text):
        if word.isascii() or not any(map(_stands_alone, word)):
            found.append(word)
        else:
            found += [letter for letter in word if letter.isalnum()]
    return found


def _stands_alone(letter: str) -> bool:
    return re.match(_LETTER_SCRIPTS, unicodedata.name(letter, "")) is not None


def _is_latin(letter: str) -> bool:
    return letter.isalpha() and (letter.isascii() or unicodedata.name(letter, "").startswith("LATIN"))


def _repeated(text: str) -> float:
    words = [word.casefold() for word in _words(text)]
    seen: set[tuple[str, ...]] = set()
    again: set[int] = set()
    for first in range(len(words) - 2):
        three = tuple(words[first : first + 3])
        if three in seen:
            again.update(range(first, first + 3))
        seen.add(three)
    return len(again) / len(words) if words else 0.0


def _symbols(text: str) -> float:
    odd = sum(not (sign.isalnum() or sign.isspace() or sign in _USUAL or unicodedata.combining(sign)) for sign in text)
    return odd / len(text)


def _upper(text: str) -> float:
    letters = [letter for letter in text if _is_latin(letter)]
    return sum(map(str.isupper, letters)) / len(letters) if letters else 0.0
