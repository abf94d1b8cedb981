"""Captions of a stretch of a scene: its visible facts (facts.py), in varied phrases (phrases.py).

Natural captions state some of the facts, as people would. Dense ones state all, with the place of
each thing, in a fixed order: from captions that say where things are, a network learns the meaning
of words from fewer clips.

Here: choosing and joining phrases. The wording depends on the seed alone, through `random.Random`.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Mapping
from random import Random

import numpy as np

from minisora.errors import UsageError
from minisora.worlds.clip import Caption
from minisora.worlds.playroom.camera import project, views
from minisora.worlds.playroom.facts import Seen, View, watch
from minisora.worlds.playroom.motion import positions
from minisora.worlds.playroom.phrases import PHRASINGS, Phrases
from minisora.worlds.playroom.scene import Scene, Thing

PLACES = {  # where a thing is when the stretch begins: from the left to the right, and from the front to the back
    "across": ("on the left", "in the middle", "on the right"),
    "deep": ("up front", "halfway back", "far back"),
}
_THIRDS_ACROSS, _THIRDS_DEEP = (-0.24, 0.24), (6.3, 7.5)  # halves of the frame, units: a third of the things in each
SHORTEST_WORDS = 8  # a shorter caption also says where or in what light


def captions(
    scene: Scene, *, seed: int, start: float, stop: float, phrasing: str = "train", aspect: float = 1.0
) -> list[Caption]:
    """Two or three captions of a stretch, the first short, the second long.

    start, stop:  seconds after the scene's start; equal for a single moment, which has no motion
    phrasing:     "train", "held_out" or "wide" (phrases.py)
    aspect:       width / height of the frame: a wide one may still show what has left a square one

    Raises UsageError for another phrasing.
    """
    if phrasing not in PHRASINGS:
        raise UsageError(f"there is no phrasing {phrasing!r}. Choose one of: {', '.join(PHRASINGS)}.")
    rng = Random(f"captions {phrasing} {scene.split} {scene.seed} {seed} {start:.3f} {stop:.3f}")
    view = watch(scene, start, stop, aspect=aspect)
    texts = [_write(rng, scene, view, PHRASINGS[phrasing], long) for long in (False, True)]
    if rng.random() < 0.5:
        texts.append(_write(rng, scene, view, PHRASINGS[phrasing], rng.random() < 0.5))
    return [Caption(text, start, stop) for text in dict.fromkeys(texts)]


def dense_caption(
    scene: Scene, *, seed: int, start: float, stop: float, phrasing: str = "train", aspect: float = 1.0
) -> Caption:
    """A dense caption of a stretch: looks, places and motions of things, floor, light, camera.

    Arguments as for `captions`.
    """
    rng = Random(f"dense {scene.split} {scene.seed} {seed} {start:.3f} {stop:.3f}")
    view, phrases = watch(scene, start, stop, aspect=aspect), PHRASINGS[phrasing]
    names = _Names(rng, True, _places(scene, view, start))
    clauses = _still_life(rng, view, phrases, names) if view.camera == "none" else _story(rng, view, phrases, names)
    parts = [*clauses, rng.choice(phrases.floors[scene.floor]), rng.choice(phrases.lights[scene.light])]
    camera = _camera(rng, view, phrases, static=1.0)
    text = re.sub(r",+(?=[,;])", "", "; ".join([*parts, camera] if camera else parts))
    return Caption(text, start, stop, dense=True)


def _places(scene: Scene, view: View, start: float) -> dict[int, str]:
    """The place of each thing in view at the start of a stretch, in words of `PLACES`."""
    times = np.array([start])
    pose, focal = views(scene, times)
    places = {}
    for seen in view.things:
        spot, depth = project(pose, focal, positions(seen.thing, times)[:, None])
        if np.abs(spot).max() < 1:
            across, deep = bisect(_THIRDS_ACROSS, spot[0, 0, 0]), bisect(_THIRDS_DEEP, depth[0, 0])
            places[seen.number] = f"{PLACES['across'][across]}, {PLACES['deep'][deep]}"
    return places


def _write(rng: Random, scene: Scene, view: View, phrases: Phrases, long: bool) -> str:
    names = _Names(rng, long)
    place = rng.choice(phrases.floors[scene.floor]) if rng.random() < (0.85 if long else 0.25) else ""
    light = rng.choice(phrases.lights[scene.light]) if rng.random() < (0.75 if long else 0.2) else ""
    clauses = _still_life(rng, view, phrases, names) if view.camera == "none" else _story(rng, view, phrases, names)
    camera = _camera(rng, view, phrases, static=0.4 if long else 0.15)
    for _ in range(2):
        if len(" ".join([*clauses, place, light, camera]).split()) >= SHORTEST_WORDS:
            break
        if not place:
            place = rng.choice(phrases.floors[scene.floor])
        elif not light:
            light = rng.choice(phrases.lights[scene.light])
    setting = " ".join(word for word in (place, light) if word)
    if view.camera == "none":
        text = rng.choice(phrases.openings) + " ".join(word for word in (clauses[0], setting) if word)
    else:
        join = rng.choice(phrases.joins) if len(clauses) == 2 else ", "
        story = join.join(clauses)
        if setting and rng.random() < 0.4:
            text = f"{setting}, {story}"
        else:
            comma = "," if len(clauses) > 1 else ""
            text = f"{story}{comma} {setting}" if setting else story
        if camera and rng.random() < 0.12 and not view.cut:
            text = f"{camera}, {text}"
        elif camera:
            text = f"{text}, {camera}"
    if rng.random() < (0.6 if long else 0.35):
        text = text[0].upper() + text[1:] + "."
    return text


class _Names:
    """Names of things within one caption: the full look at the first mention, then "the red ball".

    places: places of things, stated at the first mention; then looks are complete
    """

    def __init__(self, rng: Random, long: bool, places: Mapping[int, str] | None = None) -> None:
        self.places = places or {}
        self.size = places is not None or rng.random() < (0.92 if long else 0.4)
        self.material = places is not None or rng.random() < (0.72 if long else 0.12)
        self.material_first = rng.random() < 0.3
        self.used: set[int] = set()

    def of(self, number: int, thing: Thing) -> str:
        if number in self.used:
            return f"the {thing.colour} {thing.shape}"
        self.used.add(number)
        looks = [thing.size] * self.size + [thing.material] * self.material
        if self.material_first:
            looks.reverse()
        words = [*looks, thing.colour, thing.shape]
        place = [f"{self.places[number]},"] if number in self.places else []
        return " ".join([_article(words[0]), *words, *place])


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _story(rng: Random, view: View, phrases: Phrases, names: _Names) -> list[str]:
    """A clause for each thing; a struck thing is part of the clause of the one that hits it."""
    things = {seen.number: seen for seen in view.things}
    if not things:
        return ["nothing but the empty floor is seen"]
    order = sorted(things)
    if len(order) > 1 and rng.random() < 0.15 and things[order[0]].motion not in ("collides", "passes_behind"):
        order.append(order.pop(0))
    clauses = []
    for number in order:
        seen = things[number]
        if seen.motion == "struck" or (number in names.used and seen.motion == "still"):
            continue
        name = names.of(number, seen.thing)
        does = _does(rng, seen, things, phrases, names)
        # "does not move to the left of" and "bounces right of" would read as ways to go
        if seen.motion in ("still", "spins") and not does.endswith("not move"):
            does += _relation(rng, view, phrases, number, things, names)
        clauses.append(f"{name} {does}")
    return clauses


def _does(rng: Random, seen: Seen, things: dict[int, Seen], phrases: Phrases, names: _Names) -> str:
    go = rng.choice(phrases.go_ball if seen.thing.shape == "ball" else phrases.go_other)
    side = seen.direction or ""
    way = rng.choice(phrases.motions[seen.direction or "moves"]).format(go=go)
    if seen.motion == "collides" and 1 in things:
        pushed = things[1].direction or "away"
        struck = {"left": "to the left", "right": "to the right", "toward": "toward the camera"}.get(pushed, "away")
        return rng.choice(phrases.hits).format(way=way, other=names.of(1, things[1].thing), side=struck)
    # the words after the way are said of the first thing crossed that is not named yet
    beside = ""
    for other, how in seen.past:
        if other in things and other not in names.used:
            beside = " " + rng.choice(phrases.past[how]).format(other=names.of(other, things[other].thing))
            break
    if seen.motion == "trail":
        return rng.choice(phrases.motions["trail"]).format(
            way=way + beside, colour=seen.thing.colour, colour_article=_article(seen.thing.colour)
        )
    if seen.motion in phrases.motions:
        if seen.motion in ("returns", "leaves", "leaves_and_returns", "turns_back"):
            side = {"left": "right", "right": "left"}.get(side, side) if seen.motion == "returns" else side
        return rng.choice(phrases.motions[seen.motion]).format(go=go, side=side)
    return way + beside


def _relation(rng: Random, view: View, phrases: Phrases, number: int, things: dict[int, Seen], names: _Names) -> str:
    for one, how, other in view.relations:
        if one == number and rng.random() < 0.6:
            return f" {rng.choice(phrases.relations[how])} {names.of(other, things[other].thing)}"
    return ""


def _still_life(rng: Random, view: View, phrases: Phrases, names: _Names) -> list[str]:
    """All things of a single moment, as one list."""
    things = {seen.number: seen for seen in view.things}
    if not things:
        return ["an empty floor"]
    order = rng.sample(sorted(things), len(things))
    last = ""
    if view.relations and rng.random() < 0.7:
        one, how, other = rng.choice(view.relations)
        order = [number for number in order if number not in (one, other)]
        words = rng.choice(phrases.relations[how])
        last = f"{names.of(one, things[one].thing)} {words} {names.of(other, things[other].thing)}"
    items = [names.of(number, things[number].thing) for number in order] + [last] * bool(last)
    items = [item.rstrip(",") for item in items]
    return [", ".join(items[:-1]) + " and " + items[-1] if len(items) > 1 else items[0]]


def _camera(rng: Random, view: View, phrases: Phrases, *, static: float) -> str:
    """The camera's motion, or "". static: probability that a static camera is mentioned"""
    if view.camera == "none":
        return ""
    parts = []
    if view.camera != "static" or (not view.cut and rng.random() < static):
        parts.append(rng.choice(phrases.cameras[view.camera]))
    if view.cut:
        parts.append(rng.choice(phrases.cut))
        if view.camera_after not in (None, "static"):
            assert view.camera_after is not None
            parts.append(rng.choice(phrases.cameras[view.camera_after]))
    return ", ".join(parts)
