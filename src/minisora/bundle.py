"""A bundle: a whole model in one folder.

    bundle.json          configs, sampling defaults, training facts, SHA-256 of each weights file;
                         trained.captioner, if any, chooses among first frames
                         (generate/first_frame.py), trained.upscaler enlarges frames
                         (generate/deliver.py)
    vae.safetensors      bf16
    dit.safetensors      bf16
    student.safetensors  bf16, optional: adapters with which dit.safetensors needs few steps and no
                         guidance
    known.safetensors    embeddings of training captions, to detect a prompt far from all of them
    card.md              the model card; card.zh.md, optional: the same in Chinese, for the studio

Here: saving, loading, checking. Not here: generating videos (generate/).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from minisora.dit.lora import adapted, adapters_of, add_lora
from minisora.dit.model import DiT, DiTConfig
from minisora.errors import UsageError, WeightsError
from minisora.outside import as_path
from minisora.text.encoder import TextEncoder
from minisora.text.minilm import MiniLM
from minisora.vae.codec import Codec
from minisora.vae.model import VAEConfig, VideoVAE
from minisora.video.files import save_tensors

FORMAT = 1
EMBEDDED = Path(__file__).parent / "weights"
Config = TypeVar("Config", VAEConfig, DiTConfig, "Sampling", "Student")


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Sampling defaults of the weights, used by the verbs."""

    fps: float = 8.0  # frames per second of the training clips
    size: tuple[int, int] = (96, 96)  # default height and width in pixels
    seconds: float = 2.0
    time_rate: float = 2.0  # RoPE positions per second: groups of four frames at `fps`
    shift: float = 1.0  # timestep shift at `shift_tokens`, see diffusion/times.py
    shift_tokens: int = 180
    guidance: float = 3.0
    guidance_given: float = 2.0  # with conditioning frames
    steps: int = 24
    candidates: int = 0  # first frames to choose from, before the rest; 0: all frames in one stage
    tile: int = 16  # most tokens on a side of the frame that the network sees at once
    window: int = 9  # latents that the network sees at once, as in training
    context: int = 4  # of them, in a longer video: conditioning latents from the window before


@dataclass(frozen=True, kw_only=True, eq=False)
class Student:
    """Adapters of a few-step student without guidance, trained as in train/student.py."""

    adapters: dict[str, Tensor]  # as dit/lora.py names them
    rank: int
    steps: int = 4


