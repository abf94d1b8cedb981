"""The playroom: things that roll, bounce, spin and collide, drawn from a seed, with ground truth.

Reading order: scene.py, motion.py, camera.py, draw.py, render.py, facts.py, captions.py, clips.py.
"""

from minisora.worlds.playroom.captions import captions
from minisora.worlds.playroom.clips import Captioning, clips
from minisora.worlds.playroom.draw import draw
from minisora.worlds.playroom.facts import facts
from minisora.worlds.playroom.render import Rendered, render
from minisora.worlds.playroom.scene import COLOURS, FLOORS, LIGHTS, MATERIALS, MOTIONS, MOVES, SHAPES, SIZES, Scene
from minisora.worlds.playroom.scene import WORLD_VERSION as WORLD_VERSION
from minisora.worlds.playroom.scene import is_held_out as is_held_out

__all__ = [
    "COLOURS",
    "FLOORS",
    "LIGHTS",
    "MATERIALS",
    "MOTIONS",
    "MOVES",
    "SHAPES",
    "SIZES",
    "WORLD_VERSION",
    "Captioning",
    "Rendered",
    "Scene",
    "captions",
    "clips",
    "draw",
    "facts",
    "is_held_out",
    "render",
]
