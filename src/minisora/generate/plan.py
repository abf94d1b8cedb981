"""Running a request: its plan on a bundle, and the resulting video.

Here: planning, running, the result. Not here: each verb's plan (verbs.py), sampling a plan
(frames.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from minisora.bundle import Bundle
from minisora.device import check_memory
from minisora.generate import saved
from minisora.generate.deliver import notes_on_upscaling
from minisora.generate.expanding import expanded
from minisora.generate.fitting import sees_at_once
from minisora.generate.request import Plan, Request
from minisora.progress import OnEvent, Watch, no_listener
from minisora.video import Stream, Video
from minisora.video.mark import marked

_HELD_BYTES = 256 << 20  # of frames: more are not held in memory while a file is written
Made = TypeVar("Made", Video, Stream)


@dataclass(frozen=True, eq=False)
class Result(Generic[Made]):
    """Result of a request.

    video:   complete; a stream generates it while it is saved
    notes:   for the user
    timings: seconds by stage; of a stream, so far
    """

    video: Made
    notes: tuple[str, ...]
    timings: dict[str, float]
    request: Request


class Stopped(KeyboardInterrupt):
    """Ctrl-C during generation, with the frames generated so far."""

    def __init__(self, result: Result[Video], num_frames: int) -> None:
        super().__init__(f"stopped after {len(result.video.frames)} of {num_frames} frames")
        self.result, self.num_frames = result, num_frames


@dataclass(frozen=True, eq=False)
class Work:
    """A request that is ready to run: every check that can fail early is done.

    mark: words on every frame; empty for none
    """

    bundle: Bundle | None
    request: Request
    plan: Plan
    watch: Watch
    mark: str = ""

    @classmethod
    def of(cls, bundle: Bundle | None, request: Request, on_event: OnEvent = no_listener) -> Work:
        """Read the request's media, and plan it.

        bundle: None for a request that needs no model

        Raises UsageError for every request that cannot be run.
        """
        opened, watch, notes = request.opened(), Watch(on_event=on_event), list[str]()
        assert bundle is not None or not request.needs_model, request
        if bundle is not None:
            opened, notes = expanded(opened, bundle, watch)
        plan = opened.plan(bundle)  # type: ignore[arg-type]  # as asserted
        if bundle is not None and request.needs_model:
            plan = replace(plan, notes=(*notes_on_upscaling(bundle), *notes, *plan.notes))
        return cls(bundle, opened, plan, watch, mark=getattr(opened, "mark", ""))

    @property
    def is_long(self) -> bool:
        """True if the video takes several windows, or much memory: it is better streamed."""
        shape = self.plan.shape
        if self.bundle is not None and not sees_at_once(self.bundle, shape):
            return True
        return shape.num_frames * shape.height * shape.width * 3 > _HELD_BYTES

    def _frames(self) -> Iterator[Tensor]:
        return (marked(piece, self.mark) for piece in self.plan.frames(self.watch))

    def run(self) -> Result[Video]:
        """Make the video. Raises Stopped if Ctrl-C cuts it short."""
        plan, pieces, interrupted = self.plan, list[Tensor](), False
        shape = plan.shape
        what = f"{shape.num_frames} frames of {shape.width}x{shape.height} in memory"
        check_memory(2 * shape.num_frames * shape.height * shape.width * 3, what)
        try:
            for piece in self._frames():
                pieces.append(piece)
        except KeyboardInterrupt:
            if not pieces:
                raise
            interrupted = True
        video = Video(torch.cat(pieces), shape.fps, plan.sound, request=saved.written(self.request, self.bundle))
        result = Result(video, plan.notes, self.watch.seconds, self.request)
        if interrupted:
            raise Stopped(result, shape.num_frames)
        return result

    def stream(self) -> Result[Stream]:
        """Make a stream: a video that is generated while it is saved, and not held in memory."""
        shape = self.plan.shape
        video = Stream(
            self._frames(),
            *(shape.num_frames, shape.height, shape.width, shape.fps),
            sound=self.plan.sound,
            request=saved.written(self.request, self.bundle),
        )
        return Result(video, self.plan.notes, self.watch.seconds, self.request)
