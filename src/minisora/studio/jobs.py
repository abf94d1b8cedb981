"""Values of the studio: jobs, what they made, the library's items, tokens, and updates.

A job is a whole request with its owner and its state. Nothing here touches a database, a file or a
network, and nothing imports torch.

Here: the values and the errors about them. Not here: keeping them (store.py), running jobs
(dispatch.py).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Generic, TypeVar

from minisora.errors import DiskFull, UsageError
from minisora.generate.request import Request
from minisora.generate.verbs import VERBS
from minisora.progress import Event
from minisora.studio.names import title

Value = TypeVar("Value")
EVENTS = ("video.completed", "video.failed")  # that webhooks are told of
STILL, MOVING = ("png",), ("mp4", "webm", "gif", "mkv")  # formats of one picture, and of a video


class State(StrEnum):
    """State of a job; only the last three are final."""

    WAITING = "waiting"
    PAUSED = "paused"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in (State.DONE, State.FAILED, State.CANCELLED)


class QueueFull(UsageError):
    """The queue takes no further job for now. retry_after: seconds, 1 to 120"""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotFound(UsageError):
    """There is no such job, item or token, or it belongs to another owner."""


class WrongState(UsageError):
    """The job's state does not allow this. job: as it is"""

    def __init__(self, message: str, job: Job) -> None:
        super().__init__(message)
        self.job = job


class StorageFull(DiskFull):
    """The server's disk is full; nothing was kept of what was asked."""


class Unavailable(UsageError):
    """The database, or the moderator, does not answer for now."""


class Blocked(UsageError):
    """The moderator refuses it."""


@dataclass(frozen=True)
class Failure:
    """Reason why a job failed.

    code: invalid_request, worker_lost, deadline_exceeded, out_of_memory, storage_full,
          model_not_found, moderation_blocked, moderation_failed, internal_error or a provider's
          own; a job that was cancelled has none
    """

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a result. name: in the result's folder; type: its media type"""

    name: str
    sha256: str
    size_bytes: int
    type: str


@dataclass(frozen=True, kw_only=True)
class Made:
    """Facts of a result, as delivered.

    files:   by variant: video, thumbnail, spritesheet, request
    notes:   for the user
    timings: seconds by stage
    digest:  of the weights; empty if the verb needs no model
    """

    width: int
    height: int
    fps: float
    num_frames: int
    files: Mapping[str, File]
    notes: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    digest: str = ""

    @property
    def seconds(self) -> float:
        """Duration; the last frame is shown as long as the others."""
        return self.num_frames / self.fps


