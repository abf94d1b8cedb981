"""What has been understood of a prompt so far, while it is read from left to right.

Here: the things and what they do, the clause that is being read, what comes next. Not here: what
each item does to them (nouns.py, verbs.py, parse.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from minisora.text.playroom.chinese import has_chinese
from minisora.text.playroom.facts import DIRECTED, OPPOSITE, Move, PromptFacts, Thing
from minisora.text.playroom.lexicon import Item

LOOKS = ("colour", "size", "material")
SIDES = ("left", "right")


@dataclass
class Phrase:
    """A noun phrase whose noun has not come yet; looks: one for each of "a red and a blue ball"."""

    article: str = ""
    count: str = ""
    looks: list[dict[str, str]] = field(default_factory=lambda: [{}])
    moves: list[Move] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    predicate: bool = False  # after "is"


class State:
    """The reader's memory. Things are known by their index."""

    def __init__(self, items: Sequence[Item], before: PromptFacts) -> None:
        """
        before: facts of the part of the prompt before this one
        """
        self.items, self.before = items, before
        self.number = 0  # of the item that is read
        self.last = Item("join", ";")  # the one before, without words that say nothing
        self.things: list[Thing] = []
        self.relations: list[tuple[int, str, int]] = []
        self.setting: dict[str, str] = {}
        self.cut, self.vague = False, set[str]()
        self.lost: list[str] = []  # what was not understood
        self.missed = ""  # the first whole thing among it
        # the clause
        self.subjects: list[int] = []
        self.acted = False  # their verb has come: the next thing begins a clause
        self.link = ""  # "and", "," or ";" since the last thing
        self.begun: dict[int, int] = {}  # thing: number of its moves when the clause began
        self.mentioned: int | None = None  # the thing named last
        self.group: list[int] = []  # the things of the last plural
        self.struck: int | None = None
        self.beyond_known = False  # after an unknown subject or verb: its object follows
        # what waits for its other half
        self.phrase: Phrase | None = None
        self.expects: tuple[str, str] | None = None  # the next thing, as "hit", "past" or "relation"
        self.expected_by = ""
        self.nearest: int | None = None  # the thing right before "left of"
        self.way: Item | None = None  # a direction before its verb
        self.place = ""  # before its noun
        self.leaving = ""  # "leaves", of the frame or a trail
        self.skipping = False  # to the end of a clause that was not understood
        # Chinese: the thing after 在 or 把; what the next verb passes; the thing in 方块左边的
        self.at, self.object = "", list[int]()
        self.crossing: tuple[str, int] | None = None
        self.attributive: tuple[str, int] | None = None

    def lose(self, *texts: str) -> None:
        self.lost += [text for text in texts if text.strip()]

    def blur(self, numbers: Sequence[int], *, looks: bool = False) -> None:
        """Note that more was said of what things do, or also of their looks."""
        for n in numbers:
            vague = looks or self.things[n].vague_looks
            self.things[n] = replace(self.things[n], vague_motion=True, vague_looks=vague)

    def moving(self) -> bool:
        return any(len(self.things[n].moves) > self.begun.get(n, 0) for n in self.subjects)

    def joined_by(self, link: str) -> bool:
        """True if the last subject follows a comma, "and" or the like."""
        joins = [item.value for item in self.items[: self.number] if item.kind in ("join", "noun", "at")]
        known = [value for value in joins if value in ("and", ",", ";")]
        return known[-1:] == [link]

    def add(self, n: int, move: Move) -> None:
        """Add a move to a thing, or make one of it and the move before in the same clause."""
        thing = self.things[n]
        moves = list(thing.moves)
        last = moves[-1] if len(moves) > self.begun.get(n, 0) or (moves and moves[-1].kind == "struck") else None
        if last is not None and (one := merged(last, move, apart=self.link == "and")) is not None:
            moves[-1] = one
        elif move not in moves[-1:]:
            moves.append(move)
        self.things[n] = replace(thing, moves=tuple(moves))

    def taken_way(self, kind: str) -> str | None:
        """The direction that came before the verb, if the verb has one."""
        if self.way is None or kind not in DIRECTED:
            return None
        way, self.way = self.way, None
        return direction_of(way, kind)

    def turn(self, n: int, item: Item) -> None:
        """Give the last move of a thing a direction."""
        thing = self.things[n]
        last, before = thing.moves[-1], thing.moves[:-1]
        way = direction_of(item, last.kind)
        if last.kind not in (*DIRECTED, "bounces"):
            self.lose(item.text)
            return
        if last.kind != "bounces" and last.direction in (None, way):
            moves = (*before, replace(last, direction=way))
        else:
            moves = (*thing.moves, Move("moves", way))
        self.things[n] = replace(thing, moves=moves)

    def meet(self, kind: str, how: str, other: int) -> None:
        """Let the subjects hit, pass or stand next to a thing."""
        near = [self.nearest] if kind == "relation" and self.nearest in self.subjects else self.subjects
        for n in near:
            if n == other:
                continue
            thing = self.things[n]
            last = thing.moves[-1] if len(thing.moves) > self.begun.get(n, 0) else None
            goes = last is not None and last.kind in ("moves", "trail") and last.other is None
            if kind == "hit":
                way = last.direction if last and last.kind in ("moves", "trail") else self.taken_way("moves")
                kept = thing.moves[:-1] if goes and last and last.kind == "moves" else thing.moves
                moves = (*kept, Move("collides", way, other))
            elif goes and last and (kind == "past" or how in ("behind", "in front of")):
                moves = (*thing.moves[:-1], replace(last, other=other, how=how))
            elif kind == "past":
                moves = (*thing.moves, Move("moves", self.taken_way("moves"), other, how))
            else:
                self.relations.append((n, how, other))
                continue
            self.things[n] = replace(thing, moves=moves)
            self.acted = True
            if kind == "hit":
                self.strike(other)

    def strike(self, n: int) -> None:
        thing = self.things[n]
        if all(move.kind != "struck" for move in thing.moves):
            self.things[n] = replace(thing, moves=(*thing.moves, Move("struck")))
        self.struck, self.acted = n, True

    def put(self, numbers: Sequence[int], place: str) -> None:
        axis = "across" if place in ("left", "middle", "right") else "deep"
        for n in numbers:
            if getattr(self.things[n], axis) not in (None, place):
                self.lose(place)
            else:
                self.things[n] = self.things[n].looking({axis: place})

    # what comes next

    def noun_ahead(self, at: int, through: tuple[str, ...] = ()) -> bool:
        """True if a noun follows, after looks and items of the kinds `through` at most."""
        while at < len(self.items) and self.items[at].kind in (*LOOKS, "measure", "of", *through):
            at += 1
        return at < len(self.items) and self.items[at].kind == "noun"

    def of_noun(self, at: int) -> bool:
        return at < len(self.items) and self.items[at].kind == "of" and self.noun_ahead(at)

    def thing_ahead(self) -> bool:
        """True if a noun phrase or a pronoun follows."""
        at = self.number + 1
        if at < len(self.items) and self.items[at].value == "it" and self.other() is not None:
            return True
        while at < len(self.items) and self.items[at].kind in ("article", "count", *LOOKS, "measure", "of", "unknown"):
            at += 1
        return at < len(self.items) and self.items[at].kind == "noun"

    def other(self) -> int | None:
        """The one thing that "it" may be, as an object."""
        others = [n for n in range(len(self.things)) if n not in self.subjects]
        return others[0] if len(others) == 1 else None

    def before_noun(self, item: Item) -> bool:
        """True for a verb that describes the noun after it: "a spinning cube"."""
        if has_chinese(item.text):
            return self.of_noun(self.number + 1)
        return (item.form == "ing" or item.text == "still") and self.noun_ahead(self.number + 1)


def direction_of(way: Item, kind: str) -> str:
    """Which way a move goes: "exits from the left" is to the left, "enters" to the right."""
    return OPPOSITE[way.value] if way.side == "from" and kind == "leaves" else way.value


def merged(last: Move, move: Move, *, apart: bool) -> Move | None:
    """One move of two in a clause, such as leaving and coming back; None if they stay two.

    apart: "and" stands between them
    """
    if last.kind == "struck" and move.kind == "moves":
        return replace(last, direction=last.direction or move.direction)
    if last.kind == "trail" and move.kind == "moves" and last.direction is None:
        return replace(last, direction=move.direction)
    if move.kind == "returns" and last.kind == "moves" and move.direction is None:
        return replace(last, kind="turns_back")
    if move.kind == "returns" and last.kind == "leaves":
        return replace(last, kind="leaves_and_returns")
    if move.kind == last.kind and move.direction in (None, last.direction):
        return last
    if last.kind != "moves":
        return None
    if move.kind in ("trail", "leaves", "leaves_and_returns", "turns_back", "returns"):
        return replace(last, kind=move.kind, direction=move.direction or last.direction)
    if last.direction is None and last.other is None and not apart and move.kind in ("bounces", "circles", "spins"):
        return move
    return None
