"""An upscaler's two files: its weights, and what they are.

    upscaler.safetensors   in bf16
    upscaler.json          format, the network's shape, what it was trained on, the SHA-256 of the weights

Here: writing and reading them. Not here: the network (model.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from minisora.errors import UsageError, WeightsError
from minisora.upscale.model import Upscaler, UpscalerConfig
from minisora.video.files import save_tensors

FORMAT = 1
ABOUT, WEIGHTS = "upscaler.json", "upscaler.safetensors"
EMBEDDED = Path(__file__).parents[1] / "weights" / "upscaler"


def upscaler_folder(name: str) -> Path:
    """The embedded upscaler's folder for `toybox`, or the folder of another. Raises UsageError if there is none."""
    folder = EMBEDDED if name == "toybox" else Path(name)
    if not (folder / ABOUT).exists():
        named = "toybox, " if (EMBEDDED / ABOUT).exists() else ""
        raise UsageError(
            f"there is no upscaler {name!r}. Give {named}the folder that `minisora train toybox-upscale` left, or none."
        )
    return folder


def save_upscaler(upscaler: Upscaler, folder: Path, trained: Mapping[str, Any]) -> None:
    """Weights in bf16, and the json last, so a half-written upscaler is never found."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ABOUT).unlink(missing_ok=True)
    tensors = {
        name: value.detach().to("cpu", torch.bfloat16).contiguous() for name, value in upscaler.state_dict().items()
    }
    save_tensors(tensors, folder / WEIGHTS)
    about = {
        "format": FORMAT,
        "config": asdict(upscaler.config),
        "trained": dict(trained),
        "sha256": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
    }
    (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def load_upscaler(
    folder: Path = EMBEDDED, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Upscaler:
    """Ready to use. Raises WeightsError for a file that is missing, cut short, changed or of another shape."""
    path = folder / ABOUT
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise WeightsError(f"{path} has format {about['format']}, and {FORMAT} is known here. Update minisora.")
        upscaler = Upscaler(UpscalerConfig(**about["config"]))
        if hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest() != about["sha256"]:
            raise WeightsError(f"{folder / WEIGHTS} is not the file that {ABOUT} was written with. Copy both again.")
        upscaler.load_state_dict(load_file(folder / WEIGHTS))
    except FileNotFoundError as error:
        raise WeightsError(
            f"there is no upscaler in {folder}. Train one, `minisora train toybox-upscale`, or name its folder."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        said = str(error).splitlines()[0]
        raise WeightsError(f"the upscaler in {folder} cannot be read ({said}). Copy it again.") from error
    return upscaler.to(device, dtype).eval().requires_grad_(False)
