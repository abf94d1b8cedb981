"""Checking what a language model makes of a prompt against the prompt.

What the model wrote is used whole if it says all of the prompt and nothing against it. Else the
prompt itself stays, with those of the model's sentences that are about it and say nothing new:
no other colours where the prompt has some, no numbers, names, people or animals of its own.

Here: the checks. Not here: the models (writers.py), prompts of the playroom (playroom/), falling
back to the prompt as typed (expand.py).
"""

from __future__ import annotations

import re

from minisora.text.playroom.write import FEWEST_WORDS, MOST_WORDS
from minisora.text.writers import sentence


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


COLOURS = _set(
    "red green blue yellow orange purple violet cyan turquoise white black grey gray brown pink gold golden "
    "silver beige crimson scarlet magenta maroon navy teal"
)
NUMBERS = _set(
    "two three four five six seven eight nine ten eleven twelve dozen hundred thousand million both couple pair"
)
LIVING = _set(
    "man woman men women person people boy girl child children kid kids baby lady guy crowd couple owner "
    "owners someone driver captain crew dog dogs cat cats bird birds horse horses animal animals"
)
SPEECH = _set("i you we me us my your our says said asks asked feel feels think thinks know knows story")
SETTING = _set(
    "camera light lights lit sun sunlight moon sky cloud clouds air wind ground floor background shadow "
    "shadows view shot day night evening morning mist fog surface colour colours picture frame scene"
)
SMALL = _set(
    "a an the of in on at to and or with from by for is are be it its their his her there through over under "
    "into as while then that this these those who which up down out off"
)
MOST_SENTENCES = 3  # of the model, besides the prompt


def checked(prompt: str, answer: str) -> tuple[str, str]:
    """The prompt that may be used, or "" and the reason why there is none.

    answer: of the model, which began with the prompt if it did as it was told
    """
    text = " ".join(answer.split()).strip('"*')
    lost, told = missing(prompt, text), sentences(text)
    if not lost and not any(faults(prompt, each) for each in told) and _fits(text):
        return text, ""
    kept, reasons = [sentence(" ".join(prompt.split()))], [f"it lost {', '.join(lost)}"] * bool(lost)
    for each in told if text.endswith((".", "!")) else told[:-1]:
        reason = faults(prompt, each) or unrelated(prompt, each)
        if reason:
            reasons.append(reason)
        elif each not in kept and len(kept) <= MOST_SENTENCES:
            kept.append(each)
    text = " ".join(kept)
    if _fits(text):
        return text, ""
    return "", reasons[0] if reasons else f"it made {len(text.split())} words of it"


def _fits(text: str) -> bool:
    return FEWEST_WORDS <= len(text.split()) <= MOST_WORDS


def sentences(text: str) -> list[str]:
    return [each for each in re.split(r"(?<=[.!?])\s+", text) if each]


def words(text: str) -> list[str]:
    """Words and numbers in lower case."""
    return re.findall(r"[^\W\d_]+|\d+", text.lower())


def missing(prompt: str, text: str) -> list[str]:
    """Words of the prompt that say something and are not in the text, in any ending."""
    there = {_stem(word) for word in words(text)}
    return [word for word in words(prompt) if word not in SMALL and _stem(word) not in there]


def faults(prompt: str, text: str) -> str:
    """What a sentence says that the prompt has not, in words; "" for nothing."""
    asked, said = set(words(prompt)), words(text)
    if any(word in SPEECH for word in said) or re.search(r"[\"“”?|]", text):
        return f'it speaks: "{text}"'
    extra = [word for word in said if word not in asked]
    numbers = [word for word in extra if word in NUMBERS or word.isdigit()]
    if numbers:
        return f"it has the number {numbers[0]}"
    colours = [word for word in extra if word in COLOURS]
    if colours and asked & COLOURS:
        return f"it has the colour {colours[0]}"
    living = [word for word in extra if word in LIVING and _stem(word) not in {_stem(each) for each in asked}]
    if living:
        return f"it has the {living[0]}"
    names = [name for name in re.findall(r"(?<=[\w,;] )[A-Z]\w+", text) if name.lower() not in asked]
    return f"it has the name {names[0]}" if names else ""


def unrelated(prompt: str, text: str) -> str:
    """Why a sentence is not about the prompt: it names nothing of it and nothing of the setting."""
    asked = {_stem(word) for word in words(prompt) if word not in SMALL}
    said = words(text)
    if any(_stem(word) in asked or word in SETTING for word in said) and 4 <= len(said) <= 30:
        return ""
    return f'it speaks of something else: "{text}"'


def _stem(word: str) -> str:
    """A word without its ending, so that "drives" is "driving"."""
    for ending in ("ing", "es", "ed", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word
