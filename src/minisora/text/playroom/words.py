"""An English prompt as a list of items: the longest phrase of the lexicon at each place.

Words are taken to their base form (rolling, rolls: roll); a word that is not in the lexicon but one
slip away from one of its words is read as that one, unless it is a common word (`OTHER_WORDS`).

Here: words, inflections, misspellings, phrases. Not here: the phrases (lexicon.py), Chinese
(chinese.py), what items mean together (parse.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

from minisora.text.playroom.lexicon import Item, phrases, with_slots

_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+|[.,;:!?|\n()]|\S")
_SAME = {
    **{"leftward": "left", "leftwards": "left", "rightward": "right", "rightwards": "right", "towards": "toward"},
    **{"gray": "grey", "afterwards": "then", "&": "and", "lefthand": "left", "righthand": "right", "it's": "it is"},
    **{"onto": "on", "upon": "on", "went": "go", "came": "come", "ran": "run", "stood": "stand", "sat": "sit"},
    **{"slid": "slide", "spun": "spin", "struck": "strike", "met": "meet"},
}
_JOINS = {"and": "and", ",": ",", "(": ",", ")": ",", "then": ","}
_JOINS |= dict.fromkeys([".", ";", ":", "!", "?", "|", "\n", "while", "whereas", "as", "but", "plus"], ";")
_ARTICLES = ("a", "an", "the")
_SLOWLY = ("slow", "slowly", "gently", "smoothly")
_PASSED_OVER = (*_ARTICLES, *_SLOWLY)  # inside a phrase
_ENDINGS = (("ies", "y"), ("es", ""), ("es", "e"), ("s", ""), ("ing", ""), ("ing", "e"), ("ed", ""), ("ed", "e"))
_SLOTS = {"sideslot": "<side>", "colourslot": "<colour>"}
SHORTEST_SLIP = 4  # letters of a word of the lexicon that a misspelled one is read as
LONG_WORD = 8  # letters from which two slips are allowed


@dataclass(frozen=True)
class Word:
    """A word as typed, and its base form.

    read_as: the word that it was taken for, if it was misspelled
    """

    text: str
    base: str
    form: str = ""
    read_as: str = ""


@cache
def table() -> dict[tuple[str, ...], tuple[Item, ...]]:
    """Items by phrase, in base forms; the first phrase of the lexicon wins."""
    found: dict[tuple[str, ...], tuple[Item, ...]] = {}
    for phrase, items in phrases():
        words = _tokens(phrase.replace("<side>", "sideslot").replace("<colour>", "colourslot"))
        words = [word for word in words if word not in _PASSED_OVER] or words
        key = tuple(_SLOTS.get(word) or based(word) for word in words)
        found.setdefault(key, items)
    return found


@cache
def vocabulary() -> frozenset[str]:
    """All words of the lexicon as they are typed there."""
    words = (word for phrase, _ in phrases() for word in re.findall(r"[a-z']+", phrase.lower()))
    return frozenset(words) - {*_ARTICLES}


@cache
def _bases() -> frozenset[str]:
    """Words of the lexicon that are not an inflection of another."""
    words = vocabulary()
    return frozenset(word for word in words if not any(each in words for each, _ in _stems(word)))


def _stems(word: str) -> list[tuple[str, str]]:
    """Possible base forms of an inflected word, with its ending: rolling is roll and "ing"."""
    found = []
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 2:
            stem = word.removesuffix(ending) + instead
            form = "s" if ending.endswith("s") else ending
            found.append((stem, form))
            if not instead and len(stem) > 2 and stem[-1] == stem[-2]:
                found.append((stem[:-1], form))  # spinning, hopped
    return found


def based(word: str) -> str:
    """Base form of a word of the lexicon; other words as they are."""
    return next((stem for stem, _ in _stems(word) if stem in _bases()), word) if word not in _bases() else word


def items(text: str) -> tuple[list[Item], list[str]]:
    """The items of a text, and what misspelled words were read as, such as "rde as red"."""
    words = [_word(token) for token in _tokens(text)]
    found, at = list[Item](), 0
    while at < len(words):
        word = words[at]
        if word.base in _JOINS and not (length := _longest(words, at)[0]):
            found.append(Item("join", _JOINS[word.base], text=word.text))
            at += 1
        elif word.base in _ARTICLES:
            found.append(Item("article", "a" if word.base == "an" else word.base, text=word.text))
            at += 1
        else:
            length, matched = _longest(words, at)
            typed = " ".join(each.text for each in words[at : at + max(length, 1)])
            form = next((each.form for each in words[at : at + max(length, 1)] if each.form), "")
            at += max(length, 1)
            if word.base in _SLOWLY and any(item.kind == "camera" for item in _longest(words, at)[1]):
                continue  # "a slow zoom in"
            for item in matched or (_unmatched(word),):
                found.append(replace(item, text=typed, form=form))
    return found, [f"{word.text} as {word.read_as}" for word in words if word.read_as]


def _unmatched(word: Word) -> Item:
    if word.base.isdecimal():
        return Item("count", word.base)
    return Item("unknown", word.text)


def _tokens(text: str) -> list[str]:
    """Words and marks in lower case; an n't is a word of its own."""
    plain = re.sub(r"n['’]t\b", " not", text.lower().replace("’", "'"))
    plain = re.sub(r"(?<=\w)[-_/](?=\w)", " ", plain)
    return [piece for token in _TOKEN.findall(plain) for piece in _SAME.get(token, token).split()]


def _word(token: str) -> Word:
    known = table()
    if token in _JOINS or token in _ARTICLES or not token.isalpha():
        return Word(token, token)
    if (base := based(token)) in _in_table() or (base,) in known:
        form = next((form for stem, form in _stems(token) if stem == base), "")
        return Word(token, base, form)
    if (meant := nearest(token)) is not None:
        return replace(_word(meant), text=token, read_as=meant)
    return Word(token, token)


@cache
def _in_table() -> frozenset[str]:
    return frozenset(word for key in table() for word in key)


@cache
def _most() -> int:
    return max(map(len, table()))


def _longest(words: Sequence[Word], at: int) -> tuple[int, tuple[Item, ...]]:
    """Length in words of the longest phrase from a place on, and its items; 0 if there is none."""
    known = table()
    if at >= len(words):
        return 0, ()
    places = [at, *(n for n in range(at + 1, min(len(words), at + 2 * _most())) if words[n].base not in _PASSED_OVER)]
    for length in range(min(_most(), len(places)), 0, -1):
        key = tuple(words[n].base for n in places[:length])
        if key[-1] == "floor" and length < len(places) and words[places[length]].base == "of":
            continue  # "bounces on a floor of squares" does not end there
        if key in known:
            return places[length - 1] - at + 1, known[key]
        slots: dict[str, str] = {}
        general = tuple(_slot(word, slots) for word in key)
        if slots and general in known:
            return places[length - 1] - at + 1, with_slots(known[general], slots)
    return 0, ()


def _slot(word: str, slots: dict[str, str]) -> str:
    """The slot that a word fills, noted in `slots`; or the word."""
    if word in ("left", "right"):
        slots["<side>"] = word
        return "<side>"
    found = table().get((word,), ())
    if len(found) == 1 and found[0].kind == "colour":
        slots["<colour>"] = found[0].value
        return "<colour>"
    return word


@cache
def nearest(word: str) -> str | None:
    """The word of `MISSPELT` that is one slip away, two if it is long; first letters are the same.

    None if there is none, if two of another meaning are as near, and for a word of `OTHER_WORDS`.
    """
    stems = [word, *(stem for stem, _ in _stems(word))]
    if any(stem in OTHER_WORDS.split() for stem in stems):
        return None
    close: dict[str, int] = {}
    for known, stem in product(MISSPELT.split(), stems):
        most = 2 if min(len(stem), len(known)) >= LONG_WORD else 1
        near = known[0] == stem[0] and (len(known) >= SHORTEST_SLIP or sorted(known) == sorted(stem))
        if near and len(stem) >= 3 and (slips := distance(stem, known)) <= most:
            close[known] = min(slips, close.get(known, slips))
    best = [known for known in close if close[known] == min(close.values())]
    meanings = {table().get((based(known),), known) for known in best}
    return best[0] if len(meanings) == 1 else None


def distance(one: str, other: str) -> int:
    """Slips between two words: letters left out, put in, changed, or swapped with the next.

    Optimal string alignment: Boytsov 2011, "Indexing methods for approximate dictionary searching".
    """
    rows = [list(range(len(other) + 1))]
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            cost = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]


MISSPELT = (  # words that slips are read as
    "red green blue yellow orange purple cyan white violet crimson scarlet turquoise ball sphere cube cylinder "
    "cone small little tiny large giant shiny glossy polished matte roll slide move bounce spin rotate circle "
    "still stationary jump glide drift travel collide return left right toward away behind camera zoom orbit "
    "floor wooden grass lawn meadow sand beach desert checkerboard chessboard daylight sunset evening night "
    "midnight three four seven eight another"
)
OTHER_WORDS = (  # common words as near to one of these, found in the text encoder's vocabulary
    "always bach bail bala bald bali beech bell bench bill bled bleed blur bounded breach bull cane chan clan "
    "clone code coe coined coke cole con conde cong cope core cote cove cranes cub cuba cue cure cute deserved "
    "deserves dessert draft eighth eighty flood flores foul fur gilded glass glider gloss grabs grams grant "
    "grasp greed greek greene greer greet gross guide lan lange law lent lest lift loft mate matt matteo "
    "matter mode moe mole more moses perished published punished role rolf rotting sad said san sane sang sank "
    "sant scarlett severed severn shall shine side sin skill skin slade slice smell spain span spices spies "
    "spiked spikes spill spine spit steven stifled stirling subset sven thee threw tidy tin tina ting tinted "
    "tony travers tree violated violating violent write zoo"
)
