"""Storyboard: a film of shots from a file, with prompts, keyframes, cuts and scenes.

    size: 96x96               # both optional: the model's own
    fps: 8
    shots:
      - prompt: a large red ball rolls to the left on grass
        seconds: 2
        keyframes: {0: start.png, 1.5: end.png}     # seconds into the shot; files next to this one
      - prompt: the camera cuts to another angle, the red ball rolls on
        seconds: 2
        same_scene: true      # conditioned on the shot before

Shots of one scene are one video with a changing prompt; a new scene is independent of the one
before.

Here: the file, and the verb. Not here: the other verbs (verbs.py), sampling (frames.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, field, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    field_validator,
)

from minisora.errors import UsageError
from minisora.generate import media
from minisora.generate.fields import UNKNOWN, Flag, about, first_mistake, option
from minisora.generate.media import Picture
from minisora.generate.request import Candidates, Fps, OneStage, Plan, Sampled, Size, Typed, check_first_frame, verb
from minisora.generate.schedule import Schedule
from minisora.lazy import Lazy
from minisora.outside import as_path, is_text

if TYPE_CHECKING:
    from typing import Self

    from minisora import device
    from minisora.bundle import Bundle
    from minisora.generate import fitting, frames
    from minisora.video import Video
else:
    fitting, frames = Lazy("minisora.generate.fitting"), Lazy("minisora.generate.frames")
    device = Lazy("minisora.device")


WORDS = "words without | and control characters"


def _words(text: str) -> str:
    if not text.strip() or "|" in text or not is_text(text):
        raise ValueError(WORDS)
    return text


@verb
class Shot:
    """One shot: a prompt, a length, and pictures.

    keyframes:  pictures, by the second of the shot at which each is shown
    same_scene: conditioned on the shot before
    """

    _: KW_ONLY
    prompt: Annotated[str, option("What to show.", give=WORDS), AfterValidator(_words)]
    seconds: Annotated[
        float, option("Length of the shot.", unit="s", gt=0, lt=1e6, give="seconds above 0, below 1000000")
    ]
    keyframes: Annotated[
        Mapping[float, Picture], option("Pictures by second.", give="moments of the shot, each with a picture's file")
    ] = field(default_factory=dict)
    same_scene: Annotated[bool, option("Made with the shot before in view.", give="true or false")] = False
    typed: Typed | None = field(default=None, repr=False)

    @field_validator("keyframes")
    @classmethod
    def _moments(cls, keyframes: Mapping[float, Picture], info: ValidationInfo) -> Mapping[float, Picture]:
        if not all(0 <= moment <= info.data.get("seconds", moment) for moment in keyframes):
            raise ValueError("not within the shot")
        return keyframes


@verb
class Board:
    """A film: its shots; size and fps, or None for the model's own."""

    shots: Annotated[tuple[Shot, ...], option("The shots.", give="shots, at least one"), Field(min_length=1)]
    _: KW_ONLY
    size: Size | None = None
    fps: Fps | None = None

    def scenes(self) -> list[list[Shot]]:
        """Group the shots by scene: those of one scene are one video."""
        scenes: list[list[Shot]] = []
        for shot in self.shots:
            if shot.same_scene and scenes:
                scenes[-1].append(shot)
            else:
                scenes.append([shot])
        return scenes


def _board_or_file(value: Any, board: Callable[[Any], Board]) -> Board | Path:
    return as_path(value) if isinstance(value, str | Path) else board(value)


if TYPE_CHECKING:
    BoardFile = Board | str | Path
else:
    BoardFile = Annotated[
        Board,
        option("The shots, or a file of them."),
        WrapValidator(_board_or_file),
        Flag(metavar="FILE.yaml", text=Path),
    ]


