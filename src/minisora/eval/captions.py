"""Scores of captioners: claims parsed from captions of the playroom, against the facts of the clip.

A caption is parsed into claims by the playroom's own phrases, those for training and those held
out. A claim is a tuple of words: ("thing", "red ball"), ("way", "red ball", "left"), ("cut",).

    right    every thing is named with its colour and shape, and every motion is stated
    false    a claim contradicts the scene
    colours, shapes, motions, count, camera    the parts of `right`, and the camera's move

Standing still need not be stated. "Moves across the floor" is neither false nor sufficient for a
thing that rolls to the left, nor is "past" for a thing that passes behind. Text that matches no
phrase of the playroom is ignored.

Here: parsing, facts, and the scores. Not here: the captioners (caption/).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from minisora.caption.adapters import OwnCaptioner
from minisora.caption.files import check_world
from minisora.caption.protocol import Captions
from minisora.eval.rows import Figure, Marks, figures_of, write_rows
from minisora.eval.scenes import rendered
from minisora.video import Video
from minisora.worlds import playroom
from minisora.worlds.playroom.facts import watch
from minisora.worlds.playroom.phrases import PHRASES
from minisora.worlds.playroom.scene import COLOURS, MATERIALS, SHAPES, SIZES
from minisora.worlds.seeds import CAPTIONS

SPANS = ((0.0, 2.0), (0.0, 4.0))  # seconds of the clips, alternating
FPS, SIDE = 8.0, 64
Claim = tuple[str, ...]

_NAME = re.compile(
    rf"\b(?:an?|the) ((?:(?:{'|'.join((*SIZES, *MATERIALS))}) )*)({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})\b"
)
_PUSHED = {"left": "to the left", "right": "to the right", "toward": "toward the camera"}
_CONVERSE = {"left of": "right of", "right of": "left of", "behind": "in front of", "in front of": "behind"}
_TURNED = {"left": "right", "right": "left"}
_BETTER = {"false": "lower"}
_STRAIGHT = ("left", "right", "toward", "away", "moves")
_SIDED = ("leaves_and_returns", "leaves", "returns", "turns_back")


def caption_scores(
    captions: Captions, count: int = 200, *, long: bool = False, out: Path | None = None
) -> list[Figure]:
    """Score a captioner on `count` clips of held-out triples; write captions.json and .md to `out`.

    The ceiling is the playroom's own caption; the floor is the captioner's text for the clip
    before.
    """
    if isinstance(captions, OwnCaptioner):
        check_world(captions.captioner)
    scenes = [playroom.draw(CAPTIONS[n], split="held_out") for n in range(count)]
    texts: list[str] = []
    for first in range(0, count, captions.together):
        some = range(first, min(first + captions.together, count))
        answers = captions([_clip(scenes[n], _span(n)) for n in some], long=long)
        texts += [one if isinstance(one, str) else "" for one in answers]
    found: list[Marks] = []
    for n, scene in enumerate(scenes):
        start, stop = _span(n)
        own = playroom.captions(scene, seed=n, start=start, stop=stop)
        true = own[1 if long and len(own) > 1 else 0].text
        model, floor, ceiling = (marks_of(text, scene, start, stop) for text in (texts[n], texts[n - 1], true))
        found.append({name: (_BETTER.get(name, "higher"), model[name], floor[name], ceiling[name]) for name in model})
    figures = figures_of("caption", found)
    if out is not None:
        write_rows(figures, out, "captions")
    return figures


def _span(number: int) -> tuple[float, float]:
    return SPANS[number % len(SPANS)]


def _clip(scene: playroom.Scene, span: tuple[float, float]) -> Video:
    num_frames = round((span[1] - span[0]) * FPS) + 1
    return Video(rendered(scene, (SIDE, SIDE), num_frames=num_frames, fps=FPS), FPS)


def marks_of(text: str, scene: playroom.Scene, start: float, stop: float) -> dict[str, float]:
    """The scores of one caption, 1 or 0 each."""
    made = read(text)
    true, needed = truth(scene, start, stop)
    names, wanted = (sorted(one[1].split() for one in claims if one[0] == "thing") for claims in (made, needed))
    moves = {one for one in needed if one[0] not in ("thing", "camera")}
    marks = {
        "right": names == wanted and moves <= made,
        "false": not made <= true,
        "colours": [colour for colour, _ in names] == [colour for colour, _ in wanted],
        "shapes": sorted(shape for _, shape in names) == sorted(shape for _, shape in wanted),
        "motions": moves <= made,
        "count": len(names) == len(wanted),
        "camera": {one for one in needed if one[0] == "camera"} <= made,
    }
    return {name: float(value) for name, value in marks.items()}


def truth(scene: playroom.Scene, start: float, stop: float) -> tuple[set[Claim], set[Claim]]:
    """All true claims about a stretch of a scene, and those of them that a caption must make."""
    view = watch(scene, start, stop)
    name = {seen.number: f"{seen.thing.colour} {seen.thing.shape}" for seen in view.things}
    holds: set[Claim] = {("floor", scene.floor), ("light", scene.light)}
    needed: set[Claim] = set()
    for seen in view.things:
        own = name[seen.number]
        needed.add(("thing", own))
        holds |= {("look", own, seen.thing.size), ("look", own, seen.thing.material)}
        crossed = [(name[other], how) for other, how in seen.past if other in name]
        holds |= {("past", own, word, other) for other, how in crossed for word in (how, "past")}
        side = seen.direction or ""
        if seen.motion in ("still", "struck", "none"):
            holds.add(("motion", own, seen.motion))
        elif seen.motion in _SIDED:
            needed.add(("motion", own, seen.motion, _TURNED.get(side, side) if seen.motion == "returns" else side))
        elif seen.motion in ("bounces", "spins", "circles"):
            needed.add(("motion", own, seen.motion))
        else:
            needed.add(("way", own, side or "moves"))
            holds.add(("way", own, "moves"))
            if seen.motion == "trail":
                needed.add(("motion", own, "trail"))
            if seen.motion == "collides" and 1 in name:
                needed.add(("hits", own, name[1]))
                struck = next(each for each in view.things if each.number == 1)
                holds.add(("pushed", name[1], _PUSHED.get(struck.direction or "", "away")))
    holds |= {("place", name[one], how, name[other]) for one, how, other in view.relations}
    holds |= {("place", name[other], _CONVERSE[how], name[one]) for one, how, other in view.relations}
    needed |= {("camera", move) for move in (view.camera, view.camera_after) if move not in (None, "none", "static")}
    if view.cut:
        holds.add(("cut",))
    elif view.camera == "static":
        holds.add(("camera", "static"))
    return holds | needed, needed


def read(text: str) -> set[Claim]:
    """Parse a caption into claims."""
    text = " ".join(text.lower().split())
    claims: set[Claim] = set()
    for kind, value, pattern in _settings():
        text, times = pattern.subn(" ", text)
        if times:
            claims.add((kind, value) if value else (kind,))
    names: list[str] = []

    def numbered(match: re.Match[str]) -> str:
        names.append(f"{match[2]} {match[3]}")
        claims.add(("thing", names[-1]))
        claims.update(("look", names[-1], look) for look in match[1].split())
        return f"<{len(names) - 1}>"

    text = " ".join(_NAME.sub(numbered, text).split())
    at = 0
    while subject := re.compile(r"<(\d+)>").search(text, at):
        own, at = names[int(subject[1])], subject.end()
        matches = [(kind, match) for kind, pattern in _clauses() if (match := pattern.match(text, at))]
        if matches:
            kind, match = max(matches, key=lambda one: one[1].end())
            claims |= _claims_of(kind, match.groupdict(), own, names)
            at = match.end()
        for how, pattern in _places():
            if place := pattern.match(text, at):
                claims.add(("place", own, how, names[int(place["other"])]))
    return claims


def _claims_of(kind: str, groups: dict[str, str | None], own: str, names: Sequence[str]) -> set[Claim]:
    """The claims of one clause. groups: the groups of its pattern"""
    claims: set[Claim] = set()
    for way in _STRAIGHT:
        if groups.get(f"way_{way}"):
            claims.add(("way", own, way))
    for number, how in enumerate(PHRASES["train"].past):
        if other := groups.get(f"past_{number}"):
            claims.add(("past", own, how, names[int(other)]))
    other = groups.get("other")
    if kind == "hits" and other:
        claims.add(("hits", own, names[int(other)]))
        if side := groups.get("pushed"):
            claims.add(("pushed", names[int(other)], side))
    elif kind == "trail":
        claims.add(("motion", own, "trail"))
        if groups["colour"] != own.split()[0]:
            claims.add(("motion", own, f"{groups['colour']} trail"))
    elif kind in _SIDED:
        claims.add(("motion", own, kind, groups["side"] or ""))
    elif kind != "way":
        claims.add(("motion", own, kind))
    return claims


def _both(table: str, key: str) -> list[str]:
    """Templates of both phrasings, the longest first."""
    templates = {one for phrases in PHRASES.values() for one in getattr(phrases, table)[key]}
    return sorted(templates, key=lambda one: (-len(one), one))


def _pattern(template: str, **groups: str) -> str:
    """A template as a regular expression. groups: patterns for its placeholders"""
    parts = re.split(r"\{(\w+)\}", template)
    return "".join(groups[part] if number % 2 else re.escape(part) for number, part in enumerate(parts))


@cache
def _settings() -> list[tuple[str, str, re.Pattern[str]]]:
    """Patterns of settings, longer ones first; the camera's before motions, which share words."""
    train = PHRASES["train"]
    found = [("camera", key, one) for key in train.cameras for one in _both("cameras", key)]
    found += [("cut", "", one) for phrases in PHRASES.values() for one in phrases.cut]
    found += [("floor", key, one) for key in train.floors for one in _both("floors", key)]
    found += [("light", key, one) for key in train.lights for one in _both("lights", key)]
    found.sort(key=lambda one: -len(one[2]))
    return [(kind, value, re.compile(rf"\b{re.escape(one)}\b")) for kind, value, one in found]


