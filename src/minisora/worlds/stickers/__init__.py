"""Stickers: animated art from outside, on stages of our own, with captions true by construction.

    prepare()                                   once: fetch the packages, shrink the animations into
                                                the cache
    draw(seed, split=...)  -> Staging           plain data
    render(stagings, ...)  -> (B, T, H, W, 3)   pixels
    captions(staging, ...) -> list of Caption   words
    clip(seed, ...)   -> Clip                   all of it

Held out of training: combinations of person, activity and skin tone (`is_held_out`).
"""

from minisora.worlds.stickers.drawing import render
from minisora.worlds.stickers.names import Sticker, is_held_out, names, sticker
from minisora.worlds.stickers.samples import clip
from minisora.worlds.stickers.staging import Actor, Background, Staging, draw, facts
from minisora.worlds.stickers.store import missing, prepare
from minisora.worlds.stickers.wording import captions

__all__ = [
    "Actor",
    "Background",
    "Staging",
    "Sticker",
    "captions",
    "clip",
    "draw",
    "facts",
    "is_held_out",
    "missing",
    "names",
    "prepare",
    "render",
    "sticker",
]
