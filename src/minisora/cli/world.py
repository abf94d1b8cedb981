"""`minisora world`: render clips of a training world."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minisora.cli.console import check_numbers, make_folder, parse_size, progress, say
from minisora.cli.options import taking
from minisora.cli.produce import Force, Zoom
from minisora.errors import UsageError
from minisora.progress import Event

if TYPE_CHECKING:
    from minisora.video import Shape
    from minisora.worlds.clip import Clip

WORLDS = ("playroom", "stickers")
SHEET_ROWS = 12  # clips on the contact sheet of a world


@dataclass(frozen=True, kw_only=True)
class World:
    """Options of `minisora world`."""

    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(WORLDS)}; or gym:ENV, any of Gymnasium.")]
    seed: Annotated[int, typer.Option(help="Seed of the first clip; each next one adds 1.")] = 0
    count: Annotated[int, typer.Option(help="Clips to render.")] = 4
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder for the clips.")] = Path("out/world")
    seconds: Annotated[float | None, typer.Option(help="4; of gym:ENV the whole episode.")] = None
    fps: Annotated[float | None, typer.Option(help="8; for gym:ENV its own.")] = None
    size: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="In pixels.")] = "128x128"
    zoom: Zoom = 1
    force: Force = False

    @property
    def is_gym(self) -> bool:
        return self.name.startswith("gym:")

    def clips(self) -> Iterable[Clip]:
        """Render the clips, one at a time. Raises UsageError for sizes that exceed the memory."""
        from minisora.device import check_memory
        from minisora.video import Shape

        length, fps = 4.0 if self.seconds is None else self.seconds, 8.0 if self.fps is None else self.fps
        check_numbers(seconds=length, fps=self.fps, seed=self.seed, count=self.count, zoom=self.zoom)
        height, width = parse_size(self.size) or (128, 128)
        if self.is_gym:
            from minisora.worlds.gym import record

            name, size = self.name.removeprefix("gym:"), (height, width)
            return record(name, episodes=self.count, size=size, fps=self.fps, seed=self.seed)
        num_frames = round(length * fps) + 1
        check_memory(num_frames * height * width * 64, f"{length:g} s of {width}x{height}")  # the renderer's planes
        shape = Shape(num_frames=num_frames, height=height, width=width, fps=fps)
        return (_clip(self.name, self.seed + index, shape) for index in range(self.count))


@taking(World)
def world(asked: World) -> None:
    """Render clips of a training world, with their captions.

    For an environment a JSON file next to each clip holds its actions, its rewards, and how it
    ended.
    """
    if asked.name not in WORLDS and not asked.is_gym:
        raise UsageError(f"there is no world {asked.name!r}. There are: {', '.join(WORLDS)}, gym:ENV.")
    clips = asked.clips()
    make_folder(asked.out)
    from minisora import __version__
    from minisora.video import Video, contact_sheet
    from minisora.video.origin import check_replaceable
    from minisora.video.write import write_picture

    rows, sheet = [], asked.out / "sheet.png"
    check_replaceable([sheet], force=asked.force)
    with progress() as bar:
        for index, clip in enumerate(islice(clips, asked.count)):
            bar.step(Event("rendering", index, asked.count))
            shown = clip.frames if asked.seconds is None else clip.frames[: 1 + round(asked.seconds * clip.fps)]
            path, about = asked.out / f"{clip.key}.mp4", asked.out / f"{clip.key}.json"
            check_replaceable([path, about] if asked.is_gym else [path], force=asked.force)
            Video(shown, clip.fps).save(path, zoom=asked.zoom)
            caption = max(clip.captions, key=lambda caption: caption.stop - caption.start).text
            if asked.is_gym:  # one action leads from a frame to the next
                steps = {name: clip.truth[name][: len(shown) - 1] for name in ("actions", "rewards")}
                metadata = {"minisora": __version__, "caption": caption, **clip.truth, **steps}
                about.write_text(json.dumps(metadata), encoding="utf-8")
            rows.append((caption, shown, clip.fps))
            say(f"{clip.key}.mp4: {caption}")
        write_picture(sheet, contact_sheet(rows[:SHEET_ROWS]))
    say(f"{asked.out}: {asked.count} clips, and the first of them on sheet.png")


def _clip(name: str, seed: int, shape: Shape) -> Clip:
    if name == "playroom":
        from minisora.worlds import playroom

        return playroom.clips([seed], shape)[0]
    from minisora.worlds import stickers

    return stickers.clip(seed, shape)
