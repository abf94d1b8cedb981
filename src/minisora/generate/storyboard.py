"""A film of shots from a file: prompts and keyframes at moments, cuts between shots, several angles of one scene.

    size: 96x96               # both optional: the model's own
    fps: 8
    shots:
      - prompt: a large red ball rolls to the left on grass
        seconds: 2
        keyframes: {0: start.png, 1.5: end.png}     # seconds into the shot; files beside this one
      - prompt: the camera cuts to another angle, the red ball rolls on
        seconds: 2
        same_scene: true      # made with the shot before in view

Shots of one scene are one video with the prompt changing; a new scene begins with nothing in view.

Here: the file and what it means in conditions. Not here: how a video is made (tasks.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minisora.errors import UsageError
from minisora.video.frames import size_of

_SHOT = {"prompt": str, "seconds": (int, float), "keyframes": dict, "same_scene": bool}
_BOARD = {"size": str, "fps": (int, float), "shots": list}


@dataclass(frozen=True, kw_only=True)
class Shot:
    prompt: str
    seconds: float
    keyframes: dict[float, Path] = field(default_factory=dict)
    same_scene: bool = False


@dataclass(frozen=True, kw_only=True)
class Storyboard:
    shots: tuple[Shot, ...]
    size: tuple[int, int] | None = None  # height, width
    fps: float | None = None

    def scenes(self) -> list[list[Shot]]:
        """Shots that are made as one video."""
        scenes: list[list[Shot]] = []
        for shot in self.shots:
            if shot.same_scene and scenes:
                scenes[-1].append(shot)
            else:
                scenes.append([shot])
        return scenes


def scene_prompt(shots: Sequence[Shot]) -> str:
    """The prompts of a scene's shots as one that changes over time."""
    if len(shots) == 1:
        return shots[0].prompt
    start, parts = 0.0, []
    for shot in shots:
        parts.append(f"{start:g}-{start + shot.seconds:g}s: {shot.prompt}")
        start += shot.seconds
    return " | ".join(parts)


def read_storyboard(path: str | Path) -> Storyboard:
    """Raises UsageError, with file and line, for what cannot be read, is unknown or is missing."""
    import yaml

    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        lines = _Lines(path, yaml.compose(text))
        data = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}.") from None
    lines.check(data, _BOARD, (), "a storyboard")
    if not data.get("shots"):
        raise lines.wrong((), "a storyboard needs shots, at least one")
    shots = []
    for n, shot in enumerate(data["shots"]):
        at = ("shots", n)
        lines.check(shot, _SHOT, at, "a shot")
        for name in ("prompt", "seconds"):
            if name not in shot:
                raise lines.wrong(at, f"shot {n + 1} has no {name}")
        if not shot["prompt"].strip() or not 0 < shot["seconds"] < 1e6 or "|" in shot["prompt"]:
            raise lines.wrong(at, f"shot {n + 1} needs words without | and seconds above 0")
        frames = shot.get("keyframes", {})
        for moment, file in frames.items():
            if not isinstance(moment, int | float) or not 0 <= moment <= shot["seconds"] or not isinstance(file, str):
                raise lines.wrong((*at, "keyframes"), f"{moment}: {file} is no moment of the shot with a picture")
        keyframes = {float(moment): path.parent / file for moment, file in frames.items()}
        shots.append(Shot(**{**shot, "seconds": float(shot["seconds"]), "keyframes": keyframes}))
    size = size_of(data["size"]) if "size" in data else None
    if "size" in data and size is None:
        raise lines.wrong(("size",), f"size: {data['size']!r} is not WIDTHxHEIGHT in pixels, both 1 or more")
    if not 0.01 <= data.get("fps", 1.0) <= 1000:
        raise lines.wrong(("fps",), f"fps: {data['fps']!r} is no rate: give 0.01 to 1000")
    return Storyboard(shots=tuple(shots), size=size, fps=data.get("fps"))


class _Lines:
    """Where in the file a value stands."""

    def __init__(self, path: Path, root: Any) -> None:
        self.path, self.root = path, root

    def check(self, value: Any, fields: dict[str, Any], at: tuple[str | int, ...], what: str) -> None:
        if not isinstance(value, dict):
            raise self.wrong(at, f"{what} is a list of names and values")
        for name, found in value.items():
            if name not in fields:
                raise self.wrong((*at, name), f"{what} has no {name!r}. It has: {', '.join(fields)}")
            if not isinstance(found, fields[name]):
                raise self.wrong((*at, name), f"{name}: {found!r} is not what is meant here")

    def wrong(self, at: Sequence[str | int], message: str) -> UsageError:
        return UsageError(f"{self.path}, line {self._line(at)}: {message}.")

    def _line(self, at: Sequence[str | int]) -> int:
        node, line = self.root, 1
        for step in at:
            if isinstance(step, int):
                node = node.value[step]
                line = node.start_mark.line + 1
            else:
                key, node = next(pair for pair in node.value if str(pair[0].value) == str(step))
                line = key.start_mark.line + 1
        return int(line)
