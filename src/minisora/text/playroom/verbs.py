"""Verbs and what belongs to them: directions, things met, places.

A verb is of the subjects before it, a direction of the last verb. Chinese has places after their
thing ("方块左边"), and directions before the verb.

Here: items to the moves and relations of things. Not here: noun phrases (nouns.py), the setting
(parse.py).
"""

from __future__ import annotations

from dataclasses import replace

from minisora.text.playroom.chinese import has_chinese
from minisora.text.playroom.facts import OPPOSITE, Move
from minisora.text.playroom.lexicon import Item
from minisora.text.playroom.nouns import Nouns
from minisora.text.playroom.state import SIDES


class Verbs(Nouns):
    """What the items of verbs do."""

    def on_move(self, item: Item) -> None:
        if self.before_noun(item):
            self.opened().moves.append(Move(item.value, self.taken_way(item.value)))
            self.opened().said.append(item.text)
            return
        if (phrase := self.phrase) is not None and phrase.article and not phrase.predicate:
            self.on_unknown(replace(item, kind="unknown"))  # "a roll": a noun here
            return
        self.flush()
        if not self.subjects:
            self.lose(item.text)
            return
        chosen = self.subjects
        if item.form == "s" and self.joined_by(",") and not self.acted:
            chosen = self.subjects[-1:]
        direction = item.side if item.side in OPPOSITE else self.taken_way(item.value)
        for n in chosen:
            self.add(n, Move(item.value, direction))
        self.subjects, self.acted, self.struck, self.beyond_known = chosen, True, None, False
        self.leaving = ""
        if self.crossing is not None:
            how, other = self.crossing
            self.meet("past", how, other)
            self.crossing = None
        if item.side == "past":
            self.expects, self.expected_by = ("past", "past"), ""

    def on_way(self, item: Item) -> None:
        self.flush()
        if self.leaving:
            self.leave_now()
        if self.struck is not None:  # what was hit goes there
            self.turn(self.struck, item)
            return
        for n in self.subjects:
            if len(self.things[n].moves) > self.begun.get(n, 0):
                self.turn(n, item)
        if not any(len(self.things[n].moves) > self.begun.get(n, 0) for n in self.subjects):
            if self.way:
                self.lose(self.way.text)
            self.way = item

    def settle_way(self) -> None:
        """A direction that got no verb: "red ball, left" is a place."""
        way, self.way = self.way, None
        if way is None:
            return
        plain = way.value in SIDES and not has_chinese(way.text) and way.side != "from"
        if plain and self.subjects and not any(self.things[n].vague_motion for n in self.subjects):
            self.put(self.subjects[-1:], way.value)
        else:
            self.lose(way.text)

    def on_hit(self, item: Item) -> None:
        self.flush()
        if not self.subjects:
            self.lose(item.text)
        elif len(self.object) == 1:  # 把方块撞 ...
            self.meet("hit", "", self.object.pop())
        elif item.value != "each other" and self.thing_ahead():
            self.expects, self.expected_by = ("hit", ""), item.text
        elif self.last.kind == "be" and self.subjects:
            self.strike(self.subjects[0])
        elif len(self.subjects) == 2:
            one, other = self.subjects
            self.subjects = [one]
            self.meet("hit", "", other)
        else:
            self.lose(item.text)

    def on_push(self, item: Item) -> None:
        self.flush()
        if self.struck is None:
            if self.object or self.thing_ahead():
                self.on_hit(item)
            elif self.last.kind == "be" and self.subjects:
                self.strike(self.subjects[0])
            else:
                self.lose(item.text)
                return
        if item.side and self.struck is not None:
            self.turn(self.struck, Item("way", item.side))
        self.acted = True

    def on_goes_on(self, item: Item) -> None:
        self.flush()
        if self.struck is None:
            self.on_move(replace(item, kind="move", value="moves"))
        self.acted = True

    def on_relation(self, item: Item) -> None:
        self.flush()
        self.nearest = None if self.acted else self.mentioned
        if self.subjects and self.thing_ahead():
            self.expects, self.expected_by = (item.kind, item.value), item.text
        else:
            self.lose(item.text)

    on_past = on_relation

    def on_after(self, item: Item) -> None:
        """A relation after its second thing, as Chinese has it."""
        self.flush()
        objects, self.object, at, self.at = self.object, [], self.at, ""
        if not objects or (item.value == "past" and at == "在"):
            self.stand(item)
        elif self.of_noun(self.number + 1):
            self.attributive = (item.value, objects[0])
        elif at in ("从", "由") and not self.moving():
            self.crossing = (item.value, objects[0])
        else:
            kind = "past" if at in ("从", "到", "向", "往") or item.value == "past" else "relation"
            self.meet(kind, item.value, objects[0])

    def stand(self, item: Item) -> None:
        """A relation to no thing: a place."""
        places = {"left of": "left", "right of": "right", "behind": "back", "in front of": "front"}
        if (place := places.get(item.value)) is None:
            self.lose(item.text)
        elif self.subjects:
            self.put(self.subjects, place)
        else:
            self.place = place
        self.acted = bool(self.subjects)

    def on_at(self, item: Item) -> None:
        self.flush()
        self.at = item.value

    def on_of(self, item: Item) -> None:
        pass

    def on_preplace(self, item: Item) -> None:
        if self.object:
            self.attributive, self.object, self.at = (f"{item.value} of", self.object[0]), [], ""
        elif self.last.kind == "noun" and self.mentioned is not None and item.text.endswith("的"):
            self.attributive = (f"{item.value} of", self.mentioned)
            self.subjects = [n for n in self.subjects if n != self.mentioned]
        elif self.noun_ahead(self.number + 1, through=("count", "article")):
            self.place = item.value
            self.at = ""
        else:
            self.on_after(replace(item, value=f"{item.value} of"))

    def on_leave(self, item: Item) -> None:
        self.flush()
        if self.subjects:
            self.leaving = item.text
        else:
            self.lose(item.text)

    def leave_now(self) -> None:
        text, self.leaving = self.leaving, ""
        self.on_move(Item("move", "leaves", text=text))

    def on_trail(self, item: Item) -> None:
        phrase, self.phrase, self.leaving = self.phrase, None, ""
        colours = [looks["colour"] for looks in phrase.looks if "colour" in looks] if phrase else []
        self.lose(*(phrase.unknown if phrase else ()))
        colour = item.value or next(iter(colours), "")
        if not self.subjects:
            self.lose(item.text)
            return
        for n in self.subjects:
            thing = self.things[n]
            if colour and thing.colour not in (None, colour):
                self.lose(f"{colour} {item.text}".strip() if not item.value else item.text)
            elif colour:
                self.things[n] = replace(thing, colour=colour)
            self.add(n, Move("trail"))
        self.acted = True

    def on_place(self, item: Item) -> None:
        self.flush()
        if self.leaving:
            self.leave_now()
        last = self.subjects[-1] if self.subjects else None
        if last is not None and self.things[last].moves and item.value in SIDES:
            move = self.things[last].moves[-1]
            if move.kind in ("leaves", "returns", "leaves_and_returns") and move.direction is None:
                self.turn(last, Item("way", OPPOSITE[item.value] if move.kind == "returns" else item.value))
                return
        if self.mentioned is None:
            self.place = item.value
        else:
            together = self.group if self.mentioned in self.group else [self.mentioned]
            self.put(self.subjects if self.acted and self.mentioned in self.subjects else together, item.value)