@cache
def _clauses() -> list[tuple[str, re.Pattern[str]]]:
    """Motions, each with a pattern of one clause that states it after a thing's name."""
    verbs = {verb for phrases in PHRASES.values() for verb in (*phrases.go_ball, *phrases.go_other)}
    go, side = f"(?:{'|'.join(sorted(verbs))})", "(?P<side>left|right|toward|away|)"
    straight = [
        f"(?P<way_{way}>{'|'.join(_pattern(one, go=go) for one in _both('motions', way))})" for way in _STRAIGHT
    ]
    past = [
        _pattern(template, other=f"<(?P<past_{number}>[0-9]+)>")
        for number, how in enumerate(PHRASES["train"].past)
        for template in _both("past", how)
    ]
    ways = [rf"(?:{'|'.join(straight)})", *(rf"(?:{'|'.join(straight)}) {one}" for one in past)]
    found = [("way", way) for way in ways]
    pushed = f"(?P<pushed>{'|'.join([*_PUSHED.values(), 'away'])})"
    other = "<(?P<other>[0-9]+)>"
    for phrases in PHRASES.values():
        found += [("hits", _pattern(one, way=ways[0], other=other, side=pushed)) for one in phrases.hits]
    colour = {"colour": f"(?P<colour>{'|'.join(COLOURS)})", "colour_article": "an?"}
    for key in PHRASES["train"].motions:
        if key == "trail":
            found += [(key, _pattern(one, way=way, **colour)) for one in _both("motions", key) for way in ways]
        elif key not in _STRAIGHT:
            found += [(key, _pattern(one, go=go, side=side)) for one in _both("motions", key)]
    return [(kind, re.compile(rf",? ?{one}(?![a-z])")) for kind, one in found]


@cache
def _places() -> list[tuple[str, re.Pattern[str]]]:
    found = [(how, one) for how in PHRASES["train"].relations for one in _both("relations", how)]
    return [(how, re.compile(rf" {re.escape(one)} <(?P<other>[0-9]+)>")) for how, one in found]