@verb
class Storyboard(Sampled):
    """A film of several shots, from a file; see `minisora.generate.storyboard` for its format.

    Keyframes, once fitted, are kept exactly. Scenes without keyframes begin as in `generate`;
    --candidates and --one-stage apply to these. Each shot begins where the one before ends, so it
    adds `seconds` times the fps of new frames; the first shot of a scene adds one more.
    """

    board: BoardFile
    _: KW_ONLY
    candidates: Candidates | None = None
    one_stage: OneStage = False

    def __post_init__(self) -> None:
        check_first_frame(self.candidates, self.one_stage)

    def opened(self) -> Self:
        board = self._board()
        shots = tuple(
            replace(shot, keyframes={at: media.picture(one) for at, one in sorted(shot.keyframes.items())})
            for shot in board.shots
        )
        return replace(self, board=replace(board, shots=shots))

    def _board(self) -> Board:
        return self.board if isinstance(self.board, Board) else read_storyboard(self.board)

    def plan(self, bundle: Bundle) -> Plan:
        scenes, needed, notes = list[frames.Sampling](), 0, list[str]()
        board = self._board()
        for scene in board.scenes():  # all that may be refused, before any of it is made
            made, fit_notes = self._scene(bundle, board, scene)
            scenes.append(made)
            notes += fit_notes
            needed += fitting.memory_bytes(bundle, made.shape)
        device.check_memory(needed, f"a film of {len(scenes)} scenes")
        shape = replace(scenes[0].shape, num_frames=sum(scene.shape.num_frames for scene in scenes))
        return Plan(shape=shape, frames=partial(frames.scene_by_scene, scenes), notes=tuple(notes))

    def _scene(self, bundle: Bundle, board: Board, scene: Sequence[Shot]) -> tuple[frames.Sampling, list[str]]:
        """Sampling of a scene, and notes for the user."""
        prompt = Schedule.joined([(Schedule.parse(shot.prompt), shot.seconds) for shot in scene])
        seconds = sum(shot.seconds for shot in scene)
        shape = fitting.shape_of(bundle, seconds, self.size or board.size, board.fps)
        notes = [*fitting.checked(bundle, prompt, shape), *fitting.in_parts(bundle, shape)]
        pictures: dict[float, Video] = {}
        start = 0.0
        for shot in scene:
            for moment, one in sorted(shot.keyframes.items()):
                picture = media.picture(one)
                if (other := pictures.setdefault(start + moment, picture)) is not picture:
                    names = (media.display_name(each, "a picture") for each in (other, picture))
                    raise UsageError(f"{' and '.join(names)} are at one moment. Move one of them.")
            start += shot.seconds
        conditions, fit_notes = fitting.conditions_of(pictures, shape)
        first = fitting.first_frame(bundle, shape, self.candidates, self.one_stage)
        made = frames.Sampling(bundle, shape, prompt, self.settings(bundle), conditions, first)
        return made, [*notes, *fit_notes]


def read_storyboard(path: str | Path) -> Board:
    """Read a storyboard's file.

    Raises UsageError, with file and line, for a field that cannot be read, is unknown or is
    missing.
    """
    import yaml

    path = as_path(path)
    try:
        text = path.read_text(encoding="utf-8")
        lines, data = _Lines(path, yaml.compose(text)), yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(data, dict):
        raise lines.wrong((), "a storyboard is a list of names and values")
    if not data.get("shots"):
        unknown = next((name for name in data if name not in about(Board)), None)
        raise lines.unknown((unknown,), Board) if unknown else lines.wrong((), "a storyboard needs shots, at least one")
    try:
        board: Board = TypeAdapter(Board).validate_python(data)
    except ValidationError as error:
        raise lines.refused(error) from None
    return replace(board, shots=tuple(_with_paths(path, shot) for shot in board.shots))


def _with_paths(path: Path, shot: Shot) -> Shot:
    """Resolve the picture files of a shot relative to the storyboard's file."""
    return replace(shot, keyframes={at: as_path(str(file), path.parent) for at, file in shot.keyframes.items()})


_CALLED = {Board: "a storyboard", Shot: "a shot"}


class _Lines:
    """Line numbers of values in the file, for errors."""

    def __init__(self, path: Path, root: Any) -> None:
        self.path, self.root = path, root

    def refused(self, error: ValidationError) -> UsageError:
        """First error, with its line."""
        first = first_mistake(error)
        at: tuple[Any, ...] = tuple(first["loc"])
        kind = Shot if at[:1] == ("shots",) and len(at) > 1 else Board
        if first["type"] in UNKNOWN:
            return self.unknown(at, kind)
        shot = f"shot {at[1] + 1}" if kind is Shot else "a storyboard"
        name = at[2] if kind is Shot and len(at) > 2 else at[0] if kind is Board and at else ""
        if first["type"].startswith("missing"):
            return self.wrong(at[:-1], f"{shot} has no {name}")
        if not name:
            return self.wrong(at, f"{shot} is a list of names and values")
        return self.wrong(at[: 3 if kind is Shot else 1], f"{name}: {first['input']!r}: give {about(kind)[name].give}")

    def unknown(self, at: Sequence[Any], kind: type[Any]) -> UsageError:
        near = get_close_matches(str(at[-1]), about(kind), n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else f"It has: {', '.join(about(kind))}"
        return self.wrong(at, f"{_CALLED[kind]} has no {at[-1]!r}. {hint}")

    def wrong(self, at: Sequence[Any], message: str) -> UsageError:
        return UsageError(f"{self.path}, line {self._line(at)}: {message}" + ("" if message[-1] in ".?" else "."))

    def _line(self, at: Sequence[Any]) -> int:
        node, line = self.root, 1
        for step in at:
            if node.id == "sequence":
                node = node.value[step]
                line = node.start_mark.line + 1
                continue
            pair = next((pair for pair in node.value if str(pair[0].value) == str(step)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        return int(line)