@dataclass(frozen=True, kw_only=True)
class Remote:
    """Video that a provider makes, or has made, for a job.

    provider: its alias
    id:       of the video, there
    key:      of the request that it was made of
    """

    provider: str
    id: str
    key: str


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job to submit.

    request:     its media are `media.Named` with the SHA-256 of a blob, never files
    model:       a model that the server serves; empty for its default
    format:      of the video file, one of MOVING, or of STILL for a verb that makes a picture;
                 empty for the first of them
    parent:      job or item that this one continues or changes
    key:         the client's idempotency key; a second job of the owner with it is not made
    fingerprint: hash of the fields and files, to recognise a repeated submission
    repeated_since: Unix time; a job of the owner with this fingerprint, created since, is
                 returned instead of a new one; None: a new one is made
    client:      JSON that the interface wants to have back; not read here
    """

    owner: str
    request: Request
    model: str = ""
    format: str = ""
    parent: str | None = None
    key: str = ""
    fingerprint: str = ""
    repeated_since: float | None = None
    deadline_seconds: float | None = None
    client: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as it is kept. Times are Unix seconds.

    request:  as `Request.to_data` writes it
    position: place among the waiting jobs of its owner, increasing
    attempts: times that it was begun
    """

    id: str
    owner: str
    state: State
    verb: str
    request: Mapping[str, Any]
    model: str
    format: str
    position: float
    created_at: float
    attempts: int = 0
    started_at: float | None = None
    finished_at: float | None = None
    deleted_at: float | None = None
    deadline_seconds: float | None = None
    parent: str | None = None
    key: str = ""
    fingerprint: str = ""
    client: Mapping[str, Any] = field(default_factory=dict)
    made: Made | None = None
    failure: Failure | None = None
    remote: Remote | None = None

    def parsed(self) -> Request:
        """The request as a value. Raises UsageError if this version cannot read it."""
        return VERBS[self.verb].of_data(self.request)

    @cached_property
    def title(self) -> str:
        """What it makes, in words for people."""
        return title(self.verb, self.request)

    @cached_property
    def kind(self) -> str:
        """Key that is equal for jobs which take about the same time."""
        fields = {name: value for name, value in self.request.items() if name not in ("prompt", "seed")}
        return json.dumps([self.model, self.verb, fields], sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One run of a job. outcome: empty while it runs; done, failed, cancelled, worker_lost, ..."""

    job_id: str
    number: int
    worker: str
    started_at: float
    ended_at: float | None = None
    outcome: str = ""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Expectation for an unfinished job.

    place:      1 for the next to begin; None for one that runs or is paused
    done_in:    seconds until it is done, from the time of like jobs; None if there were none
    """

    place: int | None = None
    done_in: float | None = None


@dataclass(frozen=True, kw_only=True)
class Update:
    """Change of a job, for listeners.

    job:      as it is now
    event:    progress of its present stage, if it runs
    progress: share of all its work that is done, 0 to 1
    preview:  JPEG of a frame of the x0 estimate, in the update that brings a new one
    """

    job: Job
    event: Event | None = None
    progress: float = 0.0
    preview: bytes | None = None
    outlook: Outlook = Outlook()


@dataclass(frozen=True, kw_only=True)
class Item:
    """A clip or a picture in the library: the video of a job, with the job's id, or an upload.

    sha256:  of its file, a blob
    type:    its media type
    verb:    of the job; empty for an upload
    parents: items that it was made from: media of the request, and the job's parent
    """

    id: str
    owner: str
    name: str
    sha256: str
    type: str
    size_bytes: int
    width: int
    height: int
    fps: float
    num_frames: int
    created_at: float
    is_upload: bool = False
    verb: str = ""
    favourite: bool = False
    tags: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    deleted_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Token:
    """A client's right to use the server; `id` is the owner of its jobs. The secret is not kept.

    jobs_waiting:   most unfinished jobs at once; None: no bound of its own
    bytes_kept:     most bytes of uploads and results
    calls_a_minute: most calls
    """

    id: str
    name: str
    created_at: float
    is_admin: bool = False
    jobs_waiting: int | None = None
    bytes_kept: int | None = None
    calls_a_minute: int | None = None
    revoked_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """Address that is told when jobs of an owner end.

    events:  of EVENTS
    secret:  whsec_..., with which deliveries are signed
    last_at, last_outcome: of the newest try to deliver; None before the first
    """

    id: str
    owner: str
    url: str
    events: tuple[str, ...]
    secret: str = field(repr=False)
    created_at: float = 0.0
    last_at: float | None = None
    last_outcome: str | None = None


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """An event for a webhook, until it is delivered.

    body:    the bytes that are sent, as text
    tries:   number of tries that failed
    next_at: Unix time of the next
    """

    id: str
    webhook_id: str
    body: str
    created_at: float
    tries: int
    next_at: float


@dataclass(frozen=True)
class Usage:
    """Use of the server by one owner. seconds: of workers, for jobs that began since a moment"""

    unfinished: int
    size_bytes: int
    seconds: float


@dataclass(frozen=True)
class Page(Generic[Value]):
    """Part of a list. more: there is more after the last"""

    values: Sequence[Value]
    more: bool


def named_media(data: Any) -> Iterator[Mapping[str, Any]]:
    """Every clip and picture that a request's JSON names, with its name and sha256."""
    if isinstance(data, Mapping):
        if isinstance(data.get("sha256"), str):
            yield data
        for value in data.values():
            yield from named_media(value)
    elif isinstance(data, Sequence) and not isinstance(data, str):
        for value in data:
            yield from named_media(value)


def new_id(kind: str) -> str:
    """Make an identifier that cannot be guessed, such as video_0f3a..."""
    return f"{kind}_{secrets.token_hex(16)}"


def format_for(request: Request, wanted: str) -> str:
    """Format of a result's file: the wanted one, or the usual one if that is empty.

    Raises UsageError for a format that cannot hold what the verb makes.
    """
    known = MOVING if request.moving else STILL
    if wanted and wanted not in known:
        raise UsageError(f"{request.name()} cannot be delivered as {wanted!r}. Choose one of: {', '.join(known)}.")
    return wanted or known[0]
