"""A captioner's two files, and the version of the playroom that it was trained on.

Here: writing and reading them. Not here: their format (network_files.py), the network (model.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minisora.caption.model import Captioner, CaptionerConfig
from minisora.caption.words import AHEAD, SHORT
from minisora.errors import UsageError
from minisora.network_files import NetworkFiles
from minisora.worlds.playroom import WORLD_VERSION

FORMAT = 3  # 1 saw one frame of a token's four; 2 had no AHEAD token
FILES = NetworkFiles(name="captioner", format=FORMAT, oldest=2, recipe="captioner-playroom", called="playroom")
ABOUT, WEIGHTS, EMBEDDED = FILES.about, FILES.weights, FILES.embedded


def captioner_folder(name: str) -> Path:
    """The embedded captioner's folder for `playroom`, or the folder of another.

    Raises UsageError if there is none.
    """
    others = "hf:NAME for a model of transformers, or the URL of a server"
    return FILES.find(name, f"Choose playroom, the folder of a captioner, {others}.")


def save_captioner(captioner: Captioner, folder: Path, trained: Mapping[str, Any]) -> None:
    """Write a captioner, and a description of its training."""
    FILES.save(captioner, folder, config=asdict(captioner.config), trained=trained)


def load_captioner(
    folder: Path = EMBEDDED, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Captioner:
    """Load a captioner for inference.

    Raises WeightsError if a file is missing, truncated, changed or does not fit.
    """
    return FILES.load(folder, _built).to(device, dtype).eval().requires_grad_(False)


def _built(about: dict[str, Any], weights: dict[str, Tensor]) -> Captioner:
    captioner = Captioner(CaptionerConfig(**{**about["config"], "words": tuple(about["config"]["words"])}))
    if about["format"] == 2:
        weights["word.weight"] = _with_ahead(weights["word.weight"])
    captioner.load_state_dict(weights)
    captioner.trained = dict(about["trained"])
    return captioner


def _with_ahead(rows: Tensor) -> Tensor:
    """Word embeddings of a format without AHEAD, whose row starts as a copy of SHORT."""
    return torch.cat([rows[:AHEAD], rows[SHORT : SHORT + 1], rows[AHEAD:]])


def check_world(captioner: Captioner) -> None:
    """Raise UsageError if the captioner is of another version of the playroom than this code."""
    if (world := captioner.trained.get("world", 1)) != WORLD_VERSION:
        raise UsageError(
            f"the captioner knows world {world}, this minisora draws world {WORLD_VERSION}: "
            "train it with `minisora train captioner-playroom`."
        )
