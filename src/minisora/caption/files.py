"""A captioner's two files: its weights, and what they are.

    captioner.safetensors   in bf16
    captioner.json          format, the network's shape and words, what it was trained on, the sum of the weights

Here: writing and reading them, and which world they know. Not here: the network (model.py).
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
from torch import Tensor

from minisora.caption.model import Captioner, CaptionerConfig
from minisora.caption.words import AHEAD, SHORT
from minisora.errors import UsageError, WeightsError
from minisora.video.files import save_tensors
from minisora.worlds.playroom import WORLD_VERSION

FORMAT = 3  # 1 looked at one frame of a token's four; 2 had no word for what lies ahead
ABOUT, WEIGHTS = "captioner.json", "captioner.safetensors"
EMBEDDED = Path(__file__).parents[1] / "weights" / "captioner"


def save_captioner(captioner: Captioner, folder: Path, trained: Mapping[str, Any]) -> None:
    """Weights in bf16, and the json last, so a half-written captioner is never found."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ABOUT).unlink(missing_ok=True)
    tensors = {name: value.detach().to("cpu", torch.bfloat16) for name, value in captioner.state_dict().items()}
    save_tensors(tensors, folder / WEIGHTS)
    about = {
        "format": FORMAT,
        "config": asdict(captioner.config),
        "trained": dict(trained),
        "sha256": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
    }
    (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def load_captioner(
    folder: Path = EMBEDDED, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Captioner:
    """Ready to write. Raises WeightsError for a file that is missing, cut short, changed or of another shape."""
    path = folder / ABOUT
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["format"] not in (FORMAT, FORMAT - 1):
            newer = about["format"] > FORMAT
            hint = "Update minisora." if newer else "Train it anew: minisora train captioner-playroom."
            raise WeightsError(
                f"{path} has format {about['format']}, {'newer' if newer else 'older'} than {FORMAT}. {hint}"
            )
        captioner = Captioner(CaptionerConfig(**{**about["config"], "words": tuple(about["config"]["words"])}))
        if hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest() != about["sha256"]:
            raise WeightsError(f"{folder / WEIGHTS} is not the file that {ABOUT} was written with. Copy both again.")
        weights = load_file(folder / WEIGHTS)
        if about["format"] == FORMAT - 1:
            weights["word.weight"] = _with_ahead(weights["word.weight"])
        captioner.load_state_dict(weights)
        captioner.trained = dict(about["trained"])
    except FileNotFoundError as error:
        raise WeightsError(
            f"there is no captioner in {folder}. Train one, `minisora train captioner-playroom`, or name its folder."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        said = str(error).splitlines()[0]
        raise WeightsError(f"the captioner in {folder} cannot be read ({said}). Copy it again.") from error
    return captioner.to(device, dtype).eval().requires_grad_(False)


def _with_ahead(rows: Tensor) -> Tensor:
    """Words of a format without AHEAD: it begins as SHORT."""
    return torch.cat([rows[:AHEAD], rows[SHORT : SHORT + 1], rows[AHEAD:]])


def check_world(captioner: Captioner) -> None:
    """Raises UsageError for a captioner of another version of the playroom, where it would have to know this one."""
    if (world := captioner.trained.get("world", 1)) != WORLD_VERSION:
        raise UsageError(
            f"the captioner knows world {world}, this minisora draws world {WORLD_VERSION}: "
            "train it with `minisora train captioner-playroom`."
        )
