"""Phrases of the playroom's captions: one set for training, one held out for evaluation.

`{go}` is the verb for straight motion, which depends on the shape; `{other}` the thing met;
`{colour}` the thing's own; `{side}` a side, and where it is pushed "to the left". No template of
one set is in the other (a test holds this).

A third set, `WIDE`, is what the transformer is trained on: the one for training with those of
wordings.json, by a writer who had not seen the held-out set; what shares a telling word with that
was left out. Readers of captions know the other two only (text/playroom, eval/captions.py,
caption/words.py).

Here: templates only. Not here: which of them is true of a stretch (facts.py), putting them together
(captions.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Phrases:
    go_ball: tuple[str, ...]
    go_other: tuple[str, ...]
    motions: dict[str, tuple[str, ...]]  # after the thing's name; keys: facts.Seen.motion, or a direction
    past: dict[str, tuple[str, ...]]
    hits: tuple[str, ...]  # the one that comes, all in one
    cameras: dict[str, tuple[str, ...]]
    cut: tuple[str, ...]
    floors: dict[str, tuple[str, ...]]
    lights: dict[str, tuple[str, ...]]
    relations: dict[str, tuple[str, ...]]
    openings: tuple[str, ...]  # before a list of things in a single moment
    joins: tuple[str, ...]  # between the clauses of two things


TRAIN = Phrases(
    go_ball=("rolls", "rolls", "rolls", "rolls along", "moves", "goes"),
    go_other=("slides", "slides", "moves", "glides", "drifts", "goes"),
    motions={
        "left": (
            "{go} to the left",
            "{go} left",
            "{go} from right to left",
            "{go} off to the left",
            "crosses to the left",
            "{go} toward the left",
            "{go} over to the left",
            "{go} across the floor to the left",
            "{go} sideways to the left",
            "makes its way to the left",
            "passes from right to left",
        ),
        "right": (
            "{go} to the right",
            "{go} right",
            "{go} from left to right",
            "{go} off to the right",
            "crosses to the right",
            "{go} toward the right",
            "{go} over to the right",
            "{go} across the floor to the right",
            "{go} sideways to the right",
            "makes its way to the right",
            "passes from left to right",
        ),
        "toward": (
            "{go} toward the camera",
            "{go} toward us",
            "comes closer to the camera",
            "{go} to the front",
            "draws near",
            "gets closer and closer",
            "{go} in our direction",
            "comes up to the camera",
            "{go} up to the front",
            "grows larger as it comes closer",
            "comes at us",
            "{go} from the back to the front",
        ),
        "away": (
            "{go} away from the camera",
            "{go} away",
            "{go} into the distance",
            "{go} to the back",
            "{go} off into the background",
            "gets smaller and smaller in the distance",
            "{go} off, away from us",
            "{go} back into the distance",
            "{go} from the front to the back",
            "draws away from the camera",
            "shrinks into the distance",
            "{go} toward the back of the scene",
        ),
        "moves": (
            "{go} across the floor",
            "{go} over the floor",
            "crosses the floor",
            "{go} on across the floor",
            "{go} slantwise across the floor",
            "{go} along a slanting line",
        ),
        "bounces": (
            "bounces up and down",
            "bounces",
            "keeps bouncing",
            "springs up and down",
            "bounces on the spot",
            "bobs up and down",
            "bounces in place",
            "bounces over and over",
            "moves up and down, bouncing",
            "rebounds off the floor",
            "goes up and down",
            "leaps up and comes down in turns",
        ),
        "spins": (
            "spins",
            "spins in place",
            "turns around on the spot",
            "revolves",
            "twirls where it stands",
            "is spinning",
            "spins like a top",
            "turns on the spot",
            "spins around",
            "swivels in place",
            "turns about itself",
            "turns in place without stopping",
            "pirouettes",
        ),
        "still": (
            "stays still",
            "stands still",
            "does not move",
            "holds still",
            "stays where it is",
            "is stationary",
            "just sits there",
            "is still",
            "stays put",
            "does not stir",
            "is not moving",
            "keeps its place",
            "stands there",
        ),
        "circles": (
            "{go} in a circle",
            "circles around",
            "goes round in a circle",
            "{go} around in a ring",
            "loops around",
            "is circling",
            "{go} in circles",
            "{go} along a circle",
            "keeps circling",
            "traces a circle",
            "moves in a ring",
            "goes around in circles",
        ),
        "leaves_and_returns": (
            "{go} out of the frame to the {side} and comes back",
            "leaves the frame on the {side} and then returns",
            "goes out of view on the {side} and returns",
            "exits on the {side} and comes back in",
            "slips out of the picture on the {side} and comes back in",
            "{go} off the {side} side of the frame, then back into it",
        ),
        "leaves": (
            "{go} out of the frame to the {side}",
            "leaves the frame on the {side}",
            "goes out of view on the {side}",
            "exits on the {side}",
            "slips out of the picture on the {side}",
            "{go} off the {side} side of the frame",
        ),
        "returns": (
            "comes back into the frame from the {side}",
            "returns into the frame from the {side}",
            "comes back into view from the {side}",
            "enters again from the {side}",
            "comes back into the picture from the {side}",
            "is back in the frame from the {side}",
        ),
        "turns_back": (
            "{go} to the {side} and comes back",
            "{go} to the {side}, then turns back",
            "{go} to the {side} and then the other way",
            "{go} {side}, turns and comes back",
            "{go} to the {side}, stops and returns",
            "{go} to the {side} and back",
        ),
        "trail": (
            "{way}, leaving a painted {colour} trail",
            "{way} and leaves {colour_article} {colour} trail",
            "{way}, painting {colour_article} {colour} stripe",
            "{way} and paints the floor {colour} where it goes",
            "{way}, and {colour_article} {colour} band of paint stays on the floor",
            "{way} and leaves a stripe of {colour} paint",
            "{way}, drawing {colour_article} {colour} band on the floor",
            "{way}, and the floor behind it turns {colour}",
        ),
    },
    past={
        "past": ("past {other}",),
        "behind": ("behind {other}", "and passes behind {other}"),
        "in front of": ("in front of {other}", "and passes in front of {other}"),
    },
    hits=(
        "{way}, hits {other} and sets it moving",
        "{way} and bumps into {other}, which starts moving {side}",
        "{way}, collides with {other} and pushes it {side}",
        "{way} into {other} and knocks it {side}",
        "{way} and runs into {other}, which is pushed {side}",
        "{way}, meets {other} and shoves it {side}",
        "{way} against {other}, and that one starts to move",
    ),
    cameras={
        "static": (
            "static camera",
            "the camera stays still",
            "the camera does not move",
            "a still camera",
            "the camera stands still",
            "the view does not move",
        ),
        "orbit_left": (
            "the camera orbits left",
            "the camera orbits to the left",
            "the camera circles to the left",
            "the camera goes around to the left",
            "the camera moves in an arc to the left",
            "orbit left",
            "the camera orbits around the scene to the left",
            "the view orbits to the left",
            "the camera circles around to the left",
            "the camera moves around the scene to the left",
        ),
        "orbit_right": (
            "the camera orbits right",
            "the camera orbits to the right",
            "the camera circles to the right",
            "the camera goes around to the right",
            "the camera moves in an arc to the right",
            "orbit right",
            "the camera orbits around the scene to the right",
            "the view orbits to the right",
            "the camera circles around to the right",
            "the camera moves around the scene to the right",
        ),
        "zoom_in": (
            "the camera zooms in",
            "the view zooms in",
            "zooming in",
            "zoom in",
            "the picture zooms in",
            "the camera zooms slowly in",
            "the lens zooms in",
            "a slow zoom in",
        ),
        "zoom_out": (
            "the camera zooms out",
            "the view zooms out",
            "zooming out",
            "zoom out",
            "the picture zooms out",
            "the camera zooms slowly out",
            "the lens zooms out",
            "a slow zoom out",
        ),
        "pan_left": (
            "the camera pans left",
            "the camera pans to the left",
            "the camera turns left",
            "the camera looks to the left",
            "panning left",
            "pan left",
            "the camera pans over to the left",
            "the view pans to the left",
            "the camera swivels to the left",
            "the camera turns its head to the left",
        ),
        "pan_right": (
            "the camera pans right",
            "the camera pans to the right",
            "the camera turns right",
            "the camera looks to the right",
            "panning right",
            "pan right",
            "the camera pans over to the right",
            "the view pans to the right",
            "the camera swivels to the right",
            "the camera turns its head to the right",
        ),
    },
    cut=("then the view cuts to another angle", "then a cut to another camera angle", "cut to a different view"),
    floors={
        "grey": ("on a grey floor", "on a grey tiled floor"),
        "wood": ("on a wooden floor", "on wooden planks"),
        "checker": ("on a checkered floor", "on a floor of dark and light squares"),
        "grass": ("on grass", "on a green lawn"),
        "sand": ("on sand", "on a sandy floor"),
    },
    lights={
        "day": ("in daylight", "by day", "on a bright day"),
        "sunset": ("at sunset", "in warm evening light"),
        "night": ("at night", "in the dark of night"),
    },
    relations={
        "left of": ("to the left of", "left of"),
        "right of": ("to the right of", "right of"),
        "behind": ("behind",),
        "in front of": ("in front of",),
    },
    openings=("", "", "a picture of ", "a view of "),
    joins=(", ", " and ", " while ", "; "),
)

HELD_OUT = Phrases(
    go_ball=("heads", "travels"),
    go_other=("heads", "travels"),
    motions={
        "left": ("{go} leftward", "{go} towards the left side"),
        "right": ("{go} rightward", "{go} towards the right side"),
        "toward": ("approaches the viewer", "{go} nearer and nearer"),
        "away": ("{go} farther off", "recedes from the viewer"),
        "moves": ("{go} along the ground",),
        "bounces": ("hops again and again", "jumps up and falls back repeatedly"),
        "spins": ("keeps rotating", "whirls around its own axis"),
        "still": ("remains motionless", "is at rest"),
        "circles": ("{go} round and round", "follows a circular path"),
        "leaves_and_returns": ("disappears past the {side} edge and reappears",),
        "leaves": ("disappears past the {side} edge",),
        "returns": ("reappears from the {side} edge",),
        "turns_back": ("{go} towards the {side} side and back again",),
        "trail": (
            "{way} and draws {colour_article} {colour} line behind it",
            "{way} with {colour_article} {colour} streak of paint behind it",
        ),
    },
    past={
        "past": ("by {other}",),
        "behind": ("round the back of {other}", "and is hidden by {other} for a moment"),
        "in front of": ("across the front of {other}",),
    },
    hits=(
        "{way} until it strikes {other} and drives it {side}",
        "{way} and crashes into {other}, sending it {side}",
    ),
    cameras={
        "static": ("filmed with a fixed camera", "seen from a camera at rest"),
        "orbit_left": ("as the camera swings round to the left", "filmed while orbiting leftward"),
        "orbit_right": ("as the camera swings round to the right", "filmed while orbiting rightward"),
        "zoom_in": ("as the shot grows tighter, zooming in", "with a zoom in"),
        "zoom_out": ("as the shot grows wider, zooming out", "with a zoom out"),
        "pan_left": ("as the camera sweeps leftward in a pan", "with a pan to the left"),
        "pan_right": ("as the camera sweeps rightward in a pan", "with a pan to the right"),
    },
    cut=("before the shot changes to a new viewpoint", "and then it is seen from a second camera"),
    floors={
        "grey": ("upon grey tiles", "over grey ground"),
        "wood": ("upon floorboards made of wood",),
        "checker": ("upon a chessboard-like floor",),
        "grass": ("upon a grassy meadow",),
        "sand": ("upon a beach of sand",),
    },
    lights={
        "day": ("under a clear daytime sky",),
        "sunset": ("while the sun is setting",),
        "night": ("during the night",),
    },
    relations={
        "left of": ("on the left side of",),
        "right of": ("on the right side of",),
        "behind": ("farther back than",),
        "in front of": ("closer to the viewer than",),
    },
    openings=("one can see ", "here is "),
    joins=(", as ", ", whereas "),
)

PHRASES = {"train": TRAIN, "held_out": HELD_OUT}


def _wider(own: Phrases, more: Mapping[str, Any]) -> Phrases:
    """A set with further templates, by the names of its fields; half of the openings stay empty."""
    added: dict[str, Any] = {name: _joined(getattr(own, name), further) for name, further in more.items()}
    openings = [one for one in added["openings"] if one]
    return replace(own, **{**added, "openings": ("",) * len(openings) + tuple(openings)})


def _joined(own: Any, further: Any) -> Any:
    if isinstance(own, dict):
        return {name: _joined(templates, further.get(name, ())) for name, templates in own.items()}
    known: Sequence[str] = own
    return (*known, *(one for one in dict.fromkeys(further) if one not in known))


WIDE = _wider(TRAIN, json.loads(Path(__file__).with_name("wordings.json").read_text(encoding="utf-8")))
PHRASINGS = {**PHRASES, "wide": WIDE}
DIGEST = hashlib.sha256(repr(PHRASINGS).encode()).hexdigest()[:16]  # for keys of what holds captions