class Enlarges(Protocol):
    """An upscaler, or plain resampling in its place."""

    @property
    def factor(self) -> int: ...

    def stream(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """(n, H, W, 3) uint8 -> (m, factor*H, factor*W, 3) uint8, as many frames in all"""


@dataclass(eq=False)
class Bundle:
    """All networks of a model, on one device, ready to run."""

    name: str
    vae: Codec
    dit: DiT
    text: TextEncoder
    sampling: Sampling
    trained: dict[str, Any] = field(default_factory=dict)  # data, steps, compute, scores: for the card and the notes
    known: Tensor | None = None  # (n, Dt) embeddings of training captions, see text.sentences
    card: str = ""
    upscaler: Enlarges | None = None  # enlarges generated frames for delivery, see generate/deliver.py
    student: Student | None = None
    digest: str = ""  # of its weights and sampling defaults; empty if not read from a folder
    upscale: str | None = None  # name of the requested upscaler, see generate/deliver.py

    def with_student(self) -> Bundle:
        """Bundle with the student as its transformer: a copy of the blocks, made at first use."""
        assert self.student is not None, f"{self.name} has no student"
        return replace(self, dit=_merged(self.dit, self.student), student=None)

    @property
    def token_size(self) -> tuple[int, int]:
        """Height and width of a token in pixels."""
        _, rows, columns = self.dit.config.patch
        return rows * self.vae.strides.pixels, columns * self.vae.strides.pixels

    @property
    def world(self) -> int:
        """Version of the training playroom (playroom.WORLD_VERSION); 1 if not recorded."""
        return _world(self.trained)

    @property
    def world_name(self) -> str | None:
        """World whose captions it was trained on, "playroom"; None for another."""
        return _world_name(self.trained)

    @property
    def dense_captions(self) -> bool:
        """True if it was trained on dense captions too, as the recipes are from world 2 on."""
        return _dense_captions(self.trained)


def _world(trained: Mapping[str, Any]) -> int:
    return int(trained.get("world", 1))


def _world_name(trained: Mapping[str, Any]) -> str | None:
    return "playroom" if trained.get("captioner") == "playroom" else None


def _dense_captions(trained: Mapping[str, Any]) -> bool:
    return _world(trained) >= 2


@lru_cache(maxsize=1)
def _merged(dit: DiT, student: Student) -> DiT:
    return adapted(dit, student.rank, student.adapters)


def available() -> dict[str, Path]:
    """Bundles that come with the package, by name."""
    return {path.parent.name: path.parent for path in sorted(EMBEDDED.glob("*/bundle.json"))}


def find(name_or_folder: str | Path) -> Path:
    """Find the folder of a bundle: a name from `available`, or a folder.

    Raises UsageError if there is none.
    """
    known = available()
    if str(name_or_folder) in known:
        return known[str(name_or_folder)]
    folder = as_path(name_or_folder)
    if (folder / "bundle.json").exists():
        return folder
    names = ", ".join(known) or "none"
    if folder.is_dir():
        raise UsageError(f"{folder} is not a bundle: it has no bundle.json. The embedded ones are: {names}.")
    raise UsageError(f"there is no model {str(name_or_folder)!r}. Choose one of: {names}; or give a bundle's folder.")


def facts(folder: Path) -> dict[str, Any]:
    """Read what a bundle says of itself, without its weights.

    Returns name, digest, sampling and trained, and of the last world_name and dense_captions as
    `Bundle` has them.

    Raises WeightsError for a file that cannot be read.
    """
    about = _about(folder)
    trained = about["trained"]
    captions = {"world_name": _world_name(trained), "dense_captions": _dense_captions(trained)}
    return {
        "name": about["name"],
        "sampling": about["sampling"],
        "trained": trained,
        **captions,
        "digest": _digest(about),
    }


def load(name_or_folder: str | Path, *, device: torch.device, dtype: torch.dtype) -> Bundle:
    """Read a bundle, checking every file against its hash.

    Raises WeightsError for a file that is missing, cut short, changed, or of another shape than its
    config says.
    """
    folder = find(name_or_folder)
    about = _about(folder)
    vae = VideoVAE(_config(VAEConfig, about["vae"], folder))
    dit = DiT(_config(DiTConfig, about["dit"], folder))
    for part, file in ((vae, "vae.safetensors"), (dit, "dit.safetensors")):
        _fill(part, _read(folder / file, about["sha256"].get(file, "")), folder / file)
        part.to(device, dtype).eval().requires_grad_(False)
    card, known = folder / "card.md", folder / "known.safetensors"
    return Bundle(
        name=about["name"],
        vae=vae,
        dit=dit,
        text=MiniLM(device=device),
        sampling=_config(Sampling, about["sampling"], folder),
        trained=about["trained"],
        known=_read(known, about["sha256"][known.name])["known"] if known.name in about["sha256"] else None,
        card=card.read_text(encoding="utf-8") if card.exists() else "",
        student=_student(about, dit.config, folder / "student.safetensors") if "student" in about else None,
        digest=_digest(about),
    )


def save(folder: Path, bundle: Bundle) -> None:
    """Write a bundle; bundle.json comes last, so a half-written one is never found.

    Its text encoder and its upscaler are not in it: they are found by name.
    """
    assert isinstance(bundle.vae, VideoVAE), f"{bundle.name} has a codec of another kind"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bundle.json").unlink(missing_ok=True)
    hashes = {
        "vae.safetensors": save_part(bundle.vae, folder / "vae.safetensors"),
        "dit.safetensors": save_part(bundle.dit, folder / "dit.safetensors"),
    }
    if bundle.known is not None:
        known = {"known": bundle.known.to(torch.bfloat16)}
        hashes["known.safetensors"] = _save(known, folder / "known.safetensors")
    extra = {}
    if (student := bundle.student) is not None:
        adapters = {name: value.to("cpu", torch.bfloat16).contiguous() for name, value in student.adapters.items()}
        hashes["student.safetensors"] = _save(adapters, folder / "student.safetensors")
        extra["student"] = {"rank": student.rank, "steps": student.steps}
    (folder / "card.md").write_text(bundle.card, encoding="utf-8")
    about = {
        "format": FORMAT,
        "name": bundle.name,
        "vae": asdict(bundle.vae.config),
        "dit": asdict(bundle.dit.config),
        "sampling": asdict(bundle.sampling),
        "trained": bundle.trained,
        "sha256": hashes,
        **extra,
    }
    (folder / "bundle.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def save_part(part: nn.Module, path: Path) -> str:
    """Save weights in bf16, the latents' statistics in float32. Returns the SHA-256."""
    tensors = {
        name: value.detach().to("cpu", torch.float32 if name.startswith("latent_") else torch.bfloat16).contiguous()
        for name, value in part.state_dict().items()
    }
    return _save(tensors, path)


def load_part(part: nn.Module, path: Path) -> None:
    """Load weights that `save_part` wrote into a network of the same shape."""
    _fill(part, _read(path, None), path)


def _save(tensors: dict[str, Tensor], path: Path) -> str:
    save_tensors(tensors, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(about: Mapping[str, Any]) -> str:
    values = {name: about[name] for name in ("sampling", "sha256")}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _about(folder: Path) -> dict[str, Any]:
    path = folder / "bundle.json"
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = about["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path} cannot be read ({error}). Copy the bundle again.") from error
    if version > FORMAT:
        raise WeightsError(f"{path} has format {version}, newer than {FORMAT}, the newest known here. Update minisora.")
    missing = [key for key in ("name", "vae", "dit", "sampling", "trained", "sha256") if key not in about]
    if missing:
        raise WeightsError(f"{path} lacks {', '.join(missing)}. Copy the bundle again.")
    return about


def _student(about: dict[str, Any], config: DiTConfig, path: Path) -> Student:
    adapters = _read(path, about["sha256"].get(path.name, ""))
    student = _config(Student, {**about["student"], "adapters": adapters}, path.parent)
    with torch.device("meta"):
        fitting = adapters_of(add_lora(DiT(config), student.rank))
    if {name: value.shape for name, value in adapters.items()} != {
        name: value.shape for name, value in fitting.items()
    }:
        raise WeightsError(
            f"{path} does not fit its config: it holds no adapters of rank {student.rank} for this model."
        )
    return student


def _config(kind: type[Config], values: dict[str, Any], folder: Path) -> Config:
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise WeightsError(f"{folder / 'bundle.json'} has unknown fields: {', '.join(unknown)}. Update minisora.")
    ready: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        return kind(**ready)
    except TypeError as error:
        raise WeightsError(f"{folder / 'bundle.json'} cannot be right ({error}). Copy the bundle again.") from error


def _read(path: Path, sha256: str | None) -> dict[str, Tensor]:
    try:
        if sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise WeightsError(f"{path} is not the file that its bundle was saved with. Install or copy it again.")
        return load_file(path)
    except FileNotFoundError as error:
        raise WeightsError(f"{path} is missing. Install or copy the bundle again.") from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be read ({error}). Install or copy it again.") from error


def _fill(part: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    try:
        part.load_state_dict(tensors)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise WeightsError(
            f"{path} does not fit its config: {lines[1].strip() if len(lines) > 1 else error}"
        ) from error
