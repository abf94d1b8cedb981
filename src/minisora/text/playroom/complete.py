"""Filling what a prompt leaves open, by rules and a seed, and saying what was filled.

Each gap has random numbers of its own, so that a word more in the prompt leaves the other choices
as they were. What was asked for in words that were not understood stays open: the choice might
contradict it.

Here: `complete`. Not here: the facts that are asked for (parse.py), their words (write.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from random import Random
from typing import TypeVar

from minisora.text.playroom.facts import DIRECTED, OPPOSITE, Move, PromptFacts, Thing
from minisora.text.playroom.lexicon import NUMBERS
from minisora.text.playroom.nouns import MOST_THINGS
from minisora.worlds.playroom.captions import PLACES
from minisora.worlds.playroom.draw import COUNTS, LIGHT_CHANCES
from minisora.worlds.playroom.scene import COLOURS, FLOORS, MATERIALS, SHAPES, SIZES

Value = TypeVar("Value")
ACROSS, DEEP = ("left", "middle", "right"), ("front", "halfway", "back")
PLACE_WORDS: Mapping[str, str] = {
    **dict(zip(ACROSS, PLACES["across"], strict=True)),
    **dict(zip(DEEP, PLACES["deep"], strict=True)),
}
FLOOR_NAMES = {"grey": "a grey floor", "wood": "a wooden floor", "checker": "a checkered floor"}
FLOOR_NAMES |= {"grass": "grass", "sand": "sand"}
LIGHT_NAMES = {"day": "daylight", "sunset": "sunset light", "night": "night"}
CAMERA_NAMES = {"static": "a still camera", "zoom_in": "a zoom in", "zoom_out": "a zoom out"}
CAMERA_NAMES |= {
    f"{move}_{side}": f"a camera's {move} to the {side}" for move in ("orbit", "pan") for side in ("left", "right")
}
DIRECTION_WORDS = {"left": "to the left", "right": "to the right", "toward": "toward the camera", "away": "away"}


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """Which gaps are filled.

    fill:    False leaves all of them but the number of things
    moving:  False for a picture, which gets no motion and no camera
    placing: False gives things no place: what was not understood might say another
    dense:   False for weights that were trained on natural captions alone: no places, and write.py
             joins all by commas
    """

    fill: bool = True
    moving: bool = True
    placing: bool = True
    dense: bool = True


def complete(facts: PromptFacts, gaps: Gaps, *, seed: int) -> tuple[PromptFacts, list[str]]:
    """Fill the gaps of a prompt's facts; returns them, and in words what was added."""
    chooser = _Chooser(seed)
    facts, added = _counted(chooser, facts)
    if not gaps.fill:
        return facts, added
    things = _looks(chooser, facts)
    if gaps.moving:
        things = _motions(chooser, replace(facts, things=things))
    if gaps.placing and gaps.dense:
        things = _places(chooser, replace(facts, things=things))
    added += [text for old, new in zip(facts.things, things, strict=True) if (text := _difference(old, new))]
    facts = replace(facts, things=things)
    if facts.floor is None and "floor" not in facts.vague:
        facts = replace(facts, floor=chooser.one("floor", FLOORS))
        added.append(FLOOR_NAMES[facts.floor or ""])
    if facts.light is None and "light" not in facts.vague:
        facts = replace(facts, light=chooser.weighted("light", LIGHT_CHANCES))
        added.append(LIGHT_NAMES[facts.light or ""])
    if gaps.moving and facts.camera in (None, "orbit", "pan", "zoom") and "camera" not in facts.vague:
        sides = ("in", "out") if facts.camera == "zoom" else ("left", "right")
        camera = "static" if facts.camera is None else f"{facts.camera}_{chooser.one('camera', sides)}"
        facts = replace(facts, camera=camera)
        added.append(CAMERA_NAMES[camera])
    return facts, added


@dataclass(frozen=True)
class _Chooser:
    """Seeded choices, each with random numbers of its own."""

    seed: int

    def one(self, gap: str, values: Sequence[Value]) -> Value:
        return Random(f"expand {self.seed} {gap}").choice(values)

    def weighted(self, gap: str, chances: Mapping[str, float]) -> str:
        return Random(f"expand {self.seed} {gap}").choices(list(chances), list(chances.values()))[0]

    def order(self, gap: str, values: Sequence[Value]) -> list[Value]:
        return Random(f"expand {self.seed} {gap}").sample(values, len(values))


def _counted(chooser: _Chooser, facts: PromptFacts) -> tuple[PromptFacts, list[str]]:
    """Give "balls" a number: two or three, as the world has them."""
    things, added = list(facts.things), list[str]()
    for n, thing in enumerate(facts.things):
        if thing.some:
            most = min(max(COUNTS), MOST_THINGS - len(things) + 1)
            number = min(chooser.one(f"count {n}", (2, 3)), most)
            things[n] = replace(thing, some=False)
            things += [things[n]] * (number - 1)
            added.append(f"{NUMBERS[number - 1]} {thing.name}s")
    return replace(facts, things=tuple(things)), added


def _looks(chooser: _Chooser, facts: PromptFacts) -> tuple[Thing, ...]:
    """Shapes, colours that no other thing has, sizes, materials."""
    things = list(facts.things)
    colours = [c for c in chooser.order("colours", tuple(COLOURS)) if c not in {thing.colour for thing in things}]
    for n, thing in enumerate(things):
        if thing.vague_looks:
            continue
        colour = thing.colour or (colours.pop() if colours else None)
        things[n] = replace(
            thing,
            shape=thing.shape or chooser.one(f"shape {n}", SHAPES),
            colour=colour,
            size=thing.size or _size(chooser, things, n),
            material=thing.material or chooser.one(f"material {n}", MATERIALS),
        )
    return tuple(things)


