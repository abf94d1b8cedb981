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
from minisora.outside import as_path
from minisora.video.files import save_tensors

WAN_WEIGHTS = "diffusion_pytorch_model.safetensors"


def export_bundle(source: str | Path, out: Path) -> Path:
    """Copy a bundle to `out` and check the copy.

    source: a bundle's name or folder, or the folder of a finished run
    """
    folder = _bundle_of(source)
    load(folder, device=torch.device("cpu"), dtype=torch.bfloat16)  # checks every hash and shape
    _check_new(out)
    if out.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{out} lies in what is to be exported. Give a folder elsewhere.")
    try:
        shutil.copytree(folder, out, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise UsageError(f"{out} was not written whole: {error}. Choose another folder.") from None
    return out


def export_wan(source: str | Path, out: Path) -> Path:
    """Write the transformer as a folder for `diffusers.WanTransformer3DModel.from_pretrained`.

    Raises UsageError for a config that has no counterpart in Wan.
    """
    dit = load(_bundle_of(source), device=torch.device("cpu"), dtype=torch.bfloat16).dit
    config = config_to_wan(dit.config)
    _check_new(out)
    out.mkdir(parents=True, exist_ok=True)
    save_tensors(state_to_wan(dit.state_dict(), dit.config), out / WAN_WEIGHTS, metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return out


def _check_new(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty. Give a folder that is not there yet.")


def _bundle_of(source: str | Path) -> Path:
    inside = as_path(source) / "bundle"
    return find(inside if (inside / "bundle.json").exists() else source)
