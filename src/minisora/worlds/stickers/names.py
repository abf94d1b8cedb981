"""Names of the animated stickers: person, activity, skin tone, and the held-out combinations.

The names come from Unicode (CLDR short names, through the package `emoji`): "woman rowing boat",
"T-Rex". Here they become noun phrases: "a woman rowing a boat", "a T-Rex".

Here: `names`, `sticker`, `phrase`, and the fixed rule `is_held_out`.
Not here: the stage and its captions (staging.py, wording.py), the frames (store.py).
"""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass

from minisora.errors import UsageError
from minisora.worlds.stickers.catalogue import CATALOGUE

TONES = {  # Fitzpatrick modifiers, Unicode Technical Standard 51
    "1f3fb": "light",
    "1f3fc": "medium-light",
    "1f3fd": "medium",
    "1f3fe": "medium-dark",
    "1f3ff": "dark",
}
PERSONS = ("person", "woman", "man")


@dataclass(frozen=True)
class Sticker:
    """One animated sticker."""

    key: str  # its code points, as in the file name
    words: str  # "woman rowing boat"; the same for all skin tones
    noun: str  # "a woman rowing a boat"
    person: str | None  # one of PERSONS where the sticker shows one person with an activity
    activity: str | None  # "rowing boat", "firefighter"
    tone: str | None  # one of TONES; None where the sticker is yellow or no person
    plural: bool  # "two hearts": its verbs are in the plural


@functools.cache
def names() -> tuple[Sticker, ...]:
    """All animated stickers, in a fixed order.

    Raises UsageError when the package `emoji` is not installed.
    """
    try:
        import emoji
    except ImportError as error:
        raise UsageError("the names of the stickers need the package emoji: pip install 'minisora[train]'.") from error
    english = {key.replace("\ufe0f", ""): entry["en"] for key, entry in emoji.EMOJI_DATA.items()}
    keys = [(key, tone) for entry in CATALOGUE for key, tone in _expand(entry)]
    words = {}
    for key, tone in keys:
        if tone is None:
            characters = "".join(chr(int(point, 16)) for point in key.split("-")).replace("\ufe0f", "")
            words[key] = english[characters].strip(":").replace("_", " ").replace("\u2019", "'")
    activities = {
        name.split(" ", 1)[1] for name in words.values() if name.split(" ", 1)[0] in ("woman", "man") and " " in name
    }
    result, current = [], ""
    for key, tone in keys:
        current = words.get(key, current)  # the tones of a sticker follow it
        person, activity = _split(current, activities)
        result.append(
            Sticker(key, current, _noun(current, person, activity), person, activity, tone, _is_plural(current))
        )
    return tuple(result)


@functools.cache
def sticker(key: str) -> Sticker:
    return next(each for each in names() if each.key == key)


@functools.cache
def split_keys(split: str) -> tuple[tuple[str, ...], ...]:
    """Keys grouped by words, so that variants by skin tone share the chance of one sticker."""
    assert split in ("train", "held_out"), split
    groups: dict[str, list[str]] = {}
    for each in names():
        if is_held_out(each) == (split == "held_out"):
            groups.setdefault(each.words, []).append(each.key)
    return tuple(tuple(group) for group in groups.values())


def is_held_out(each: Sticker) -> bool:
    """True for two of the fifteen pairs of person and skin tone in every activity: held out.

    Each person, activity and tone is seen in others. The rule is a Latin square over them, shifted
    by a checksum of the activity, and depends on nothing that a newer package could change.
    """
    if each.person is None or each.activity is None or each.tone is None:
        return False
    shift = zlib.crc32(each.activity.encode())
    person = PERSONS.index(each.person)
    if person == shift // 5 % 3:
        return False
    return list(TONES.values()).index(each.tone) == (shift + 2 * person) % 5


def _expand(entry: str) -> list[tuple[str, str | None]]:
    """A line of the catalogue as (key, tone)."""
    key = entry.rstrip("*")
    keys: list[tuple[str, str | None]] = [(key, None)]
    if entry.endswith("*"):
        first, *rest = key.split("-")
        if rest[:1] == ["fe0f"]:
            rest = rest[1:]
        for point, tone in TONES.items():
            keys.append(("-".join([first, point, *rest] + [point] * entry.endswith("**")), tone))
    return keys


def _split(words: str, activities: set[str]) -> tuple[str | None, str | None]:
    first, _, rest = words.partition(" ")
    if first in PERSONS and rest:
        return first, rest
    if words in activities:  # "firefighter" beside "woman firefighter"
        return "person", words
    return None, None


