"""A prompt's facts as a dense caption, in the words and the order of the world's own.

Each fact is said once, by the first of the training set's templates, or by the longest where the
caption would be shorter than training has them.

Here: `write`. Not here: the templates (worlds/playroom/phrases.py), the world's own dense captions,
which vary them (worlds/playroom/captions.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from minisora.text.playroom.complete import DIRECTION_WORDS, PLACE_WORDS
from minisora.text.playroom.facts import OPPOSITE, Move, PromptFacts, Thing
from minisora.worlds.playroom.phrases import TRAIN

FEWEST_WORDS, MOST_WORDS = 20, 135


def write(facts: PromptFacts, *, dense: bool = True) -> tuple[str, PromptFacts]:
    """A caption of all facts and no others; and the facts, things in the order of mention.

    dense: clauses with semicolons, as in dense captions; else with commas, as in natural ones
    """
    caption = _Caption(facts, longest=False)
    text = caption.text(dense)
    if len(text.split()) < FEWEST_WORDS:
        caption = _Caption(facts, longest=True)
        text = caption.text(dense)
    return text, facts.ordered(caption.named)


class _Caption:
    """One caption: the full name of a thing where it is first named, then a short one."""

    def __init__(self, facts: PromptFacts, *, longest: bool) -> None:
        self.facts, self.longest = facts, longest
        self.named: list[int] = []

    def text(self, dense: bool) -> str:
        facts, clauses = self.facts, list(self._clauses())
        floor = [self._pick(TRAIN.floors[facts.floor])] if facts.floor else []
        light = [self._pick(TRAIN.lights[facts.light])] if facts.light else []
        camera = [self._camera(facts.camera)] if facts.camera else []
        if facts.cut:
            camera.append(self._pick(TRAIN.cut))
        if facts.camera_after:
            camera.append(self._camera(facts.camera_after))
        setting = [*floor, *light] if dense else [" ".join([*floor, *light])]
        parts = [part for part in (*clauses, *setting, ", ".join(camera)) if part]
        return re.sub(r",+(?=[,;]|$)", "", ("; " if dense else ", ").join(parts))

    def _clauses(self) -> Iterator[str]:
        for n, thing in enumerate(self.facts.things):
            moves = [move for move in thing.moves if move.kind != "struck" or not self._hit_by_another(n)]
            if moves or n not in self.named:
                yield self._clause(n, moves)

    def _clause(self, n: int, moves: Sequence[Move]) -> str:
        thing, relations = self.facts.things[n], self._relations(n)
        resting = len(moves) == 1 and moves[0].kind in ("still", "spins")
        subject = self._name(n)
        if relations and not resting:
            subject = f"{subject} {self._related(relations)},"
        does = " and ".join(self._does(thing, move) for move in moves)
        if relations and resting:
            does = f"{does} {self._related(relations)}"
        return f"{subject} {does}".strip()

    def _hit_by_another(self, n: int) -> bool:
        return any(move.other == n and move.kind == "collides" for thing in self.facts.things for move in thing.moves)

    def _relations(self, n: int) -> list[tuple[str, int]]:
        return [(how, other) for one, how, other in self.facts.relations if one == n]

    def _related(self, relations: Sequence[tuple[str, int]]) -> str:
        return ", ".join(f"{TRAIN.relations[how][0]} {self._name(other)}" for how, other in relations)

    def _name(self, n: int) -> str:
        thing = self.facts.things[n]
        if n in self.named:
            return f"the {thing.name}"
        twin = any(self.facts.things[one].name == thing.name for one in self.named)
        self.named.append(n)
        words = [word for word in (thing.size, thing.material, thing.colour, thing.shape or "thing") if word]
        place = ", ".join(PLACE_WORDS[each] for each in (thing.across, thing.deep) if each)
        article = "another" if twin else "an" if words[0][0] in "aeiou" else "a"
        return " ".join([article, *words, *([f"{place},"] if place else [])])

    def _does(self, thing: Thing, move: Move) -> str:
        go = (TRAIN.go_ball if thing.shape == "ball" else TRAIN.go_other)[0]
        way = self._way(move.direction).format(go=go)
        if move.kind == "moves":
            if move.other is None:
                return way
            return f"{way} {TRAIN.past[move.how][0].format(other=self._name(move.other))}"
        if move.kind == "collides" and move.other is not None:
            return self._hits(way, move.other)
        if move.kind == "trail":
            if move.other is not None:
                way = f"{way} {TRAIN.past[move.how][0].format(other=self._name(move.other))}"
            trail = TRAIN.motions["trail"][0].format(way=way, colour=thing.colour or "", colour_article="a")
            return " ".join(trail.split())
        if move.kind == "struck":
            return f"is pushed {DIRECTION_WORDS.get(move.direction or '', '')}".strip()
        return self._in_the_frame(move, go)

    def _in_the_frame(self, move: Move, go: str) -> str:
        """Moves on the spot, and those out of the frame and into it."""
        side = move.direction if move.direction in ("left", "right") else ""
        if move.kind == "returns" and side:
            side = OPPOSITE[side]
        templates = TRAIN.motions[move.kind]
        if side or "{side}" not in templates[0]:
            return self._pick(templates).format(go=go, side=side)
        bare = {"leaves": "{go} out of the frame", "returns": "comes back into the frame"}
        bare |= {
            "leaves_and_returns": "{go} out of the frame and comes back",
            "turns_back": "{go} across the floor and comes back",
        }
        return bare[move.kind].format(go=go)

    def _hits(self, way: str, other: int) -> str:
        pushed = next((one.direction for one in self.facts.things[other].moves if one.kind == "struck"), None)
        template = TRAIN.hits[0] if pushed is None else next(each for each in TRAIN.hits if "{side}" in each)
        return template.format(way=way, other=self._name(other), side=DIRECTION_WORDS.get(pushed or "", ""))

    def _way(self, direction: str | None) -> str:
        if direction == "slanting":
            return next(each for each in TRAIN.motions["moves"] if "slantwise" in each)
        return self._pick(TRAIN.motions[direction]) if direction else TRAIN.motions["moves"][0]

    def _camera(self, move: str) -> str:
        return self._pick(TRAIN.cameras[move]) if move in TRAIN.cameras else f"the camera {move}s"

    def _pick(self, templates: Sequence[str]) -> str:
        """The first of some templates, or that with most words."""
        return max(templates, key=lambda each: len(each.split())) if self.longest else templates[0]
