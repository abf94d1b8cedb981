"""Facts that a prompt states, in the terms of the playroom.

What the prompt leaves open is None; a scene's facts (worlds/playroom/facts.py) have no such gaps.

Here: the data classes. Not here: reading them from a prompt (parse.py), filling the gaps
(complete.py), writing them as a caption (write.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

DIRECTED = ("moves", "collides", "struck", "leaves", "returns", "leaves_and_returns", "turns_back", "trail")
OPPOSITE = {"left": "right", "right": "left", "toward": "away", "away": "toward"}


@dataclass(frozen=True)
class Move:
    """A motion of a thing.

    kind:      one of DIRECTED, "bounces", "spins", "still" or "circles"
    direction: "left", "right", "toward", "away" or "slanting", of the motion itself
    other:     index of the thing that it passes or hits
    how:       "past", "behind" or "in front of" it; "" for a collision
    """

    kind: str
    direction: str | None = None
    other: int | None = None
    how: str = ""

    def __str__(self) -> str:
        met = "" if self.other is None else f"{self.how} #{self.other + 1}"
        return " ".join(word for word in (self.kind, self.direction, met.strip()) if word)


@dataclass(frozen=True, kw_only=True)
class Thing:
    """A thing and what it does.

    across, deep: place at the start: "left", "middle", "right"; "front", "halfway", "back"
    some:         stands for several, of a number that is not said
    vague_looks, vague_motion: something else was said of them that was not understood
    """

    shape: str | None = None
    colour: str | None = None
    size: str | None = None
    material: str | None = None
    across: str | None = None
    deep: str | None = None
    moves: tuple[Move, ...] = ()
    some: bool = False
    vague_looks: bool = field(default=False, compare=False)
    vague_motion: bool = field(default=False, compare=False)

    def looking(self, looks: Mapping[str, str]) -> Thing:
        """The thing with other values of some of its fields that are words."""
        return replace(self, **looks)  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        """Colour and shape, "thing" for an unknown shape."""
        return " ".join(word for word in (self.colour, self.shape or "thing") if word)

    def within(self, other: Thing) -> bool:
        """True if another thing has all that is known of this one, and moves alike."""
        names = ("shape", "colour", "size", "material", "across", "deep")
        alike = all(
            any(move.kind == one.kind and move.direction in (None, one.direction) for one in other.moves)
            for move in self.moves
        )
        return alike and all(getattr(self, n) in (None, getattr(other, n)) for n in names)

    def __str__(self) -> str:
        looks = [word for word in (self.size, self.material, self.colour, self.shape or "thing") if word]
        place = [f"@{word}" for word in (self.across, self.deep) if word]
        does = ["some"] * self.some + [", ".join(map(str, self.moves))] * bool(self.moves)
        return " ".join([*looks, *place, *does])


@dataclass(frozen=True, kw_only=True)
class PromptFacts:
    """All facts of a prompt.

    relations: (index, "left of", "right of", "behind" or "in front of", index)
    camera:    a move of the playroom's camera; "orbit", "pan" or "zoom" without the direction
    vague:     "floor", "light", "camera": something else was said of them that was not understood
    """

    things: tuple[Thing, ...] = ()
    relations: tuple[tuple[int, str, int], ...] = ()
    floor: str | None = None
    light: str | None = None
    camera: str | None = None
    cut: bool = False
    camera_after: str | None = None
    vague: frozenset[str] = field(default=frozenset(), compare=False)

    def ordered(self, order: Sequence[int]) -> PromptFacts:
        """The same facts with the things in another order; in each, having been hit comes first."""
        place = {n: at for at, n in enumerate(order)}
        things = []
        for n in order:
            moves = [m if m.other is None else replace(m, other=place[m.other]) for m in self.things[n].moves]
            moves.sort(key=lambda move: move.kind != "struck")
            things.append(replace(self.things[n], moves=tuple(moves)))
        relations = sorted((place[one], how, place[other]) for one, how, other in self.relations)
        return replace(self, things=tuple(things), relations=tuple(relations))

    def lost_in(self, other: PromptFacts) -> str:
        """The first of these facts that other facts contradict or lack, in words; "" for none."""
        left = list(other.things)
        for thing in self.things:
            match = next((one for one in left if thing.within(one)), None)
            if match is None:
                return str(thing)
            left.remove(match)
        if left:
            return f"the number of things, with {left[0]}"
        for name in ("floor", "light", "camera"):
            own, their = getattr(self, name), getattr(other, name)
            if own is not None and not (their or "").startswith(own):  # "pan" may be to either side
                return f"{name} {own}"
        return ""

    def __str__(self) -> str:
        """Facts on one line, such as "red ball moves left; floor grass"."""
        return "; ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        yield from map(str, self.things)
        for one, how, other in self.relations:
            yield f"#{one + 1} {how} #{other + 1}"
        for name in ("floor", "light", "camera"):
            if value := getattr(self, name):
                yield f"{name} {value}"
        if self.cut:
            yield f"cut {self.camera_after or ''}".strip()
