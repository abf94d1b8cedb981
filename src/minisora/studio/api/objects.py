"""JSON of jobs and items, as clients get them.

A video object has the fields and exact types of OpenAI's (its client checks none), and all else
under `minisora`. A state that OpenAI has no word for reads as the nearest that its client polls
rightly: paused as queued, cancelled as failed.

Here: the objects. Not here: the routes that return them (videos.py, library.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel

from minisora.studio.jobs import Item, Job, Made, State, Update

Status = Literal["queued", "in_progress", "completed", "failed"]
STATUS: dict[State, Status] = {
    State.WAITING: "queued",
    State.PAUSED: "queued",
    State.RUNNING: "in_progress",
    State.DONE: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "failed",
}
_NEAR_FRAMES = 1.5  # a video of N seconds has one frame more


class VideoError(BaseModel):
    """Reason why a video failed."""

    code: str
    message: str


class Video(BaseModel):
    """A video, in the shape of OpenAI's API. Times are Unix seconds.

    minisora: all that the shape has no field for; see docs/studio.md
    """

    id: str
    object: Literal["video"] = "video"
    model: str
    status: Status
    progress: int
    created_at: int
    completed_at: int | None
    expires_at: int | None
    prompt: str | None
    seconds: str
    size: str
    remixed_from_video_id: str | None
    error: VideoError | None
    minisora: dict[str, Any]


class VideoPage(BaseModel):
    """Part of a list of videos; go on with after=last_id while has_more."""

    object: Literal["list"] = "list"
    data: list[Video]
    has_more: bool
    first_id: str | None
    last_id: str | None


class Deleted(BaseModel):
    """A video that was deleted."""

    id: str
    deleted: bool = True
    object: Literal["video.deleted"] = "video.deleted"


class LibraryItem(BaseModel):
    """A clip or a picture of the library: an upload, or the video of a job with the same id.

    sha256: of its file
    verb:   of the job; None for an upload
    """

    id: str
    object: Literal["library.item"] = "library.item"
    name: str
    sha256: str
    type: str
    size_bytes: int
    width: int
    height: int
    fps: float
    num_frames: int
    seconds: float
    created_at: int
    is_upload: bool
    verb: str | None
    favourite: bool
    tags: list[str]
    parents: list[str]
    deleted: bool


class LibraryPage(BaseModel):
    """Part of a list of items; go on with after=last_id while has_more."""

    object: Literal["list"] = "list"
    data: list[LibraryItem]
    has_more: bool
    first_id: str | None
    last_id: str | None


class ErrorDetail(BaseModel):
    """An error. code: for programs; param: the field that is wrong"""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """An error, in the shape of OpenAI's API."""

    error: ErrorDetail


def video(job: Job, update: Update) -> Video:
    """Video object of a job. update: its progress and outlook"""
    client, made = job.client, job.made
    finished = job.finished_at if job.state is State.DONE else None
    return Video(
        id=job.id,
        model=str(client.get("model") or job.model),
        status=STATUS[job.state],
        progress=100 if job.state is State.DONE else min(99, int(100 * update.progress)),
        created_at=int(job.created_at),
        completed_at=None if finished is None else int(finished),
        expires_at=None,
        prompt=prompt_of(job),
        seconds=_seconds(str(client.get("seconds", "0")), made),
        size=str(client.get("size", "0x0")) if made is None else f"{made.width}x{made.height}",
        remixed_from_video_id=client.get("remixed_from"),
        error=_error(job),
        minisora=_more(job, update),
    )


def page(videos: list[Video], more: bool) -> VideoPage:
    first, last = (videos[0].id, videos[-1].id) if videos else (None, None)
    return VideoPage(data=videos, has_more=more, first_id=first, last_id=last)


def item(value: Item) -> LibraryItem:
    """Object of an item."""
    return LibraryItem(
        id=value.id,
        name=value.name,
        sha256=value.sha256,
        type=value.type,
        size_bytes=value.size_bytes,
        width=value.width,
        height=value.height,
        fps=value.fps,
        num_frames=value.num_frames,
        seconds=value.num_frames / value.fps,
        created_at=int(value.created_at),
        is_upload=value.is_upload,
        verb=value.verb or None,
        favourite=value.favourite,
        tags=list(value.tags),
        parents=list(value.parents),
        deleted=value.deleted_at is not None,
    )


def item_page(items: list[LibraryItem], more: bool) -> LibraryPage:
    first, last = (items[0].id, items[-1].id) if items else (None, None)
    return LibraryPage(data=items, has_more=more, first_id=first, last_id=last)


def prompt_of(job: Job) -> str | None:
    """Prompt of a job; of a storyboard, those of its shots."""
    if isinstance(prompt := job.request.get("prompt"), str):
        return prompt
    board = job.request.get("board")
    shots = board.get("shots", ()) if isinstance(board, Mapping) else ()
    return " | ".join(shot["prompt"] for shot in shots) or None


def shown_request(value: Any, ids: Mapping[str, str]) -> Any:
    """Request with media as clients give them: by id, with the name for people."""
    if isinstance(value, Mapping):
        if "sha256" in value and "name" in value:
            rest = {name: one for name, one in value.items() if name != "sha256"}
            return {"id": ids.get(value["sha256"]), **rest}
        return {name: shown_request(each, ids) for name, each in value.items()}
    return [shown_request(each, ids) for each in value] if isinstance(value, list) else value


def _seconds(expected: str, made: Made | None) -> str:
    """Length as it was asked for, or as it came, if that is another."""
    if made is None or abs(float(expected) - made.seconds) * made.fps <= _NEAR_FRAMES:
        return expected
    return f"{made.seconds:.6g}"


def _error(job: Job) -> VideoError | None:
    if job.state is State.CANCELLED:
        return VideoError(code="cancelled", message="the job was cancelled.")
    if job.state is State.FAILED and job.failure is not None:
        return VideoError(code=job.failure.code, message=job.failure.message)
    return None


def _more(job: Job, update: Update) -> dict[str, Any]:
    made, client, event = job.made, job.client, update.event
    notes = [*client.get("notes", ()), *(made.notes if made is not None else ())]
    facts = None
    if made is not None:
        size = {"width": made.width, "height": made.height, "fps": made.fps, "num_frames": made.num_frames}
        facts = {"model": job.model, "digest": made.digest, **size, "seconds": made.seconds}
    return {
        "state": job.state.value,
        "title": job.title,
        "verb": job.verb,
        "format": job.format,
        "request": shown_request(job.request, client.get("media", {})),
        "parent": job.parent,
        "provider": None if job.remote is None else {"alias": job.remote.provider, "id": job.remote.id},
        "made": facts,
        "notes": notes,
        "timings": dict(made.timings) if made is not None else {},
        "attempts": job.attempts,
        "stage": None if event is None else {"name": event.stage, "done": event.done, "total": event.total},
        "place": update.outlook.place,
        "done_in": update.outlook.done_in,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }
