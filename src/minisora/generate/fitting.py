"""Fitting a user's input to a model: sizes, fps, prompts and memory; changes become notes.

Here: checks and notes before any work, sizes that suit a model, clips fitted to them, the number of
first frames, the memory of a video.
Not here: the verbs (verbs.py), resizing itself (video/frames.py).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from minisora.bundle import Bundle
from minisora.device import check_memory, usable_bytes
from minisora.errors import UsageError
from minisora.generate.canvas import Condition, Shape, check_apart
from minisora.generate.deliver import delivery_bytes, own_size, side_seen, working
from minisora.generate.first_frame import FirstFrame, chooser
from minisora.generate.media import display_name
from minisora.generate.rollout import check_times
from minisora.generate.schedule import Schedule
from minisora.text.encoder import sentences
from minisora.video import Video, fit, fit_size
from minisora.video.frames import Frames
from minisora.video.recording import Recording
from minisora.video.sound import Sound


def shape_of(bundle: Bundle, seconds: float | None, size: tuple[int, int] | None, fps: float | None) -> Shape:
    """Shape of a video; None stands for the bundle's default. size: (height, width) in pixels

    Raises UsageError for impossible values, and for a video that exceeds the machine's memory.
    """
    how = bundle.sampling
    seconds = how.seconds if seconds is None else seconds
    fps = how.fps if fps is None else fps
    height, width = size or own_size(bundle)
    if not (height > 0 and width > 0 and 0 <= seconds < float("inf") and 0.01 <= fps < float("inf")):
        raise UsageError(
            f"a video of {width}x{height}, {seconds:g} s at {fps:g} fps cannot be. Give a size and a rate above 0, "
            f"and 0 seconds or more."
        )
    shape = Shape(num_frames=1 + round(seconds * fps), height=height, width=width, fps=fps)
    check_memory(memory_bytes(bundle, shape), f"{seconds:g} s of {width}x{height} at {fps:g} fps")
    return shape


def memory_bytes(bundle: Bundle, shape: Shape, candidates: int = 1) -> int:
    """Approximate memory of a video in bytes, without the weights: activations, decoding, frames.

    candidates: first frames that are sampled at once, before the rest
    """
    how, config = bundle.sampling, bundle.dit.config
    strides = bundle.vae.strides
    held = min(shape.num_frames, strides.num_frames(how.window))  # longer videos are written while they are made
    frames = 2 * held * shape.height * shape.width * 3 + delivery_bytes(bundle, shape)
    side, shape = side_seen(bundle), working(bundle, shape)
    cells = prod(-(-size // cell) for size, cell in zip((shape.height, shape.width), bundle.token_size, strict=True))
    canvas = 4 * 4 * strides.num_latents(shape.num_frames) * cells * (config.token_channels + 4)
    latents = max(candidates, min(how.window, strides.num_latents(shape.num_frames)))
    tokens = latents * min(shape.height, side) * min(shape.width, side) / prod(bundle.token_size)
    states = 2 * tokens * (12 * config.width + 2 * config.mlp_width) * 4  # with and without the text
    decoding = 8 * shape.height * shape.width * 200  # a piece of two latents, at the decoder's widest
    return round(states + decoding + frames + canvas)


def first_frame(bundle: Bundle, shape: Shape, candidates: int | None, one_stage: bool) -> FirstFrame | None:
    """Settings of the first frame of a video from text; None: one stage with the rest.

    candidates: to choose from; None: the bundle's number, but one if it names no captioner

    Raises UsageError for more than memory holds, and for several without a captioner.
    """
    captioner, own = bundle.trained.get("captioner"), bundle.sampling.candidates
    if one_stage or (candidates is None and not own):
        return None
    count = candidates if candidates is not None else own if captioner else 1
    if count == 1:
        return FirstFrame()
    if captioner is None:
        raise UsageError(f"{bundle.name} names no captioner that could choose from {count} candidates. Ask for 1.")
    most = bisect_right(range(1, count + 1), usable_bytes(), key=lambda n: memory_bytes(bundle, shape, n))
    check_memory(
        memory_bytes(bundle, shape, count),
        f"a choice from {count} candidates of {shape.width}x{shape.height}",
        f"It holds {most}: ask for no more candidates.",
    )
    return FirstFrame(count, chooser(captioner, bundle.vae.latent_mean.device, bundle.vae.dtype))


def size_for(bundle: Bundle, height: int, width: int) -> tuple[int, int]:
    """Size of the bundle's pixel area at the aspect of a frame: (height, width)."""
    own = own_size(bundle)
    if (height, width) == own:
        return own
    return fit_size(height, width, area=own[0] * own[1], multiple=bundle.token_size[0])


def in_parts(bundle: Bundle, shape: Shape) -> list[str]:
    """Notes for the user on a frame larger than the network sees at once."""
    side, shape = side_seen(bundle), working(bundle, shape)
    if max(shape.height, shape.width) <= side:
        return []
    return [f"frames of {shape.width}x{shape.height} are larger than the model sees ({side}): made small first"]


def sees_at_once(bundle: Bundle, shape: Shape) -> bool:
    """True if a video of this length fits one context window."""
    return bundle.vae.strides.num_latents(shape.num_frames) <= bundle.sampling.window


