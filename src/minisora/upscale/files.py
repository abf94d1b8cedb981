"""Files of an upscaler.

Here: writing and reading them. Not here: their format (network_files.py), the network (model.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minisora.network_files import NetworkFiles
from minisora.upscale.model import Upscaler, UpscalerConfig

FILES = NetworkFiles(name="upscaler", format=1, oldest=1, recipe="toybox-upscale", called="toybox")
ABOUT, WEIGHTS, EMBEDDED = FILES.about, FILES.weights, FILES.embedded


def upscaler_folder(name: str) -> Path:
    """Find an upscaler's folder: `toybox`, the embedded one, or a folder.

    Raises UsageError if there is none.
    """
    named = "toybox, " if (EMBEDDED / ABOUT).exists() else ""
    return FILES.find(name, f"Give {named}the folder that `minisora train toybox-upscale` left, or none.")


def save_upscaler(upscaler: Upscaler, folder: Path, trained: Mapping[str, Any]) -> None:
    """Write an upscaler, and the facts of its training."""
    FILES.save(upscaler, folder, config=asdict(upscaler.config), trained=trained)


def load_upscaler(
    folder: Path = EMBEDDED, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Upscaler:
    """Load an upscaler.

    Raises WeightsError for a file that is missing, cut short, changed or of another shape.
    """
    return FILES.load(folder, _built).to(device, dtype).eval().requires_grad_(False)


def _built(about: dict[str, Any], weights: dict[str, Tensor]) -> Upscaler:
    upscaler = Upscaler(UpscalerConfig(**about["config"]))
    upscaler.load_state_dict(weights)
    return upscaler
