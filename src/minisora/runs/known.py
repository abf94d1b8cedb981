"""Models for which a run can be planned without a recipe: released ones, and any bundle.

Here: their shapes and sizes. Not here: reading their weights (dit/wan.py, bundle.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import torch

from minisora.bundle import find
from minisora.dit.model import DiTConfig
from minisora.errors import UsageError
from minisora.vae.codec import Strides
from minisora.vae.model import VAEConfig, VideoVAE


@dataclass(frozen=True, kw_only=True)
class Known:
    """A model to plan for: its transformer, VAE, text encoder and clips."""

    name: str
    config: DiTConfig
    strides: Strides
    vae_parameters: int
    text_parameters: int
    text_tokens: int  # of a caption as it is stored
    size: tuple[int, int]  # height, width
    fps: float
    seconds: float


def _wan(name: str, heads: int, depth: int, mlp_width: int, channels: int, **others: object) -> Known:
    config = DiTConfig(
        width=128 * heads,
        depth=depth,
        num_heads=heads,
        mlp_width=mlp_width,
        text_width=4096,
        latent_channels=channels,
        frame_kinds=False,
        text_pad=512,
    )
    small = {"strides": Strides(frames=4, pixels=8), "vae_parameters": 127_000_000, "size": (480, 832), "fps": 16.0}
    given = {"name": name, "config": config, "text_parameters": 5_680_000_000, "text_tokens": 120, "seconds": 5.0}
    return Known(**{**small, **given, **others})  # type: ignore[arg-type]  # known by name


# config.json of each on the hub; parameters of VAE and text encoder from the sizes of their files
WAN = {
    known.name: known
    for known in (
        _wan("wan-1.3b", 12, 30, 8960, 16),
        _wan(
            "wan-5b",
            24,
            30,
            14336,
            48,
            strides=Strides(frames=4, pixels=16),
            vae_parameters=705_000_000,
            size=(704, 1280),
            fps=24.0,
        ),
        _wan("wan-14b", 40, 40, 13824, 16),
    )
}


def known(name: str) -> Known:
    """A released model by name, or a bundle by name or folder."""
    if name in WAN:
        return WAN[name]
    try:
        path = find(name) / "bundle.json"
    except UsageError as error:
        raise UsageError(f"{error} Also known: {', '.join(WAN)}, and the recipes of `minisora train`.") from None
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        sampling = about["sampling"]
        with torch.device("meta"):
            vae = VideoVAE(VAEConfig(**_tuples(about["vae"])))
        return Known(
            name=about["name"],
            config=DiTConfig(**_tuples(about["dit"])),
            strides=vae.strides,
            vae_parameters=sum(p.numel() for p in vae.parameters()),
            text_parameters=22_700_000,
            text_tokens=24,
            size=tuple(sampling["size"]),
            fps=sampling["fps"],
            seconds=sampling["seconds"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} does not say what model this is ({type(error).__name__}: {error}). Copy the bundle again, or "
            f"update minisora."
        ) from error


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """Convert the lists of JSON to tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