def own_area(bundle: Bundle, size: tuple[int, int] | None) -> tuple[int, int]:
    """Default size of delivery, at the aspect of a size: (height, width)."""
    return size_for(bundle, *(size or bundle.sampling.size))


def around(bundle: Bundle, video: Fitted, num_frames: int) -> Shape:
    """Shape of `num_frames` frames, of the video's size and fps."""
    return shape_of(bundle, (num_frames - 1) / video.fps, video.size, video.fps)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A clip as a model takes it. frames: (T, H, W, 3) uint8, in memory or read when sliced"""

    frames: Frames
    fps: float
    sound: tuple[Sound, ...]

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.frames.shape[1:3]
        return height, width

    def sound_from(self, seconds: float) -> tuple[Sound, ...]:
        """Its sound in a video in which it begins at `seconds`."""
        return tuple(replace(one, at=one.at + seconds) for one in self.sound)


def fitted(
    bundle: Bundle, video: Video | Recording, size: tuple[int, int] | None, fps: float | None, what: str
) -> tuple[Fitted, list[str]]:
    """Fit a clip to `size`, or the model's area at the clip's aspect, and to `fps`.

    what:    name of the clip in notes
    returns  the clip, and notes for the user
    """
    size = size or size_for(bundle, video.height, video.width)
    shape_of(bundle, 0.0, size, fps)  # a size that no memory holds
    frames, rate = video.read(size=size, fps=fps)
    notes = [*(f"{what}: {note}" for note in video.notes), *fit_notes(what, (video.height, video.width), size)]
    if fps is not None and f"{rate:g}" != f"{video.fps:g}":
        notes.append(f"{what} ({video.fps:g} fps) was brought to {rate:g} fps")
    return Fitted(frames, rate, video.sound), notes


def conditions_of(pictures: Mapping[float, Video], shape: Shape) -> tuple[tuple[Condition, ...], list[str]]:
    """Conditions from pictures by second, fitted to the video's size; and notes for the user.

    Raises UsageError for two at one frame, and for one after the last.
    """
    conditions, notes = list[Condition](), list[str]()
    for at, picture in sorted(pictures.items()):
        name = display_name(picture, "the picture")
        notes += fit_notes(name, picture.frames.shape[1:3], (shape.height, shape.width))
        if round(at * shape.fps) >= shape.num_frames:
            last = (shape.num_frames - 1) / shape.fps
            raise UsageError(f"{name} at {at:g} s: the video's last frame is at {last:g} s. Ask for more seconds.")
        conditions.append(Condition(fit(picture.frames, shape.height, shape.width)[0], at=round(at * shape.fps)))
    check_apart(conditions)
    return tuple(conditions), notes


def fit_notes(what: str, was: tuple[int, ...], now: tuple[int, int]) -> list[str]:
    """Note on how `fit` changed a frame; empty if it did not. was, now: height and width"""
    if tuple(was) == now:
        return []
    scale = max(after / before for before, after in zip(was, now, strict=True))
    lost = 1 - now[0] * now[1] / (was[0] * was[1] * scale**2)
    cut = f"; {lost:.0%} of the picture is cut away" if lost > 0.005 else ""
    return [f"{what} ({was[1]}x{was[0]}) was fitted to {now[1]}x{now[0]}{cut}"]


def some_frames(seconds: float, fps: float) -> int:
    """Number of frames in `seconds`. Raises UsageError if there are none."""
    if not (count := round(seconds * fps)):
        raise UsageError(f"{seconds:g} s hold no frame at {fps:g} fps. Ask for more.")
    return count


def checked(bundle: Bundle, prompt: Schedule, shape: Shape) -> list[str]:
    """Check a prompt; returns notes for the user.

    Raises UsageError for one too long for the encoder, or with times beyond the video's end.
    """
    for part in prompt.parts:
        bundle.text.check(part.text)
    check_times(prompt, shape, bundle.vae.strides)
    return notes_on(bundle, prompt)


def unchanging(prompt: Schedule) -> str:
    """Text of a prompt that may not change over time. Raises UsageError for one that does."""
    if prompt.changes:
        raise UsageError("a loop and an edit with a source take a prompt that does not change over time.")
    return prompt.first


def notes_on(bundle: Bundle, prompt: Schedule) -> list[str]:
    """Notes on a prompt outside of what the bundle was trained on; empty for one within."""
    encoder, texts = bundle.text, [part.text for part in prompt.parts]
    if any(encoder.unreadable(each) for each in texts):
        mend = "For Chinese, use --expand auto: it says the same in English." if bundle.world_name == "playroom" else ""
        later = "Released weights, still to come, will read other languages."
        return [f"the text encoder of this model reads English only, so it cannot follow this prompt. {mend or later}"]
    known, least = bundle.known, bundle.trained.get("least_similarity")
    if known is None or least is None:
        return []
    similarity = float((sentences(encoder, texts).cpu() @ known.float().T).amax(1).min())
    if similarity >= least:
        return []
    return [
        f"this prompt is far from all that {bundle.name} was trained on (similarity {similarity:.2f}, "
        f"{least:.2f} and more is near). `minisora models {bundle.name}` says what it knows; "
        "released weights, still to come, will know more."
    ]
