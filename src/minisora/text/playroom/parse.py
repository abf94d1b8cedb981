"""The facts of a prompt, from its items: who does what, where, and which way.

One pass from left to right. A noun phrase ("two small red balls") makes things, or finds those
that were named before ("the ball", "it"); a verb is of the subjects before it; a direction is of
the last verb. What has no place in this is not understood, and listed: nothing is guessed.

Here: items to facts. Not here: words to items (words.py, chinese.py), what the facts leave open
(complete.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from minisora.text.playroom import chinese, words
from minisora.text.playroom.chinese import has_chinese
from minisora.text.playroom.facts import PromptFacts
from minisora.text.playroom.lexicon import Item
from minisora.text.playroom.verbs import Verbs

_MARKS = str.maketrans("，、。；：！？（）", ",,.;:!?()")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A prompt as it was understood.

    not_understood: pieces of the prompt, in order
    read_as:        misspelled words, such as "rde as red"
    missed:         a whole thing that was not understood, such as "a red fox"; or ""
    """

    facts: PromptFacts
    missed: str = ""
    not_understood: tuple[str, ...] = ()
    read_as: tuple[str, ...] = ()


def parse(prompt: str, before: PromptFacts | None = None) -> Reading:
    """The facts of a prompt in English, Chinese or both.

    before: facts of the part before, if the prompt changes over time: "the ball" may be one of its
            things; its floor and light stay
    """
    found, read_as = list[Item](), list[str]()
    for piece in re.findall(rf"[{chinese.HAN}]+|[^{chinese.HAN}]+", prompt):
        if has_chinese(piece):
            found += chinese.items(piece)
        else:
            some, slips = words.items(piece.translate(_MARKS))
            found += some
            read_as += slips
    reader = _Reader(found, before or PromptFacts())
    reader.read()
    lost = tuple(reader.lost)
    return Reading(facts=reader.facts(), missed=reader.missed, not_understood=lost, read_as=tuple(read_as))


class _Reader(Verbs):
    """One pass over the items."""

    def read(self) -> None:
        for number, item in enumerate(self.items):
            self.number = number
            if self.skipping and item.kind != "join":
                self.lost[-1] = f"{self.lost[-1]} {item.text}"
                continue
            getattr(self, f"on_{item.kind.replace(' ', '_')}")(item)
            if item.kind != "filler" or item.value:
                self.last = item
        self.end_clause()
        self.lose(self.place)

    def facts(self) -> PromptFacts:
        """All facts; things of the part before go on as they did where no thing is named."""
        before = self.before
        told = (self.things, self.relations) if self.things else (before.things, before.relations)
        kept = {name: getattr(before, name) for name in ("floor", "light") if name not in self.vague}
        return PromptFacts(
            things=tuple(told[0]),
            relations=tuple(dict.fromkeys(told[1])),
            cut=self.cut,
            vague=frozenset(self.vague),
            **{**kept, **self.setting},
        )

    def on_negation(self, item: Item) -> None:
        self.flush()
        self.lose(item.text)
        self.blur(self.subjects, looks=True)
        self.vague |= {"floor", "light", "camera"}
        self.skipping = True

    def on_unsayable(self, item: Item) -> None:
        self.lose(item.text)

    def on_set(self, item: Item) -> None:
        self.flush()
        name = "camera_after" if item.kind == "camera" and self.cut else item.kind
        if self.setting.setdefault(name, item.value) != item.value:
            self.lose(item.text)

    on_floor = on_light = on_set

    def on_camera(self, item: Item) -> None:
        before = self.items[self.number - 1].kind if self.number else ""
        if item.form == "s" and before == "noun":  # "a red ball orbits ..."
            self.lose(item.text)
            self.blur(self.subjects)
        else:
            self.on_set(item)

    def on_cut(self, item: Item) -> None:
        self.flush()
        self.cut = True

    def on_lens(self, item: Item) -> None:
        self.flush()
        self.vague.add("camera")
        self.lose(item.text)
        self.skipping = True

    def on_ground(self, item: Item) -> None:
        phrase, self.phrase = self.phrase, None
        if phrase is not None and (any(phrase.looks[-1].values()) or phrase.unknown):
            self.lose(" ".join([*phrase.said, *phrase.unknown, item.text]))
            self.vague.add("floor")

    def on_filler(self, item: Item) -> None:
        if self.phrase is not None and self.phrase.said and not any(self.phrase.looks[-1].values()):
            self.phrase = None  # "a video of"

    def on_be(self, item: Item) -> None:
        self.flush()
        self.acted = bool(self.subjects)

    def on_join(self, item: Item) -> None:
        listed = self.phrase is not None and not self.phrase.predicate and item.value != ";"
        if listed and self.noun_ahead(self.number + 1, through=("join", "article", "count")):
            return  # "red, green and blue balls"
        if item.value == ";" or self.skipping:
            self.end_clause()
        else:
            if not (self.phrase and self.phrase.looks[0] and self.group):
                self.flush()
            if self.leaving:
                self.leave_now()
            if self.last.kind == "way":
                self.settle_way()
            self.beyond_known = False
        self.link = item.value if item.value != "," or self.link != "and" else "and"

    def end_clause(self) -> None:
        self.flush()
        self.skipping = False
        if self.leaving:
            self.leave_now()
        if self.expects is not None:
            if self.expects[1] != "past" or self.expected_by:
                self.lose(self.expected_by)
            self.expects = None
        self.settle_way()
        if self.crossing is not None:
            self.meet("relation", *self.crossing)
            self.crossing = None
        self.beyond_known = False
        self.at, self.object, self.struck = "", [], None
