"""Base of the judges: a convolution with its norm, and a weights file that the package ships.

Here: `Network`, loading and saving. Not here: the networks (playroom.py, stickers.py), their
training (train_*.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, TypeVar

from safetensors import SafetensorError, safe_open
from torch import nn

from minisora.errors import WeightsError
from minisora.video.files import save_tensors


class Network(nn.Module):
    """A judge: clips in, descriptions of their content out.

    name:  of its weights file, and for `python -m minisora.judge`
    world: version of the playroom that it was trained on; None if it reads another world
    """

    name: ClassVar[str]
    world: ClassVar[int | None] = None

    @classmethod
    def file(cls) -> Path:
        """Path of the weights that come with the package."""
        return Path(__file__).parent / f"{cls.name}.safetensors"


Judge = TypeVar("Judge", bound=Network)


def conv(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def load_judge(kind: type[Judge], path: Path | None = None) -> Judge:
    """Load a judge for inference, with the package's weights or those of a file.

    Raises WeightsError if they are missing, do not fit, or are of another version of the world.
    """
    judge, path = kind(), path or kind.file()
    again = f"python -m minisora.judge {kind.name}"
    try:
        with safe_open(path, framework="pt") as file:
            world = int((file.metadata() or {}).get("world", 1))
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118  # it is no dict
        if kind.world is not None and world != kind.world:
            raise WeightsError(
                f"the judge reads world {world}, this minisora draws world {kind.world}: train it with `{again}`."
            )
        # norms count their batches in whole numbers, which only training needs
        counted = {name: value for name, value in judge.state_dict().items() if not value.is_floating_point()}
        judge.load_state_dict({**counted, **weights})
    except (OSError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"{path} is missing or damaged. Make it again: {again}.") from error
    return judge.eval().requires_grad_(False)


def save_judge(judge: Network, path: Path | None = None) -> None:
    """Save the weights in float16, with the version of the world."""
    state = {name: value.half() for name, value in judge.state_dict().items() if value.is_floating_point()}
    save_tensors(state, path or judge.file(), metadata=None if judge.world is None else {"world": str(judge.world)})
