"""The playroom scene as plain data.

The world is measured in units of about a hand: x to the right, y away from the first camera, z up,
the floor at z = 0. Time is in seconds after the scene's start.

Here: the vocabulary, the data classes, JSON, and the combinations that training never shows.
Not here: where things are at a moment (motion.py), the cameras (camera.py), how scenes are chosen
(draw.py).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

# raise it when a seed gives another scene, look or caption: stored data and weights carry it
WORLD_VERSION = 2  # 2: things 1.2 to 1.35 times as large in the frame as in 1, and slower

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.88, 0.09, 0.10),
    "green": (0.10, 0.66, 0.14),
    "blue": (0.10, 0.22, 0.92),
    "yellow": (1.00, 0.88, 0.06),
    "orange": (1.00, 0.47, 0.02),
    "purple": (0.58, 0.13, 0.80),
    "cyan": (0.05, 0.80, 1.00),
    "white": (0.97, 0.97, 0.97),
}
SHAPES = ("ball", "cube", "cylinder", "cone")
SIZES = {"small": 0.54, "large": 0.92}  # radius of a ball, in units
MATERIALS = ("matte", "shiny")
FLOORS = ("grey", "wood", "checker", "grass", "sand")
LIGHTS = ("day", "sunset", "night")
MOTIONS = (
    "rolls_left",
    "rolls_right",
    "rolls_toward",
    "rolls_away",
    "bounces",
    "spins",
    "still",
    "circles",
    "collides",
    "struck",
    "passes_behind",
    "leaves_and_returns",
    "trail",
)
MOVES = ("static", "orbit_left", "orbit_right", "zoom_in", "zoom_out", "pan_left", "pan_right")

# half-extents of each shape across and along its upright axis, for a radius of 1
EXTENTS = {"ball": (1.0, 1.0), "cube": (0.82, 0.82), "cylinder": (0.80, 0.92), "cone": (0.95, 1.0)}


def is_held_out(colour: str, shape: str, motion: str) -> bool:
    """True for a triple that training never shows, about one in ten.

    The factors are prime to 10 and give every colour and every shape its own residue, so at most
    one of four shapes, and one of eight colours, is held out for any pair of the other two: every
    pair is seen in training.
    """
    colour_index = list(COLOURS).index(colour)
    return (colour_index + 3 * SHAPES.index(shape) + 7 * MOTIONS.index(motion)) % 10 == 0


@dataclass(frozen=True, kw_only=True)
class Path:
    """The path of a thing: a sum of closed forms, each zero unless it is used.

    Straight: x, y at time 0, velocity and acceleration along `heading`. Event: at `event` seconds
    the speed changes by `kick`. Circle: radius, turn (radians/s) and phase about (x, y). Bounce:
    height, period and phase.
    """

    x: float
    y: float
    heading: float = 0.0  # radians, 0 is +x, pi/2 is +y (away)
    speed: float = 0.0  # units/s at time 0
    acceleration: float = 0.0
    event: float = 0.0
    kick: float = 0.0  # units/s added to the speed from `event` on
    circle_radius: float = 0.0
    circle_turn: float = 0.0
    circle_phase: float = 0.0
    bounce_height: float = 0.0
    bounce_period: float = 1.0  # seconds
    bounce_phase: float = 0.0  # of a period
    spin: float = 0.0  # radians/s about the upright axis


@dataclass(frozen=True, kw_only=True)
class Thing:
    colour: str
    shape: str
    size: str
    material: str
    motion: str
    path: Path
    yaw: float = 0.0  # radians at time 0

    @property
    def radius(self) -> float:
        return SIZES[self.size]

    @property
    def across(self) -> float:
        """Half its width, in units."""
        return self.radius * EXTENTS[self.shape][0]

    @property
    def half_height(self) -> float:
        return self.radius * EXTENTS[self.shape][1]

    @property
    def mass(self) -> float:
        return self.radius**3


@dataclass(frozen=True, kw_only=True)
class Shot:
    """A camera from `start` on.

    It looks at (x, y, z) from `distance`; `rate` is that of `move` per second.

    Rates: orbit and pan in radians, zoom in the logarithm of the focal length; all are 0 at `pivot`
    seconds.
    """

    start: float = 0.0
    x: float = 0.0
    y: float = 0.0
    z: float = 0.35
    azimuth: float = 0.0  # radians; 0 looks along +y, positive has moved to its right
    elevation: float = 0.3  # radians above the floor
    distance: float = 6.5
    move: str = "static"
    rate: float = 0.0
    pivot: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Scene:
    seed: int
    split: str
    things: tuple[Thing, ...]
    shots: tuple[Shot, ...]
    floor: str
    floor_yaw: float
    light: str
    light_azimuth: float  # radians

    @property
    def cut(self) -> float | None:
        """Time of the cut in seconds; None without a cut."""
        return self.shots[1].start if len(self.shots) > 1 else None

    def to_json(self) -> dict[str, Any]:
        """JSON values only; `from_json` gives an equal scene back."""
        data = asdict(self)
        return {**data, "things": list(data["things"]), "shots": list(data["shots"])}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Scene:
        things = tuple(Thing(**{**thing, "path": Path(**thing["path"])}) for thing in data["things"])
        shots = tuple(Shot(**shot) for shot in data["shots"])
        return Scene(**{**data, "things": things, "shots": shots})
