"""Export of trained weights: a bundle in safetensors, or a Wan transformer in diffusers' format.

Here: which weights, into which folder. Not here: Wan's parameter names and shapes (dit/wan.py),
bundles (bundle.py).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from minisora.bundle import find, load
from minisora.dit.wan import config_to_wan, state_to_wan
from minisora.errors import UsageError
from minisora.video.files import save_tensors

WAN_WEIGHTS = "diffusion_pytorch_model.safetensors"


def export_bundle(source: str | Path, out: Path) -> Path:
    """Copy a bundle to `out` and check the copy.

    source: a bundle's name or folder, or the folder of a finished run
    """
    folder = _bundle_of(source)
    load(folder, device=torch.device("cpu"), dtype=torch.bfloat16)  # checks every hash and shape
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty. Give a folder that is not there yet.")
    shutil.copytree(folder, out, dirs_exist_ok=True)
    return out


def export_wan(source: str | Path, out: Path) -> Path:
    """Write the transformer as a folder for `diffusers.WanTransformer3DModel.from_pretrained`.

    Raises UsageError for a config that has no counterpart in Wan.
    """
    dit = load(_bundle_of(source), device=torch.device("cpu"), dtype=torch.bfloat16).dit
    config = config_to_wan(dit.config)
    out.mkdir(parents=True, exist_ok=True)
    save_tensors(state_to_wan(dit.state_dict(), dit.config), out / WAN_WEIGHTS, metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return out


def _bundle_of(source: str | Path) -> Path:
    inside = Path(source) / "bundle"
    return find(inside if (inside / "bundle.json").exists() else source)