_ACTIVITIES = {  # Unicode leaves the articles out
    "rowing boat": "rowing a boat",
    "feeding baby": "feeding a baby",
    "raising hand": "raising a hand",
    "tipping hand": "tipping a hand",
    "bouncing ball": "bouncing a ball",
    "getting massage": "getting a massage",
    "getting haircut": "getting a haircut",
    "with veil": "with a veil",
    "with headscarf": "with a headscarf",
    "with skullcap": "with a skullcap",
    "with white cane": "with a white cane",
    "in motorized wheelchair": "in a motorized wheelchair",
    "in manual wheelchair": "in a manual wheelchair",
    "in tuxedo": "in a tuxedo",
    "in steamy room": "in a steamy room",
    "in suit levitating": "in a suit levitating",
    "in lotus position": "in the lotus position",
    "wearing turban": "wearing a turban",
    "taking bath": "taking a bath",
    "gesturing NO": "gesturing no",
    "beard": "with a beard",
    "red hair": "with red hair",
    "curly hair": "with curly hair",
    "white hair": "with white hair",
    "blond hair": "with blond hair",
    "bald": "with a bald head",
}
_NOUNS = {  # names that are no noun phrases
    "ZZZ": "the letters ZZZ",
    "couple with heart": "a couple with a heart",
    "couple with heart man man": "two men in love with a heart",
    "couple with heart woman man": "a woman and a man in love with a heart",
    "couple with heart woman woman": "two women in love with a heart",
    "kiss": "a couple kissing",
    "kiss woman woman": "two women kissing",
    "woman and man holding hands": "a woman and a man holding hands",
    "breast-feeding": "a woman breast-feeding a baby",
    "fire": "a fire",
    "fog": "fog",
    "wood": "a log of wood",
    "star-struck": "a star-struck face",
    "rolling on the floor laughing": "a face rolling on the floor laughing",
    "hundred points": "a hundred points sign",
    "high voltage": "a lightning bolt",
    "nail polish": "a hand with nail polish",
    "horse racing": "a jockey on a racing horse",
    "selfie": "a hand taking a selfie",
    "raising hands": "two raising hands",
    "people hugging": "two people hugging",
    "airplane departure": "an airplane taking off",
    "airplane arrival": "an airplane landing",
    "hourglass done": "an hourglass",
    "hourglass not done": "an hourglass with flowing sand",
    "wind face": "a blowing wind face",
    "palms up together": "two palms up together",
    "Mrs. Claus": "Mrs. Claus",
    "Santa Claus": "Santa Claus",
    "Mx Claus": "Mx Claus",
    "milky way": "the milky way",
    "sun": "the sun",
    "ewe": "a ewe",
    "heart hands": "two hands that form a heart",
    "light rail": "a light rail train",
    "index pointing up": "a hand with the index finger pointing up",
}
_PLURALS = (
    "eyes", "footprints", "lungs", "hands", "hearts", "notes", "glasses", "mugs", "flags", "prints", "men", "women",
    "people", "busts", "fingers", "palms",
)  # fmt: skip
_HOURS = ("twelve", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")


def _noun(words: str, person: str | None, activity: str | None) -> str:
    first = words.split(" ")[0].split("-")[0]
    if words in _NOUNS:
        return _NOUNS[words]
    if words.endswith("o'clock"):
        return f"a clock at {words}"
    if words.endswith("-thirty"):
        return f"a clock at half past {first}"
    if words.startswith("family "):
        return f"a family: {_listed(words.split(' ')[1:])}"
    if activity is not None and words != activity:
        return f"a {person} {_ACTIVITIES.get(activity, activity)}"
    return words if _is_plural(words) else _with_article(words)


def _is_plural(words: str) -> bool:
    if words in ("ZZZ", "kiss", "raising hands") or words.startswith(("couple with heart ", "kiss woman", "woman and")):
        return True
    head = (
        words.split(" with ")[0]
        .split(" in ")[0]
        .split(" holding")[0]
        .split(" wrestling")[0]
        .split(" hugging")[0]
        .split(" together")[0]
    )
    return head.split(" ")[-1] in _PLURALS and not words.startswith("heart ")


def _with_article(words: str) -> str:
    vowel = words[0].lower() in "aeio" or words.startswith(("OK", "umbrella", "upside", "unamused"))
    return f"{'an' if vowel and not words.startswith('one') else 'a'} {words}"


def _listed(nouns: list[str]) -> str:
    each = [_with_article(noun) for noun in nouns]
    return ", ".join(each[:-1]) + f" and {each[-1]}"
