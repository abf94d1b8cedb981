"""The papers in reading order: each family from its beginnings on."""

from __future__ import annotations

import importlib
from difflib import get_close_matches

from minisora.errors import UsageError
from minisora.zoo.frame.entry import Entry

READING_ORDER = (
    *("ddpm", "ddim", "score_sde", "guided_diffusion", "latent_diffusion", "edm"),
    *("uvit", "dit", "navit", "hdit", "sit", "fit"),
    *(
        "mocogan",
        "dvdgan",
        "vivit",
        "videogpt",
        "video_diffusion",
        "mcvd",
        "imagen_video",
        "videoldm",
        "animatediff",
        "i2vgen_xl",
        "walt",
        "videopoet",
        "latte",
    ),
    *("streaming_llm", "ring_attention", "entropy_abf", "rope_scaling", "lwm"),
    *("runway", "data_juicer", "dalle3", "scepter", "sora"),
)


def entry(name: str) -> Entry:
    """The entry of a name; UsageError with the nearest for one that is not there."""
    if name not in READING_ORDER:
        near = get_close_matches(name.replace("-", "_").lower(), READING_ORDER, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else "`minisora zoo` lists them."
        raise UsageError(f"there is no paper {name!r} here. {hint}")
    found: Entry = importlib.import_module(f"minisora.zoo.{name}").ENTRY
    assert found.name == name
    return found


def entries() -> list[Entry]:
    return [entry(name) for name in READING_ORDER]
