"""Noun phrases: new things, things that were named before, and their looks.

"a red ball" is new, "the ball" and "it" were named before; "two red balls" and "a red and a blue
ball" are several.

Here: articles, numbers, looks, nouns, known or not, pronouns. Not here: verbs (verbs.py).
"""

from __future__ import annotations

import re
from dataclasses import replace

from minisora.text.playroom.chinese import has_chinese
from minisora.text.playroom.facts import DIRECTED, Thing
from minisora.text.playroom.lexicon import Item
from minisora.text.playroom.state import LOOKS, Phrase, State

MOST_THINGS = 8  # in one prompt; the world itself has one to three


class Nouns(State):
    """What the items of noun phrases do."""

    def opened(self) -> Phrase:
        if self.phrase is None:
            self.phrase = Phrase()
        return self.phrase

    def on_article(self, item: Item) -> None:
        if self.phrase is not None and self.phrase.predicate:
            self.flush()
        phrase = self.opened()
        phrase.said.append(item.text)
        if any(phrase.looks[-1].values()):
            phrase.looks.append({})
        phrase.article = phrase.article or item.value

    def on_count(self, item: Item) -> None:
        if item.text == "one" and self.phrase is not None and not self.noun_ahead(self.number + 1):
            named = any(self.phrase.looks[-1].values()) and not self.group
            if self.phrase.article in ("the", "another", "other") or named:
                self.on_noun(replace(item, kind="noun", value=""))
                return
        phrase = self.opened()
        phrase.said.append(item.text)
        if any(phrase.looks[-1].values()):
            phrase.looks.append({})
        elif phrase.count:
            self.lose(item.text)
            return
        phrase.count = phrase.count or item.value

    def on_measure(self, item: Item) -> None:
        if self.phrase is None:
            self.lose(item.text)

    def on_look(self, item: Item) -> None:
        fresh, phrase = self.phrase is None, self.opened()
        phrase.predicate |= fresh and self.last.kind == "be"
        phrase.said.append(item.text)
        looks = phrase.looks[-1]
        if item.kind == "colour" and "colour" in looks:
            looks = {name: value for name, value in looks.items() if name != "colour"}
            phrase.looks.append(looks)
        if looks.setdefault(item.kind, item.value) != item.value:
            self.lose(item.text)

    on_colour = on_size = on_material = on_look

    def on_noun(self, item: Item) -> None:
        phrase = self.opened()
        self.phrase = None
        numbers = self.named(phrase, item, several=item.form == "s")
        if not numbers:
            return
        for n in numbers:
            thing = self.things[n]
            if phrase.unknown:
                thing = replace(thing, vague_looks=True)
            self.things[n] = replace(thing, moves=(*thing.moves, *phrase.moves))
        self.lose(*phrase.unknown)
        if self.place:
            self.put(numbers, self.place)
            self.place = ""
        if self.attributive is not None:
            how, other = self.attributive
            self.relations += [(n, how, other) for n in numbers]
            self.attributive = None
        self.mention(numbers)

    def named(self, phrase: Phrase, item: Item, *, several: bool) -> list[int]:
        """Indices of the things of a noun phrase: those named before, or new ones."""
        shape, looks = item.value or None, phrase.looks
        one = len(looks) == 1 and phrase.count in ("", "1") and not phrase.moves
        if one and (known := self.known(phrase, looks[0], shape, several)) is not None:
            return known
        if len(looks) > 1:
            if phrase.count not in ("", "some", "1", str(len(looks))):
                self.lose(phrase.said[0])
            new = [Thing(shape=shape).looking(each) for each in looks]
        else:
            some = phrase.count == "some" or (several and not phrase.count)
            number = int(phrase.count) if phrase.count.isdecimal() else 1
            new = [Thing(shape=shape, some=some).looking(looks[0])] * min(number, MOST_THINGS + 1)
        if not new or len(self.things) + len(new) > MOST_THINGS:
            name = f"{' '.join([*phrase.said, item.text])} (more than {MOST_THINGS} things)"
            self.missed = self.missed or name
            self.lose(name)
            return []
        self.things += new
        return list(range(len(self.things) - len(new), len(self.things)))

    def known(self, phrase: Phrase, looks: dict[str, str], shape: str | None, several: bool) -> list[int] | None:
        """Things named before that a phrase means, filled with what it adds; None for new ones."""
        if phrase.article in ("a", "another") or phrase.count:
            here = list[int]()
        else:
            here = [n for n, thing in enumerate(self.things) if agrees(thing, looks, shape)]
        if phrase.article == "other":
            here = [n for n in here if n not in self.subjects]
        if phrase.article not in ("the", "other"):  # bare words mean the same thing only if they name it
            here = [n for n in here if looks.get("colour") and self.things[n].colour and self.things[n].shape == shape]
        if not here and phrase.article != "another":
            here = self.from_before(looks, shape, several)
        if not here:
            return None
        exact = [n for n in here if all(getattr(self.things[n], name) == value for name, value in looks.items())]
        chosen = here if several else (exact or here)[-1:]
        for n in chosen:
            thing = self.things[n]
            self.things[n] = replace(thing, shape=thing.shape or shape).looking(looks)
        return chosen

    def from_before(self, looks: dict[str, str], shape: str | None, several: bool) -> list[int]:
        """Take the things that agree over from the part before."""
        taken = [later(thing) for thing in self.before.things if agrees(thing, looks, shape)]
        taken = taken if several else taken[:1]
        fresh = [thing for thing in taken if not any(same(thing, one) for one in self.things)]
        self.things += fresh
        return list(range(len(self.things) - len(fresh), len(self.things)))

    def mention(self, numbers: list[int]) -> None:
        """Give named things their part: an object that is expected, or subjects."""
        self.mentioned = numbers[-1]
        if len(numbers) > 1:
            self.group = numbers
        if self.expects is not None:
            kind, how = self.expects
            self.expects = None
            self.meet(kind, how, numbers[0])
        elif self.at:
            self.object = numbers
        elif self.beyond_known and not self.link:
            self.subjects = []
            self.blur(numbers)
        elif self.acted or self.link == ";" or not self.subjects:
            self.subjects, self.acted = numbers, False
            self.begun = {n: len(self.things[n].moves) for n in numbers}
            self.struck = None
        else:
            self.subjects = [*self.subjects, *numbers]
            self.begun |= {n: len(self.things[n].moves) for n in numbers}
        self.link = ""

    def on_pronoun(self, item: Item) -> None:
        self.flush()
        if item.value == "that":
            if self.mentioned is not None and self.last.kind in ("noun", "join", "count", "pronoun"):
                self.subjects, self.acted = [self.mentioned], False
                self.begun = {self.mentioned: len(self.things[self.mentioned].moves)}
            return
        if item.value == "it" and self.last.kind == "push":
            return
        if self.expects is not None and (other := self.other()) is not None:
            (kind, how), self.expects = self.expects, None
            self.meet(kind, how, other)
            return
        if item.value == "it" and self.at and self.struck is not None:
            self.object = [self.struck]
            return
        if not self.things and self.before.things:
            meant = self.before.things[:1] if item.value == "it" else self.before.things
            self.things = [later(thing) for thing in meant]
            self.subjects = list(range(len(self.things)))
        elif item.value == "they" and len(self.subjects) < 2 and self.last.kind != "be":
            self.subjects = list(range(len(self.things)))
        self.begun = {n: len(self.things[n].moves) for n in self.subjects}

    def on_unknown(self, item: Item) -> None:
        if not re.search(r"\w", item.text):
            return
        if self.noun_ahead(self.number + 1, through=("unknown",)):
            self.opened().unknown.append(item.text)
            return
        if self.phrase is not None and not self.phrase.predicate:
            self.lose_noun(item)
            return
        self.flush()
        self.lose(item.text)
        if self.last.value == "setting":
            self.vague |= {"floor", "light"}
        elif self.last.kind == "join" and self.link == ";":
            self.subjects = []
        self.beyond_known = bool(self.subjects) or has_chinese(item.text)
        self.blur(self.subjects)

    def lose_noun(self, item: Item) -> None:
        """A noun phrase whose noun is not known: what follows is about that."""
        phrase, self.phrase = self.phrase, None
        assert phrase is not None
        name = " ".join([*phrase.said, item.text])
        self.lose(name)
        at = self.number - 1
        while at >= 0 and self.items[at].kind in ("article", "count", *LOOKS, "unknown"):
            at -= 1
        before = self.items[at].value if at >= 0 and self.items[at].kind == "filler" else ""
        if before == "setting":
            self.vague |= {"floor", "light"}
        elif before != "preposition" and not name[0].isdigit():  # "at 3 m/s"
            self.missed = self.missed or name
        self.subjects, self.acted, self.expects, self.beyond_known = [], False, None, True

    def flush(self) -> None:
        """Close a phrase that got no noun: "is red", "three balls: red, green, blue"."""
        phrase, self.phrase = self.phrase, None
        if phrase is None:
            return
        self.lose(*phrase.unknown)
        looks = [each for each in phrase.looks if each]
        bare = [n for n in self.group if self.things[n].colour is None]
        if looks and len(looks) == len(bare) == len(self.group) and not phrase.article and not phrase.moves:
            for n, each in zip(bare, looks, strict=True):
                self.things[n] = self.things[n].looking(each)
        elif looks and phrase.predicate and len(looks) == 1 and self.subjects and not phrase.moves:
            for n in self.subjects:
                if agrees(self.things[n], looks[0], None):
                    self.things[n] = self.things[n].looking(looks[0])
                else:
                    self.lose(" ".join(phrase.said))
        elif looks or phrase.moves or phrase.count:
            self.lose(" ".join(phrase.said))


def later(thing: Thing) -> Thing:
    """A thing in the next part of a prompt: its looks, and its place if it stayed there."""
    if any(move.kind in DIRECTED for move in thing.moves):
        thing = replace(thing, across=None, deep=None)
    return replace(thing, moves=())


def agrees(thing: Thing, looks: dict[str, str], shape: str | None) -> bool:
    wanted = {**looks, "shape": shape}
    return all(getattr(thing, name) in (None, value) for name, value in wanted.items() if value)


def same(thing: Thing, other: Thing) -> bool:
    return (thing.shape, thing.colour, thing.size) == (other.shape, other.colour, other.size)
