"""A network in a folder of its own: its weights and their description.

    NAME.safetensors   in bf16
    NAME.json          format, the network's shape, its training, the SHA-256 of the weights

Here: writing, reading and finding them. Not here: which networks there are (caption/files.py,
upscale/files.py), whole models (bundle.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from minisora.errors import UsageError, WeightsError
from minisora.outside import as_path
from minisora.video.files import save_tensors

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class NetworkFiles:
    """The files of one kind of network.

    name:   of the files, and in errors
    format: of new files; oldest: the first format that can still be read
    recipe: the one that trains such a network
    called: the user's name for the embedded one
    """

    name: str
    format: int
    oldest: int
    recipe: str
    called: str

    @property
    def about(self) -> str:
        return f"{self.name}.json"

    @property
    def weights(self) -> str:
        return f"{self.name}.safetensors"

    @property
    def embedded(self) -> Path:
        """The folder of the network that the package ships."""
        return Path(__file__).parent / "weights" / self.name

    def find(self, name: str, hint: str) -> Path:
        """Find a folder: of the embedded network by its name, or another.

        hint: advice for the error

        Raises UsageError if there is none.
        """
        folder = self.embedded if name == self.called else as_path(name)
        if not (folder / self.about).exists():
            raise UsageError(f"there is no {self.name} {name!r}. {hint}")
        return folder

    def save(self, network: nn.Module, folder: Path, *, config: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
        """Write both files; the json comes last, so a half-written network is never found.

        config, trained: its shape and its training, as JSON values
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / self.about).unlink(missing_ok=True)
        tensors = {name: value.detach().to("cpu", torch.bfloat16) for name, value in network.state_dict().items()}
        save_tensors(tensors, folder / self.weights)
        about = {
            "format": self.format,
            "config": dict(config),
            "trained": dict(trained),
            "sha256": hashlib.sha256((folder / self.weights).read_bytes()).hexdigest(),
        }
        (folder / self.about).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")

    def load(self, folder: Path, build: Callable[[dict[str, Any], dict[str, Tensor]], Network]) -> Network:
        """Load a network. build: from the json's values and the weights

        Raises WeightsError for a file that is missing, truncated, changed, of another shape or of a
        format before `oldest`.
        """
        path = folder / self.about
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            self._check_format(about["format"], path)
            if hashlib.sha256((folder / self.weights).read_bytes()).hexdigest() != about["sha256"]:
                raise WeightsError(
                    f"{folder / self.weights} is not the file that {self.about} was written with. Copy both again."
                )
            return build(about, load_file(folder / self.weights))
        except FileNotFoundError as error:
            raise WeightsError(
                f"there is no {self.name} in {folder}. Train one, `minisora train {self.recipe}`, or name its folder."
            ) from error
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            said = str(error).splitlines()[0]
            raise WeightsError(f"the {self.name} in {folder} cannot be read ({said}). Copy it again.") from error

    def _check_format(self, version: int, path: Path) -> None:
        if version > self.format:
            raise WeightsError(f"{path} has format {version}, newer than {self.format}. Update minisora.")
        if version < self.oldest:
            raise WeightsError(
                f"{path} has format {version}, older than {self.oldest}. Train it again: minisora train {self.recipe}."
            )
