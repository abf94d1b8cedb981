"""Captions of a stretch of a staging, in several phrasings, short and long.

Training and held-out templates are disjoint; the names of stickers, motions and colours are the
same words in both, so that a score on held-out phrasings tests understanding of the sentence and
not of new words.

Here: `captions`.
Not here: the facts (staging.py), the nouns of the stickers (names.py).
"""

from __future__ import annotations

from itertools import pairwise
from random import Random

from minisora.worlds.clip import Caption
from minisora.worlds.stickers.names import sticker
from minisora.worlds.stickers.staging import PIVOT, Actor, Background, Staging, place

_MOVES = {  # singular, plural, participle
    "stay": ("stays in place", "stay in place", "staying in place"),
    "slide left": ("slides to the left", "slide to the left", "sliding to the left"),
    "slide right": ("slides to the right", "slide to the right", "sliding to the right"),
    "grow": ("grows larger", "grow larger", "growing larger"),
    "shrink": ("shrinks", "shrink", "shrinking"),
    "bob": ("bobs up and down", "bob up and down", "bobbing up and down"),
}
_CAMERAS = {
    "static": ("the camera stays still", "the camera does not move"),
    "pan left": ("the camera pans left", "the camera pans to the left"),
    "pan right": ("the camera pans right", "the camera pans to the right"),
    "zoom in": ("the camera zooms in", "the camera slowly zooms in"),
    "zoom out": ("the camera zooms out", "the camera slowly zooms out"),
}
_PICTURES = {
    "hills": "green hills under a blue sky",
    "sea": "the sea under a blue sky",
    "sunset": "the sea at sunset",
    "night": "a night sky with stars",
    "snow": "a snowy landscape",
    "desert": "a sandy desert",
    "clouds": "a blue sky with clouds",
    "meadow": "a meadow with flowers",
    "lights": "blurry coloured lights",
}
_FLOORS = {
    "grey": "a grey floor",
    "wood": "a wooden floor",
    "checker": "a checkered floor",
    "grass": "a lawn",
    "sand": "a sandy floor",
}
_LIGHTS = {"day": "by day", "sunset": "at sunset", "night": "at night"}

# Each takes: who (nouns), does (clauses with a verb), doing (with a participle), on (the background
# after "on" or "in front of"), stage (the background alone), camera.
_TRAIN = {
    "long": (
        "{does} {on}, {camera}",
        "{on}, {does}; {camera}",
        "a video of {doing} {on}. {camera}.",
        "{does}. the background is {stage}. {camera}.",
        "{camera} while {does} {on}",
        "{doing}, with {stage} behind, {camera}",
    ),
    "middle": ("{does} {on}", "{doing} {on}", "{on}, {does}", "{doing}, {stage}"),
    "short": ("{does}", "{doing}", "{who}", "{who} {on}"),
    "still": ("a picture of {who} {on}", "{who} {on}", "{who}", "{on}, {who}", "{who}, {stage}"),
}
_HELD_OUT = {
    "long": (
        "this clip shows how {does}; behind is {stage} and {camera}",
        "{camera}: {does}, and {stage} can be seen behind",
        "an animation in which {does} {on} and {camera}",
    ),
    "middle": ("here {does}, {stage} behind", "an animation of {doing} {on}"),
    "short": ("watch {doing}", "we see {doing}"),
    "still": ("a still image with {who}, {stage} behind", "this frame shows {who} {on}"),
}
PHRASINGS = {"train": _TRAIN, "held_out": _HELD_OUT}


def captions(staging: Staging, *, seed: int, start: float, stop: float, phrasing: str = "train") -> list[Caption]:
    """Four captions of the stretch from `start` to `stop` seconds: two long, one medium, one short.

    phrasing: "train" or "held_out", disjoint sets of templates

    Captions of a moment (start == stop) mention no motion and no camera.
    """
    assert phrasing in PHRASINGS, phrasing
    random = Random(f"captions {phrasing} {seed} {start} {stop}")
    templates = PHRASINGS[phrasing]
    if start == stop:
        chosen = random.sample(templates["still"], 2)
    else:
        short = random.choice(templates["short"])
        chosen = [*random.sample(templates["long"], 2), random.choice(templates["middle"]), short]
    return [Caption(_fill(template, staging, random, start, stop), start, stop) for template in chosen]


def _fill(template: str, staging: Staging, random: Random, start: float, stop: float) -> str:
    nouns = [_noun(actor, random) for actor in staging.actors]
    text = template.format(
        who=_who(staging, nouns, random, start, stop),
        does=_listed([_does(actor, noun, start, stop) for actor, noun in zip(staging.actors, nouns, strict=True)]),
        doing=_listed([_doing(actor, noun, start, stop) for actor, noun in zip(staging.actors, nouns, strict=True)]),
        on=_on(staging.background),
        stage=_stage(staging.background),
        camera=random.choice(_CAMERAS[staging.camera]),
    )
    return text


def _noun(actor: Actor, random: Random) -> str:
    shown = sticker(actor.key)
    if shown.tone is None:
        return shown.noun
    return f"{shown.noun}{random.choice((' with', ','))} {shown.tone} skin tone"


def _who(staging: Staging, nouns: list[str], random: Random, start: float, stop: float) -> str:
    """The nouns, with their places if these hold from `start` to `stop`."""
    actors = staging.actors
    apart = all(
        right.x + place(right, t)[0] - left.x - place(left, t)[0] > 0.1
        for left, right in pairwise(actors)
        for t in (start, stop)
    )
    if len(actors) == 1 or not apart or random.random() < 0.3:
        return _listed(nouns)
    if len(actors) == 2:
        return random.choice(("{0} on the left and {1} on the right", "{0} to the left of {1}")).format(*nouns)
    return f"{nouns[0]} on the left, {nouns[1]} in the middle and {nouns[2]} on the right"


def _does(actor: Actor, noun: str, start: float, stop: float) -> str:
    form = 1 if sticker(actor.key).plural else 0
    moves = _active(actor, start, stop)
    if len(moves) == 2:
        return f"{noun} first {_MOVES[moves[0]][form]}, then {_MOVES[moves[1]][form]}"
    return f"{noun} {_MOVES[moves[0]][form]}"


def _doing(actor: Actor, noun: str, start: float, stop: float) -> str:
    moves = _active(actor, start, stop)
    if len(moves) == 2:
        return f"{noun} first {_MOVES[moves[0]][2]}, then {_MOVES[moves[1]][2]}"
    return f"{noun} {_MOVES[moves[0]][2]}"


def _active(actor: Actor, start: float, stop: float) -> tuple[str, ...]:
    before, after = actor.moves
    if before == after or stop <= PIVOT:
        return (before,)
    return (after,) if start >= PIVOT else (before, after)


def _stage(background: Background) -> str:
    if background.kind == "picture":
        return _PICTURES[background.names[0]]
    if background.kind == "playroom":
        return f"{_FLOORS[background.names[0]]} {_LIGHTS[background.names[1]]}"
    if background.kind == "plain":
        return f"plain {background.names[0]}"
    return f"a gradient from {background.names[0]} to {background.names[1]}"


def _on(background: Background) -> str:
    if background.kind == "picture":
        return f"in front of {_stage(background)}"
    if background.kind == "playroom":
        return f"over {_stage(background)}"
    if background.kind == "plain":
        return f"on {'an' if background.names[0] == 'orange' else 'a'} {background.names[0]} background"
    return f"on {_stage(background)}"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
