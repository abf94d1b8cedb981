"""One job in a worker process: planned, sampled, written.

Here: progress, previews, cancellation and outcome of a job, and the files of its result. Not here:
the process (process.py), how videos are made (generate/), publishing results (results.py).
"""

from __future__ import annotations

import io
import math
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import ExifTags, Image
from torch import Tensor

from minisora.device import check_memory
from minisora.errors import DiskFull, UsageError
from minisora.generate import media
from minisora.generate.fitting import memory_bytes
from minisora.generate.plan import Result, Work
from minisora.generate.saved import with_media
from minisora.generate.together import sampled_together
from minisora.generate.verbs import VERBS
from minisora.progress import Event, Preview, Watch
from minisora.studio.blobs import storage
from minisora.studio.jobs import Blocked, Failure, Made, State, named_media
from minisora.studio.messages import Assignment, Report
from minisora.studio.moderation import ModerationFailed, asked, check_prompts, shown
from minisora.studio.results import seal
from minisora.video import Stream, Video, origin
from minisora.video.clip import MOST_TILES
from minisora.video.mark import marked
from minisora.video.sheet import evenly

if TYPE_CHECKING:
    from minisora.studio.process import Process

_PREVIEW_SECONDS = 0.5  # between two of a job
_EVENT_SECONDS = 0.1
_PREVIEW_SIDE, _THUMBNAIL_SIDE = 256, 512  # pixels at most
_SAMPLED = 0.7  # share of progress before the first frames are decoded


class Cancelled(Exception):
    """The job was cancelled."""


