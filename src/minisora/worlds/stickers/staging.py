"""One to three stickers on a stage, as plain data: places, motions, backdrop and camera.

    x(t) = x + v (t - 2)        size(t) = size * exp(g (t - 2))        zoom(t) = exp(r (t - 2))

Time is in seconds; every motion is relative to t = 2, the middle of the usual four seconds, where a
second motion may follow. Lengths are in short sides of the frame, so that a staging fits any size
and aspect ratio.

Here: `Staging`, drawing one from a seed, and the positions at any time.
Not here: the pixels (drawing.py), the captions (wording.py), the list of stickers (names.py).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from minisora.worlds.stickers.names import is_held_out, split_keys, sticker

PIVOT = 2.0  # seconds; the moment at which an actor's second motion takes over
COLOURS = {
    "white": (240, 240, 240),
    "black": (22, 22, 24),
    "gray": (128, 130, 134),
    "red": (205, 48, 44),
    "orange": (236, 134, 40),
    "yellow": (242, 210, 62),
    "green": (58, 150, 70),
    "blue": (48, 92, 200),
    "light blue": (142, 198, 240),
    "purple": (124, 66, 178),
    "pink": (244, 160, 190),
    "brown": (116, 78, 50),
    "teal": (34, 142, 142),
}
PICTURES = ("hills", "sea", "sunset", "night", "snow", "desert", "clouds", "meadow", "lights")
MOVES = ("stay", "slide left", "slide right", "grow", "shrink", "bob")
FLOORS = ("grey", "wood", "checker", "grass", "sand")  # of the playroom
LIGHTS = ("day", "sunset", "night")


@dataclass(frozen=True)
class Background:
    kind: str  # "plain", "gradient", "picture" or "playroom"
    names: tuple[str, ...]  # one colour; two colours, top and bottom; one of PICTURES; a floor and a light
    seed: int  # of what the picture leaves to chance


@dataclass(frozen=True)
class Actor:
    """One sticker at t = PIVOT, its motion before and after."""

    key: str
    x: float  # centre, 0 left .. 1 right of the picture
    y: float  # centre, 0 top .. 1 bottom
    size: float  # longer side of what is visible, in short sides of the picture
    moves: tuple[str, str]  # before and after PIVOT; of MOVES
    speed: float  # short sides a second for a slide, 1/s for growing, short sides of height for bobbing
    rate: float  # bobs a second; a multiple of 0.5, so that PIVOT finds it at rest
    phase: float  # seconds into its own animation at t = 0


@dataclass(frozen=True)
class Staging:
    actors: tuple[Actor, ...]  # drawn in this order, from left to right
    background: Background
    camera: str  # "static", or one of `_cameras`
    camera_speed: float  # short sides a second for a pan, 1/s for a zoom
    split: str  # "train" or "held_out"


def draw(seed: int, *, split: str = "train") -> Staging:
    """Draw the staging of a seed, identical on every machine.

    split: "train" has only stickers of the training set; "held_out" has one held-out combination
        of person, activity and skin tone (`is_held_out`), drawn first
    """
    random = Random(f"stickers {split} {seed}")
    count = random.choices((1, 2, 3), (0.70, 0.22, 0.08))[0]
    groups = [random.choice(split_keys(split))]
    while len(groups) < count:
        group = random.choice(split_keys("train"))
        if all(sticker(group[0]).words != sticker(other[0]).words for other in groups):
            groups.append(group)
    random.shuffle(groups)
    actors = tuple(_draw_actor(random, random.choice(group), place, count) for place, group in enumerate(groups))
    background = _draw_background(random)
    camera = random.choice(_cameras(actors, background)) if random.random() < 0.55 else "static"
    speed = random.uniform(0.06, 0.11) if camera.startswith("pan") else random.uniform(0.09, 0.16)
    return Staging(actors, background, camera, speed, split)


def _cameras(actors: tuple[Actor, ...], background: Background) -> tuple[str, ...]:
    """Camera moves that would be visible: pans with a picture behind, zooms at constant sizes."""
    resized = any(move in ("grow", "shrink") for actor in actors for move in actor.moves)
    pans = ("pan left", "pan right") if background.kind in ("picture", "playroom") else ()
    return (*pans, *(() if resized else ("zoom in", "zoom out"))) or ("static",)


def _draw_actor(random: Random, key: str, place: int, count: int) -> Actor:
    first = random.choices(MOVES, (0.34, 0.17, 0.17, 0.10, 0.10, 0.12))[0]
    second = random.choice([move for move in MOVES if move != first]) if random.random() < 0.2 else first
    moves = (first, second)
    middle = (place + 0.5) / count
    low, high = {1: (0.45, 0.85), 2: (0.35, 0.50), 3: (0.35, 0.40)}[count]
    if "grow" in moves or "shrink" in moves:
        high = max(low, 0.65 * high)
    if any(move.startswith("slide") for move in moves):
        speed = random.uniform(0.09, 0.17) if count == 1 else random.uniform(0.06, 0.10)
    else:
        speed = random.uniform(0.13, 0.24) if "bob" not in moves else random.uniform(0.06, 0.10)
    return Actor(
        key=key,
        x=round(middle + random.uniform(-0.12, 0.12) / count, 4),
        y=round(random.uniform(0.42, 0.60), 4),
        size=round(random.uniform(low, high), 4),
        moves=moves,
        speed=round(speed, 4),
        rate=random.choice((0.5, 1.0)),
        phase=round(random.uniform(0, 3), 4),
    )


def _draw_background(random: Random) -> Background:
    kind = random.choices(("plain", "gradient", "picture", "playroom"), (0.38, 0.17, 0.33, 0.12))[0]
    if kind == "picture":
        names: tuple[str, ...] = (random.choice(PICTURES),)
    elif kind == "playroom":
        names = (random.choice(FLOORS), random.choice(LIGHTS))
    else:
        names = tuple(random.sample(list(COLOURS), 1 if kind == "plain" else 2))
    return Background(kind, names, random.randrange(2**31))


def place(actor: Actor, seconds: float) -> tuple[float, float, float]:
    """Displacement (right, down) from (x, y) in short sides, and size, before the camera."""
    before = actor.moves[0] if seconds < PIVOT else actor.moves[1]
    since = seconds - PIVOT
    if before in ("slide left", "slide right"):
        return (since if before == "slide right" else -since) * actor.speed, 0.0, actor.size
    if before in ("grow", "shrink"):
        rate = _rate_of(actor) if before == "grow" else -_rate_of(actor)
        return 0.0, 0.0, actor.size * math.exp(rate * since)
    if before == "bob":
        height = min(actor.speed, 0.10)
        return 0.0, -height * math.sin(2 * math.pi * actor.rate * since), actor.size
    return 0.0, 0.0, actor.size


def _rate_of(actor: Actor) -> float:
    return max(actor.speed, 0.13)


def view(staging: Staging, seconds: float) -> tuple[float, float]:
    """Camera at a moment: displacement to the right in short sides, and magnification."""
    since = seconds - PIVOT
    if staging.camera.startswith("pan"):
        return (since if staging.camera == "pan right" else -since) * staging.camera_speed, 1.0
    if staging.camera.startswith("zoom"):
        return 0.0, math.exp((since if staging.camera == "zoom in" else -since) * staging.camera_speed)
    return 0.0, 1.0


def facts(staging: Staging) -> dict[str, Any]:
    """All facts as JSON values; each actor with its words, person, activity and skin tone."""
    actors = []
    for actor in staging.actors:
        shown = sticker(actor.key)
        about = {"words": shown.words, "person": shown.person, "activity": shown.activity, "tone": shown.tone}
        actors.append({**asdict(actor), "moves": list(actor.moves), **about, "held_out": is_held_out(shown)})
    background = {**asdict(staging.background), "names": list(staging.background.names)}
    camera = {"camera": staging.camera, "camera_speed": staging.camera_speed}
    return {"world": "stickers", "split": staging.split, "actors": actors, "background": background, **camera}