def _size(chooser: _Chooser, things: Sequence[Thing], n: int) -> str:
    """Size as in the world: what paints or hides is small, and hits nothing that is larger."""
    for move in things[n].moves:
        if move.kind == "trail" or move.how == "behind":
            return "small"
        if move.kind == "collides" and move.other is not None and things[move.other].size == "large":
            return "large"
    if any(
        move.kind == "collides" and move.other == n and thing.size == "small"
        for thing in things
        for move in thing.moves
    ):
        return "small"
    return chooser.one(f"size {n}", tuple(SIZES))


def _motions(chooser: _Chooser, facts: PromptFacts) -> tuple[Thing, ...]:
    """Directions of moves, and stillness for things of which none was said."""
    things = list(facts.things)
    met = {move.other for thing in things for move in thing.moves if move.other is not None}
    for n, thing in enumerate(things):
        moves = list[Move]()
        for move in thing.moves:
            moves.append(_directed(chooser, things, n, moves, move))
        if not moves and n not in met and not thing.vague_motion:
            moves = [Move("still")]
        things[n] = replace(thing, moves=tuple(moves))
    return tuple(things)


def _directed(chooser: _Chooser, things: Sequence[Thing], n: int, before: Sequence[Move], move: Move) -> Move:
    """A move with a direction: of what it pushes, of the move before, or away from its side."""
    thing = things[n]
    if move.direction is not None or move.kind not in DIRECTED or move.kind == "struck" or thing.vague_motion:
        return move
    pushed = (
        [one.direction for one in things[move.other].moves if one.kind == "struck"] if move.other is not None else []
    )
    fitting = [*pushed, *(one.direction for one in reversed(before)), OPPOSITE.get(thing.across or "")]
    chosen = chooser.one(f"direction {n} {len(before)}", ("left", "right"))
    return replace(move, direction=next((way for way in fitting if way in ("left", "right")), chosen))


def _places(chooser: _Chooser, facts: PromptFacts) -> tuple[Thing, ...]:
    """Places at the start that fit the motions and relations, each for one thing."""
    things = list(facts.things)
    for n in range(len(things)):
        if any(move.kind == "returns" for move in things[n].moves):
            continue  # not in the frame at the start
        taken = {(one.across, one.deep) for one in things if one.across and one.deep}
        across, deep = _fitting(facts, things, n)
        spots = [spot for spot in product(across, deep) if spot not in taken] or list(product(across, deep))
        if spots:
            spot = chooser.one(f"place {n}", spots)
            things[n] = replace(things[n], across=spot[0], deep=spot[1])
    return tuple(things)


def _fitting(facts: PromptFacts, things: Sequence[Thing], n: int) -> tuple[list[str], list[str]]:
    """Places where a thing may start: from left to right, and from front to back."""
    thing = things[n]
    met = [(move, one) for one in things for move in one.moves if move.other == n]
    theirs, own = {move.how for move, _ in met}, {move.how for move in thing.moves}
    across, deep = ["middle"] if met else _start(thing), list(DEEP)
    if _heading(thing) == "toward" or "behind" in own or "in front of" in theirs:
        deep = ["back"]
    elif _heading(thing) == "away" or "in front of" in own or "behind" in theirs:
        deep = ["front"]
    elif met and (level := met[0][1].deep):
        deep = [level]
    across, deep = [thing.across] if thing.across else across, [thing.deep] if thing.deep else deep
    for one, how, other in facts.relations:
        if n in (one, other):
            mate, first = things[other if n == one else one], n == one
            if how in ("left of", "right of"):
                across = _side(across, mate.across, left=(how == "left of") == first)
            else:
                across = [mate.across] if mate.across in across else across
                deep = [each for each in deep if each == ("back" if (how == "behind") == first else "front")] or deep
    return across, deep


def _side(across: list[str], mate: str | None, *, left: bool) -> list[str]:
    """Those places that lie to the left (or right) of a thing's, or leave it room there."""
    row = ACROSS if left else ACROSS[::-1]  # from the side that is asked for
    before = row[: row.index(mate)] if mate else row[:2]
    return [one for one in across if one in before] or across


def _heading(thing: Thing) -> str:
    return next((move.direction for move in thing.moves if move.kind in DIRECTED and move.direction), "")


def _start(thing: Thing) -> list[str]:
    """Where a thing starts that crosses the frame: on the other side."""
    first = thing.moves[0] if thing.moves else Move("still")
    if first.kind in ("leaves", "leaves_and_returns"):
        return ["middle"]
    if first.kind in DIRECTED and first.direction in ("left", "right"):
        return [OPPOSITE[first.direction]]
    return list(ACROSS)


def _difference(old: Thing, new: Thing) -> str:
    """What a thing has now that it had not, in words."""
    words = [getattr(new, name) for name in ("size", "material", "colour", "shape") if getattr(old, name) is None]
    words += [
        PLACE_WORDS[getattr(new, axis)] for axis in ("across", "deep") if getattr(old, axis) != getattr(new, axis)
    ]
    before = [move.direction for move in old.moves]
    for n, move in enumerate(new.moves):
        if n >= len(before):
            words.append("still")
        elif move.direction and before[n] is None:
            words.append(DIRECTION_WORDS[move.direction])
    words = [word for word in words if word]
    return f"{old.name}: {', '.join(words)}" if words else ""