class Task:
    """A job as it runs.

    group: tasks that are being sampled with it, itself among them
    """

    def __init__(self, process: Process, assignment: Assignment) -> None:
        self._process, self.job, self._folder = process, assignment.job, assignment.folder
        self._media, self._given = assignment.folder / "media", assignment.media
        self.group: Sequence[Task] = [self]
        self.has_ended, self._mark = False, ""
        self._progress, self._piecewise, self._num_frames = 0.0, False, 1
        self._sent = self._shown = -math.inf

    @property
    def is_cancelled(self) -> bool:
        return self.job.id in self._process.cancelled

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Turn an exception into the outcome of the job."""
        try:
            yield
        except Cancelled:
            self.end(State.CANCELLED)
        except Blocked as error:
            self.end(Failure("moderation_blocked", str(error)))
        except ModerationFailed as error:
            self.end(Failure("moderation_failed", str(error)))
        except DiskFull:
            self.end(Failure("storage_full", "the disk of the server is full. Free some space, then try again."))
        except UsageError as error:
            self.end(Failure("invalid_request", self._named(str(error))))
        except (MemoryError, torch.OutOfMemoryError):
            self.end(Failure("out_of_memory", "the memory was not enough. Ask for a smaller or shorter video."))
        except Exception:
            traceback.print_exc()
            self.end(Failure("internal_error", "the server failed at this job; its log says where."))

    def end(self, outcome: Made | Failure | State) -> None:
        self.has_ended = True
        self._process.send(Report(job_id=self.job.id, outcome=outcome))

    def planned(self) -> Work:
        """Load the model, find the media, and plan. Raises UsageError."""
        needs_model = VERBS[self.job.verb].needs_model
        bundle = self._process.model(self.job.model).bundle if needs_model else None
        self._check()
        self._process.send(Report(job_id=self.job.id))  # it has begun
        self._media.mkdir(parents=True)
        for sha256, path in self._given.items():
            (self._media / sha256).symlink_to(path)
        request = with_media(self.job.parsed(), self._media)
        if self._process.moderator is not None:
            request = request.opened()
            for each in shown(request):
                for piece in each.pieces():
                    self._check()
                    self._moderate(piece, media.display_name(each, "a clip"))
        work = Work.of(bundle, request, self.on_event)
        if self._process.moderator is not None and getattr(request, "expand", None):
            check_prompts(self._process.moderator, work.request)
        if bundle is not None:
            needed = self._process.workers * memory_bytes(bundle, work.plan.shape)
            check_memory(needed, f"a video of {self._process.workers} workers at once")
        self._piecewise, self._num_frames = work.is_long, work.plan.shape.num_frames
        self._mark = self._process.mark or work.mark
        return replace(work, watch=replace(work.watch, on_preview=self.on_preview), mark=self._mark)

    def finish(self, work: Work) -> Made:
        """Make the video, and write its files."""
        self._check()
        work = replace(work, plan=replace(work.plan, frames=partial(self._pieces, work.plan.frames)))
        result: Result[Any] = work.stream() if work.is_long else work.run()
        video, began = result.video, time.perf_counter()
        with storage():
            notes = [*result.notes, *video.save(self._folder / f"video.{self.job.format}", keep=False)]
            variants = {"video": f"video.{self.job.format}", **_pictures(video, self._folder)}
            (self._folder / "request.json").write_text(video.request + "\n", encoding="utf-8")
            shutil.rmtree(self._media)
        shape, bundle = work.plan.shape, work.bundle
        facts = {
            **{"width": shape.width, "height": shape.height, "fps": shape.fps, "num_frames": shape.num_frames},
            "notes": tuple(self._named(note) for note in notes),
            "timings": {**result.timings, "write": time.perf_counter() - began},
            "digest": "" if bundle is None else bundle.digest,
        }
        return seal(self._folder, {**variants, "request": "request.json"}, facts)

    def on_event(self, event: Event) -> None:
        """Report progress. Raises Cancelled if nobody in the group is left to work for."""
        if all(task.is_cancelled or task.has_ended for task in self.group):
            raise Cancelled
        share, decoding = event.done / max(1, event.total), event.stage == "decode"
        self._piecewise = self._piecewise or event.stage.startswith("scene ")  # decoded before the next is sampled
        if self._piecewise:
            share = share if decoding else 0.0
        else:
            share = _SAMPLED + (1 - _SAMPLED) * share if decoding else _SAMPLED * share
        self._progress = max(self._progress, 0.99 * share)  # the files are still to be written
        now = time.monotonic()
        if now - self._sent >= _EVENT_SECONDS or event.done == event.total:
            self._sent = now
            self._process.send(Report(job_id=self.job.id, event=event, progress=self._progress))

    def on_preview(self, preview: Preview) -> None:
        """Send a preview, if someone looks and the last is long enough ago."""
        now = time.monotonic()
        if self._process.shows_previews and now - self._shown >= _PREVIEW_SECONDS:
            self._shown = now
            frame = preview(0)
            if self._reason(frame[None]) is not None:
                return  # of a coarse estimate: the finished frames decide
            picture = _picture(marked(frame[None], self._mark)[0], _PREVIEW_SIDE)
            self._process.send(Report(job_id=self.job.id, preview=_encoded(picture, "jpeg")))

    def _pieces(self, frames: Callable[[Watch], Iterator[Tensor]], watch: Watch) -> Iterator[Tensor]:
        done = 0
        for piece in frames(watch):
            done += len(piece)
            self._moderate(piece, "the video")
            self.on_event(Event("decode", done, self._num_frames))
            yield piece

    def _moderate(self, frames: Tensor, what: str) -> None:
        """Raise Blocked for frames that are refused, ModerationFailed. what: for words"""
        if (reason := self._reason(frames)) is not None:
            raise Blocked(f"{self._named(what)} is refused: {reason}.")

    def _reason(self, frames: Tensor) -> str | None:
        hook = self._process.moderator
        return None if hook is None else asked(hook.frames, frames.cpu().numpy())

    def _check(self) -> None:
        if self.is_cancelled:
            raise Cancelled

    def _named(self, text: str) -> str:
        """Text with the names that the client gave, in place of paths."""
        for each in named_media(self.job.request):
            text = text.replace(str(self._media / each["sha256"]), each.get("name") or "a clip")
        return text


def run_pack(tasks: Sequence[Task]) -> None:
    """Run jobs to their ends: planned one by one, sampled together, finished one by one."""
    planned = list[tuple[Task, Work]]()
    for task in tasks:
        with task.ending():
            planned.append((task, task.planned()))
    live = [task for task, _ in planned]
    for task in live:
        task.group = live
    works: Sequence[Work] = []
    try:
        works = sampled_together([work for _, work in planned])
    except Exception as error:
        for task in live:
            with task.ending():
                raise error
    for task, work in zip(live, works, strict=False):
        task.group = [task]
        with task.ending():
            task.end(task.finish(work))


def _pictures(video: Video | Stream, folder: Path) -> dict[str, str]:
    """Write thumbnail and spritesheet; returns their names by variant."""
    if isinstance(video, Video):
        shown = video.frames[evenly(len(video.frames), MOST_TILES)]
    else:
        shown = torch.stack(list(video.some.values()))
    files = {
        "thumbnail.webp": _encoded(_picture(shown[len(shown) // 2], _THUMBNAIL_SIDE), "webp"),
        "spritesheet.jpg": _encoded(video.contact_sheet(), "jpeg"),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name.partition(".")[0]: name for name in files}


def _picture(frame: Tensor, side: int) -> Image.Image:
    """Picture of a frame, its longer side at most `side` pixels. frame: (H, W, 3) uint8"""
    picture = Image.fromarray(frame.cpu().numpy())
    picture.thumbnail((side, side))
    return picture


def _encoded(picture: Image.Image, form: str) -> bytes:
    """Encode a picture as jpeg or webp, with the mark of its origin."""
    content, exif = io.BytesIO(), Image.Exif()
    exif[ExifTags.Base.ImageDescription] = origin.mark()
    how = {"comment": origin.mark()} if form == "jpeg" else {"exif": exif}
    picture.save(content, format=form, quality=80, **how)
    return content.getvalue()
