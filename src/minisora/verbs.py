"""The commands that make videos: their own options, and what each asks of a model.

Here: `generate`, `image`, `animate`, `extend`, `connect`, `loop`, `edit`, `inpaint`, `outpaint`, `interpolate`,
`storyboard`.
Not here: the options of all of them and the way to a file (produce.py), what is refused before any work starts
(console.py), the verbs themselves (generate/), files (video/), the other commands (cli.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from minisora.console import check_numbers, check_outputs, check_prompt, parse_size
from minisora.errors import UsageError
from minisora.produce import Common, Make, produce

if TYPE_CHECKING:
    from minisora.generate.model import Model
    from minisora.video import Stream, Video

Prompt = Annotated[str, typer.Argument(help="What to show, in English.")]
Seconds = Annotated[float, typer.Option(help="Length of the video.")]
Fps = Annotated[float | None, typer.Option(help="Frames per second; the model's own if not given.")]
ClipFile = Annotated[Path, typer.Argument(help="A video; fitted to the model's size and rate.")]
Candidates = Annotated[
    int | None, typer.Option(help="First frames to choose from, before the rest; 1 takes the first; the model's own.")
]
OneStage = Annotated[bool, typer.Option("--one-stage", help="Make the first frame with the rest.")]
LIKE = 60  # of 255: how far from a colour in red, green or blue a pixel may be
Verb = Callable[..., Make]  # a verb's own arguments are checked before the model is loaded; what it returns makes


def add_verbs(app: typer.Typer) -> None:
    """Make a command of each verb: its own arguments, then those of `Common`."""
    for verb in (generate, image, animate, extend, connect, loop, edit, inpaint, outpaint, interpolate, storyboard):
        app.command()(_command(verb, Path("out.png" if verb is image else "out.mp4")))


def _command(verb: Verb, out: Path) -> Callable[..., None]:
    keyword = inspect.Parameter.KEYWORD_ONLY
    hints = {**get_type_hints(Common, include_extras=True), **get_type_hints(verb, include_extras=True)}
    own = [p.replace(kind=keyword, annotation=hints[name]) for name, p in inspect.signature(verb).parameters.items()]
    common = [
        inspect.Parameter(f.name, keyword, default=out if f.name == "out" else f.default, annotation=hints[f.name])
        for f in fields(Common)
    ]

    def command(**given: Any) -> None:
        how = Common(**{f.name: given.pop(f.name) for f in fields(Common)})
        asked = {name: value for name in ("steps", "guidance") if (value := getattr(how, name)) is not None}
        check_numbers(seed=how.seed, zoom=how.zoom, **asked)
        numbers = {name: given[name] for name in ("seconds", "fps") if name in given}
        check_numbers(seed=0, zoom=1, **numbers)
        prompt = given.get("prompt", "")
        if "prompt" in given:
            check_prompt(prompt)
        if not 0 <= how.context_noise <= 1:
            raise UsageError(f"--context-noise {how.context_noise:g}: give 0 to 1.")
        parse_size(how.size)
        check_outputs(how.out, how.sheet, moving=verb is not image)
        produce(verb(**given), prompt, how)

    command.__name__, command.__doc__ = verb.__name__, verb.__doc__
    command.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
    return command


def generate(
    prompt: Prompt,
    seconds: Seconds = 2.0,
    fps: Fps = None,
    preview: Annotated[bool, typer.Option("--preview", help="Small and short first, whatever is asked for.")] = False,
    start: Annotated[Path | None, typer.Option("--from", help="A preview to make large.", metavar="VIDEO")] = None,
    strength: Annotated[float, typer.Option(help="How far --from is made anew: 0.6 to 0.8.")] = 0.7,
    candidates: Candidates = None,
    one_stage: OneStage = False,
) -> Make:
    """A video of what the prompt says. Longer than the model sees at once, it is made window by window.

    A prompt may change over time: "0-4s: a red ball rolls in | 4s-: it bounces".
    """
    if not 0 <= strength <= 1:
        raise UsageError(f"--strength {strength:g}: give 0 (keep all) to 1 (replace all).")
    if preview and start is not None:
        raise UsageError("--preview makes a preview and --from takes one: give one of them.")
    first = _first_frame(candidates, one_stage)
    if start is not None and first:
        raise UsageError("--from has its first frame already: leave out --candidates and --one-stage.")
    if start is not None:
        return _on_clip(
            start,
            lambda model, video, **how: model.generate(
                prompt, seconds=seconds, fps=fps, preview=video, strength=strength, **how
            ),
        )

    def make(model: Model, **settings: Any) -> Video | Stream:
        settings = {**settings, **first}
        if preview:
            from minisora.generate.schedule import told_until

            small = model.preview_size(settings.pop("size"))
            short = min(seconds, model.bundle.sampling.seconds)
            return model.generate(told_until(prompt, short), seconds=short, fps=fps, size=small, **settings)
        way = model.generate if model.sees_at_once(seconds, fps) else model.stream
        return way(prompt, seconds=seconds, fps=fps, **settings)

    return make


def image(prompt: Prompt, candidates: Candidates = None) -> Make:
    """One picture of what the prompt says."""
    first = _first_frame(candidates)
    return lambda model, **settings: model.image(prompt, **settings, **first)


def animate(
    photo: Annotated[Path, typer.Argument(help="The first frame of the video.")],
    prompt: Prompt,
    at: Annotated[
        list[str] | None, typer.Option(metavar="SECONDS=FILE", help="Another picture, at a moment; may be repeated.")
    ] = None,
    seconds: Seconds = 2.0,
    fps: Fps = None,
) -> Make:
    """A video that starts from a picture and goes on as the prompt says.

    The picture is fitted to the model's pixel area at its own aspect first, or to --size.
    """
    from minisora.video import read_image

    pictures = {0.0: photo}
    for each in at or ():
        moment, _, file = each.partition("=")
        try:
            when = float(moment.removesuffix("s"))
        except ValueError:
            raise UsageError(f"--at {each}: give SECONDS=FILE, such as 1.5=end.png.") from None
        if not 0 <= when <= seconds or when in pictures:
            raise UsageError(f"--at {each}: give a moment above 0, within {seconds:g} s, and each once.")
        pictures[when] = Path(file)
    for picture in pictures.values():  # a bad one is refused before the model is loaded
        read_image(picture)
    return lambda model, **settings: model.animate(pictures, prompt, seconds=seconds, fps=fps, **settings)


def extend(
    clip: ClipFile,
    prompt: Prompt,
    after: Annotated[float, typer.Option(help="Seconds to add at the end.")] = 0.0,
    before: Annotated[float, typer.Option(help="Seconds to add at the beginning.")] = 0.0,
    fps: Fps = None,
) -> Make:
    """A clip with more before it, after it, or both; its own frames are kept."""
    if after == before == 0:
        raise UsageError("say how much to add: --after SECONDS, --before SECONDS, or both.")
    for name, seconds in (("after", after), ("before", before)):
        if not 0 <= seconds <= 1e9:
            raise UsageError(f"--{name} {seconds:g}: give a number of seconds, 0 or more.")
    return _on_clip(
        clip, lambda model, video, **how: model.extend(video, prompt, after=after, before=before, fps=fps, **how)
    )


def connect(
    one: ClipFile,
    other: ClipFile,
    prompt: Prompt,
    seconds: Annotated[float, typer.Option(help="Length of what leads from one to the other.")] = 2.0,
) -> Make:
    """A video that leads from one clip to another; the frames of both are kept."""
    from minisora.video import read_video

    second = read_video(other)
    return _on_clip(one, lambda model, video, **how: model.connect(video, second, prompt, seconds=seconds, **how))


def loop(
    prompt: Prompt,
    clip: Annotated[Path | None, typer.Option(help="Begin with this video, kept.")] = None,
    seconds: Annotated[float, typer.Option(help="Of one round; with a clip, of the way back to its start.")] = 2.0,
) -> Make:
    """A video without a seam, to be played over and over."""
    if clip is None:
        return lambda model, **settings: model.loop(prompt, seconds=seconds, **settings)
    return _on_clip(clip, lambda model, video, **how: model.loop(prompt, clip=video, seconds=seconds, **how))


def edit(
    clip: ClipFile,
    prompt: Prompt,
    source: Annotated[str | None, typer.Option(help="What the clip shows now.")] = None,
    strength: Annotated[float, typer.Option(help="0 keeps the clip, 1 replaces all of it.")] = 0.7,
) -> Make:
    """A clip as the prompt would have it: made anew from noise, or, with --source, turned along the difference."""
    if not 0 <= strength <= 1:
        raise UsageError(f"--strength {strength:g}: give 0 (keep all) to 1 (replace all).")
    return _on_clip(
        clip, lambda model, video, **how: model.edit(video, prompt, source=source, strength=strength, **how)
    )


def inpaint(
    clip: ClipFile,
    prompt: Prompt,
    box: Annotated[str | None, typer.Option(metavar="X,Y,WIDTH,HEIGHT", help="What to make anew, in pixels.")] = None,
    mask: Annotated[Path | None, typer.Option(metavar="PNG", help="White where to make anew.")] = None,
    colour: Annotated[str | None, typer.Option(metavar="R,G,B", help="All that is ever near this colour.")] = None,
) -> Make:
    """A part of a clip made anew; the rest is kept. Boxes and masks are in pixels of the file, and fitted with it."""
    import torch

    from minisora.video import fit, read_image, read_video

    if sum(part is not None for part in (box, mask, colour)) != 1:
        raise UsageError("say which part: --box X,Y,WIDTH,HEIGHT, --mask FILE or --colour R,G,B.")
    source = read_video(clip)
    height, width = source.frames.shape[1:3]
    if mask is not None:
        hole = read_image(mask)
        if hole.shape[:2] != (height, width):
            raise UsageError(f"{mask} is {hole.shape[1]}x{hole.shape[0]}, the clip {width}x{height}. Make them equal.")
    elif colour is not None:
        wanted = torch.tensor(_whole_numbers(colour, "--colour", 3))
        near = torch.stack([(frame - wanted).abs().amax(-1) <= LIKE for frame in source.frames]).any(0)
        if not near.any():
            raise UsageError(f"--colour {colour}: no pixel of {clip} is within {LIKE} of it in red, green and blue.")
        hole = 255 * near[:, :, None].expand(-1, -1, 3).to(torch.uint8)
    else:
        left, top, across, down = _whole_numbers(box or "", "--box", 4)
        if not (left >= 0 and top >= 0 and across > 0 < down and left + across <= width and top + down <= height):
            raise UsageError(f"--box {box} does not lie inside the clip, {width}x{height}.")
        hole = torch.zeros(height, width, 3, dtype=torch.uint8)
        hole[top : top + down, left : left + across] = 255

    def make(model: Model, video: Video, **how: Any) -> Video:
        size = how["size"] or model.preview_size((height, width))
        return model.inpaint(video, fit(hole, *size)[0].float().mean(-1) > 127.5, prompt, **how)

    return _on_clip(clip, make, source)


def outpaint(
    clip: ClipFile,
    prompt: Prompt,
    to: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="The larger frame.")],
    corner: Annotated[
        str | None,
        typer.Option(metavar="X,Y", help="Where the clip's upper left corner is; the middle if not given."),
    ] = None,
) -> Make:
    """A clip inside a larger frame, which is made around it; the clip is kept."""
    size = parse_size(to)
    assert size is not None
    at = tuple(reversed(_whole_numbers(corner, "--corner", 2))) if corner is not None else None

    def make(model: Model, video: Video, **how: Any) -> Video:
        if how.pop("size") is not None:
            raise UsageError("--size does not go with outpaint: --to says how large the frame is.")
        return model.outpaint(video, prompt, size=size, corner=at, **how)  # type: ignore[arg-type]

    return _on_clip(clip, make)


def interpolate(
    clip: ClipFile,
    prompt: Prompt,
    times: Annotated[int, typer.Option(help="How many times the rate.")] = 2,
) -> Make:
    """A clip at a multiple of its rate; its own frames are kept."""
    if times < 2:
        raise UsageError(f"--times {times}: give 2 or more.")
    return _on_clip(clip, lambda model, video, **how: model.interpolate(video, prompt, times=times, **how))


def storyboard(
    board: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="The shots.")],
    candidates: Candidates = None,
    one_stage: OneStage = False,
) -> Make:
    """A film of several shots, from a file that says what is in each; see `minisora.generate.storyboard`."""
    from minisora.generate.storyboard import read_storyboard
    from minisora.video import read_image

    first = _first_frame(candidates, one_stage)
    film = read_storyboard(board)
    for shot in film.shots:
        check_prompt(shot.prompt)
        for picture in shot.keyframes.values():
            read_image(picture)

    return lambda model, **settings: model.storyboard(film, **settings, **first)


def _first_frame(candidates: int | None, one_stage: bool = False) -> dict[str, Any]:
    """What a method of `Model` takes of the two options: what was given of them."""
    if candidates is not None and candidates < 1:
        raise UsageError(f"--candidates {candidates}: give 1 or more.")
    if candidates is not None and one_stage:
        raise UsageError("--one-stage makes no first frame to choose: leave out --candidates.")
    return {**({} if candidates is None else {"candidates": candidates}), **({"one_stage": True} if one_stage else {})}


def _on_clip(path: Path, make: Make, source: Video | None = None) -> Make:
    """A verb on a file: read first, so that a bad one is refused before the model is loaded.

    source: what is in the file, where it was read already
    """
    from minisora.video import read_video

    video = read_video(path) if source is None else source
    return lambda model, **settings: make(model, video, **settings)


def _whole_numbers(text: str, option: str, count: int) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise UsageError(f"{option} {text}: give {count} whole numbers with commas between them.")
    return numbers
