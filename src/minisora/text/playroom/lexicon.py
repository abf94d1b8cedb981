"""English phrases for everything that the playroom can show, each with its meaning.

The templates of the world's own captions (worlds/playroom/phrases.py), and more words that people
use for the same. Words stand in their base form; articles are left out. `<side>` is left or right,
`<colour>` a colour.

Here: the tables. Not here: finding phrases in a prompt, inflections, misspellings (words.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from minisora.worlds.playroom import scene
from minisora.worlds.playroom.phrases import PHRASES, Phrases


@dataclass(frozen=True)
class Item:
    """A piece of a prompt with its meaning.

    kind:  what it is, such as "colour" or "move"; parse.py has a method for each
    value: such as "red" or "bounces"
    side:  direction of a move, or what a camera does after a cut
    text:  as typed
    form:  "s" or "ing", the ending of an inflected word, or ""
    """

    kind: str
    value: str = ""
    side: str = ""
    text: str = ""
    form: str = ""


COLOURS = {  # in this table and the next three: other words for the world's own
    "red": "crimson|scarlet|ruby",
    "green": "emerald",
    "blue": "navy|azure",
    "yellow": "lemon",
    "orange": "tangerine",
    "purple": "violet|magenta",
    "cyan": "turquoise|aqua|teal|light blue|sky blue",
    "white": "ivory",
}
SHAPES = {
    "ball": "sphere|orb|globe",
    "cube": "box|block|dice",
    "cylinder": "tube|barrel|drum|pillar|column",
    "": "thing|object|item|toy",
}
SIZES = {"small": "little|tiny|mini|miniature", "large": "big|huge|giant|enormous"}
MATERIALS = {"matte": "mat|dull", "shiny": "glossy|polished|gleaming"}
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
SOME = "some|several|few|many|multiple"
PRONOUNS = {"it": "it", "they": "they|both|them", "that": "that|which|who|that one"}

MOVES = {  # besides the world's own words for them
    "moves": "roll|slide|move|go|glide|drift|travel|head|run|cross|come|advance|proceed|creep|crawl|race|speed|dash|"
    "shift|enter|enter {frame}",
    "bounces": "bounce|hop|jump|leap|spring|bob|rebound|bounce up and down|bounce on spot|bounce in place|"
    "bounce around|bounce on floor",
    "spins": "spin|rotate|twirl|revolve|whirl|swivel|pirouette|spin around|turn around|turn round|turn in place|"
    "turn on spot|turn around on spot",
    "still": "still|stationary|motionless|static|unmoving|immobile|stay|stand|sit|remain|wait|rest|not move|not moving|"
    "do not move|is not moving|in place|at rest|where it is|{stay} still|{stay} put|{stay} there",
    "circles": "circle|in circle|in ring|circle around|{go} in circle|{go} around in circle|{go} in ring|{go} around|"
    "{go} round|{go} round and round|{go} round in circle",
    "leaves": "exit|disappear|vanish|out of {frame}|leave {frame}|exit {frame}|left {frame}|off {frame}",
    "returns": "return|reappear|come back|and back|turn back|come in again|enter again|come back in|back into {frame}|"
    "come back into {frame}",
}
FRAME = "frame|view|picture|scene|sight|shot|screen"
STAY = "stay|stand|sit|remain|rest|lie|hold|be|is|are|wait"
GO = "go|roll|move|slide|glide|travel|run|drift"
HITS = (
    "hit|strike|meet|ram|bump|touch|into|against|bang against|knock against|collide|crash|collide with|crash with|"
    "bump into|collide into|crash into|run into|knock into|smash into|bang into|slam into|ram into"
)
EACH_OTHER = "collide with each other|hit each other|bump into each other|crash into each other"
PUSHES = "push|shove|knock|drive|kick|send|propel|nudge|set it moving|set it in motion|set it rolling"
GOES_ON = "start to move|start move|set move|begin to move|set in motion|set rolling"
TRAILS = "trail|stripe|band|streak|line|track"
TRAIL_ENDS = "behind it|on floor|stay on floor|of paint|of paint behind it|of paint stay on floor"

WAYS = {
    "toward": "{to} camera|{to} us|{to} me|{to} viewer|close to camera|closer to camera|closer|nearer|to front|"
    "in direction of camera|into foreground|out of background",
    "away": "away|away from camera|away from us|away from me|away from viewer|into distance|into background|to back|"
    "off in distance|in distance|farther away|further away",
    "slanting": "diagonally|slantwise|slanting|on diagonal|at angle|slantwise across floor|along slanting line",
}
TOWARD = "toward|to|up to"
SIDES = (
    "<side>|{to} <side>|{to} <side> side|{to} <side> edge|{to} <side> hand side|in direction of <side>|out to <side>|"
    "off to <side>|off to <side> side|over to <side>|across to <side>|from {other} to <side>|"
    "from {other} side to <side> side|from {other} side to <side>|{to} <side> of {frame}|{to} <side> side of {frame}|"
    "{to} <side> edge of {frame}"
)
FROM_SIDE = "from <side>|in from <side>|from <side> side|in from <side> side|from <side> edge"
PLACES = {
    "middle": "in middle|in centre|in center|in middle of {frame}|in centre of {frame}|in center of {frame}|at centre",
    "front": "up front|in front|in foreground|at front|near camera",
    "halfway": "halfway back|half way back|in middle distance",
    "back": "far back|in back|in background|at back|far away|far off",
    "<side>": "on <side>|on <side> side|at <side>|on <side> hand side|on <side> of {frame}|on <side> side of {frame}",
}
RELATIONS = {
    "<side> of": "to <side> of|<side> of|on <side> of|on <side> side of|to <side> side of|on <side> hand side of",
    "behind": "behind|in back of|at back of|farther back than|further back than",
    "in front of": "in front of|before|closer to viewer than|closer to camera than|nearer than|closer than",
}
PAST = {
    "past": "past|by|alongside",
    "behind": "and pass behind|round back of|and is hidden by|disappear behind|around back of",
    "in front of": "and pass in front of|across front of",
}
FLOORS = {
    "grey": "grey floor|grey tiled floor|grey tile|grey ground|grey concrete|concrete|concrete floor|tile|tiled floor",
    "wood": "wood floor|wooden floor|wooden plank|plank|floorboard|wooden ground|parquet|wooden floorboard|"
    "wooden board|hardwood floor|hardwood",
    "checker": "checker floor|checkered floor|chequered floor|checkerboard|checkerboard floor|chessboard|chess board|"
    "checkered ground|checked floor|chessboard floor|checkered board",
    "grass": "grass|lawn|meadow|grassy field|grassy ground|grassy floor|grass field|green grass|green lawn|grass floor|"
    "grassy meadow",
    "sand": "sand|beach|sandy floor|sandy ground|sandy beach|desert|sand floor|dune|sand dune",
}
LIGHTS = {
    "day": "day|daylight|daytime|sunny|sunny day|sunlight|sunshine|noon|bright day|in sun|midday|day light|"
    "broad daylight|bright daylight|bright sunlight",
    "sunset": "sunset|dusk|evening|evening light|warm evening light|sundown|golden hour|twilight|setting sun",
    "night": "night|nighttime|midnight|darkness|in dark|moonlight|night time|dark night|dark of night",
}
IN = "on|at|in|during|by"  # before a floor or a light
LENS = "camera|view|lens|shot"
ORBITS = (
    "orbit|orbit around|orbit around scene|circle|circle around|go around|move around|move around scene|move in arc|"
    "swing round|swing around|arc|rotate around|revolve around"
)
PANS = "pan|pan over|turn|turn head|look|swivel|sweep|rotate"
WITHOUT_LENS = "orbit|orbit around|orbit around scene|pan"  # moves that only a camera makes
STATIC = (
    "{lens} {stay} still|{lens} {stay} static|{lens} {stay} fixed|{lens} {stay} stationary|{lens} not move|"
    "{lens} at rest|{lens} do not move|{lens} is not moving|{lens} motionless|still {lens}|static {lens}|fixed {lens}|"
    "steady {lens}|stationary {lens}|motionless {lens}|locked {lens}|no {lens} movement|no {lens} motion|"
    "without {lens} movement"
)
CUTS = "to another angle|to another camera angle|to different view|to different angle|to new view|to new angle|angle"

FILLERS = (  # words that say nothing of the scene
    "has|have|been|being|there|here|its|their|his|this|these|those|so|just|me|please|make|create|generate|render|"
    "show|display|depict|draw|see|can|you|i|we|want|would|like|need|now|up|down|over|along|across|too|also|very|own|"
    "only|together|side|let|moment|picture|scene|frame|video|clip|image|animation|movie|footage|film|photo|where|must|"
    "should|will|do|does|each|all|keep|continue|start|begin|become|get|place|way|simple|single|short|about|again|"
    "one can see|here is|there is|shot of|view of|scene of|for a moment|into {frame}|across floor|across ground|"
    "over floor|"
    "on floor|over ground|along floor|along ground|on ground|across surface"
)
PREPOSITIONS = "of|with|to|for|from|out|in|at"
SETTINGS = "on|during|over|upon|by|through|within"
UNSAYABLE = (  # known, but the world has no such thing
    "next to|beside|besides|on top of|between|near|under|underneath|above|below|inside|among|around|beyond|opposite|"
    "slow|slowly|gently|gradually|smoothly|steadily|fast|quick|quickly|rapidly|calmly|softly|suddenly|cinematic|"
    "photorealistic|realistic|beautiful|beautifully|detailed|highly|quality|high|hd|hdr|ultra|stunning|epic|dramatic"
)
NEGATIONS = "no|not|without|never|nor|neither|cannot"
GROUND = "floor|ground|surface"
BE = "is|are|be|was|were|look"


def phrases() -> Iterator[tuple[str, tuple[Item, ...]]]:
    """Every phrase with its items; of two that are alike the first counts."""
    yield from _looks()
    yield from _moves()
    yield from _ways()
    yield from _settings()
    yield from _cameras()
    for told in PHRASES.values():
        yield from _templates(told)


def _filled(listed: str) -> Iterator[str]:
    """The phrases of a list, with all that stands for {frame}, {stay}, {go}, {to} and {lens}."""
    values = {"frame": FRAME, "stay": STAY, "go": GO, "to": TOWARD, "lens": LENS}
    for phrase in listed.split("|"):
        names = [name for name in values if f"{{{name}}}" in phrase]
        for chosen in product(*(values[name].split("|") for name in names)):
            yield phrase.format_map({"other": "{other}", **dict(zip(names, chosen, strict=True))})


def _alike(kind: str, table: Mapping[str, str]) -> Iterator[tuple[str, tuple[Item, ...]]]:
    for value, listed in table.items():
        for phrase in _filled(listed):
            yield phrase, (Item(kind, value),)


def _looks() -> Iterator[tuple[str, tuple[Item, ...]]]:
    own = {"colour": scene.COLOURS, "noun": scene.SHAPES, "size": scene.SIZES, "material": scene.MATERIALS}
    for kind, names in own.items():
        yield from _alike(kind, {name: name for name in names})
    for kind, table in (("colour", COLOURS), ("noun", SHAPES), ("size", SIZES), ("material", MATERIALS)):
        yield from _alike(kind, table)
    numbers = {str(number): word for number, word in enumerate(NUMBERS, 1)}
    yield from _alike("count", {**numbers, "some": SOME})
    yield from _alike("count", {"2": "pair of|couple of"})
    yield from _alike("article", {"another": "another", "other": "other"})
    yield from _alike("pronoun", PRONOUNS)


def _moves() -> Iterator[tuple[str, tuple[Item, ...]]]:
    yield from _alike("move", MOVES)
    yield "pass", (Item("move", "moves", side="past"),)
    yield from _alike("hit", {"": HITS, "each other": EACH_OTHER})
    for phrase in HITS.split("|"):
        yield f"until it {phrase}", (Item("hit"),)
    for phrase in PUSHES.split("|"):
        yield phrase, (Item("push"),)
        yield f"{phrase} away", (Item("push", side="away"),)
    yield from _alike("goes on", {"": GOES_ON})
    yield "leave", (Item("leave"),)
    for noun in TRAILS.split("|"):
        yield from _alike("trail", {"": f"{noun}|paint {noun}|painted {noun}"})
        coloured = f"<colour> {noun}|painted <colour> {noun}|{noun} of <colour> paint"
        ends = [f"{start}{noun} {end}" for start in ("", "<colour> ") for end in TRAIL_ENDS.split("|")]
        yield from _alike("trail", {"<colour>": "|".join([coloured, *ends[6:]]), "": "|".join(ends[:6])})
    painted = "paint floor <colour> where it go|floor behind it turn <colour>|paint floor <colour>"
    yield from _alike("trail", {"<colour>": painted})


def _ways() -> Iterator[tuple[str, tuple[Item, ...]]]:
    yield from _alike("way", WAYS)
    for side, other in (("left", "right"), ("right", "left")):
        for phrase in _filled(SIDES):
            yield phrase.replace("<side>", side).format(other=other), (Item("way", side),)
        for phrase in FROM_SIDE.split("|"):
            yield phrase.replace("<side>", side), (Item("way", other, side="from"),)
    for kind, table in (("place", PLACES), ("relation", RELATIONS), ("past", PAST)):
        yield from _alike(kind, table)


def _settings() -> Iterator[tuple[str, tuple[Item, ...]]]:
    for kind, table in (("floor", FLOORS), ("light", LIGHTS)):
        for value, listed in table.items():
            for phrase, before in product(listed.split("|"), ("", *IN.split("|"))):
                yield f"{before} {phrase}".strip(), (Item(kind, value),)
    yield from _alike("ground", {"": GROUND})
    yield from _alike("unsayable", {"": UNSAYABLE})
    yield from _alike("be", {"": BE})
    yield from _alike("filler", {"setting": SETTINGS, "preposition": PREPOSITIONS, "": FILLERS})
    yield from _alike("negation", {"": NEGATIONS})


def _cameras() -> Iterator[tuple[str, tuple[Item, ...]]]:
    yield from _alike("lens", {"": LENS})
    yield from _alike("camera", {"static": STATIC})
    for lens in ("", *(f"{word} " for word in LENS.split("|")), "camera is "):
        for move, verbs in (("orbit", ORBITS), ("pan", PANS)):
            for verb in verbs.split("|"):
                if lens or verb in WITHOUT_LENS.split("|"):
                    for to in ("", "to ", "toward ", "round to ", "around to "):
                        yield f"{lens}{verb} {to}<side>", (Item("camera", f"{move}_<side>"),)
                if verb in WITHOUT_LENS.split("|"):
                    yield lens + verb, (Item("camera", move),)
        for way in ("in", "out"):
            yield f"{lens}zoom {way}", (Item("camera", f"zoom_{way}"),)
        yield f"{lens}zoom", (Item("camera", "zoom"),)
        for verb, to in product(("cut", "change", "switch"), CUTS.split("|")):
            yield f"{lens}{verb} {to}", (Item("cut"),)


def _templates(told: Phrases) -> Iterator[tuple[str, tuple[Item, ...]]]:
    """The world's templates, without the verb of straight motion, which goes before them."""
    for name, templates in told.motions.items():
        if name == "trail":
            continue
        for template in templates:
            phrase = re.sub(r"^\{go\} ", "", template)
            went = phrase == template  # a verb of its own
            for side in ("left", "right") if "{side}" in phrase else ("",):
                if name in ("left", "right", "toward", "away"):
                    items = (Item("move", "moves"),) * went + (Item("way", name),)
                elif name == "moves":
                    items = (Item("move", "moves"),) if went else (Item("filler"),)
                else:
                    back = {"left": "right", "right": "left", "": ""}[side] if name == "returns" else side
                    items = (Item("move", name, side=back),)
                yield phrase.format(side=side, go=told.go_ball[0]), items
    for table, kind in ((told.floors, "floor"), (told.lights, "light"), (told.cameras, "camera")):
        for value, templates in table.items():
            for template in templates:
                yield template, (Item(kind, value),)
    for template in told.cut:
        yield template, (Item("cut"),)
    for verb in {*told.go_ball, *told.go_other}:
        yield verb, (Item("move", "moves"),)


def with_slots(items: tuple[Item, ...], slots: dict[str, str]) -> tuple[Item, ...]:
    """Fill `<side>` and `<colour>` in the values of items."""
    return tuple(
        replace(
            item,
            value=item.value.replace("<side>", slots.get("<side>", "")).replace("<colour>", slots.get("<colour>", "")),
        )
        for item in items
    )
