"""Workers that have jobs made by a provider, another server with the shape of OpenAI's videos API.

    generate, animate   POST /videos               extend   POST /videos/extensions
    edit                POST /videos/{id}/remix of a video that was made there, else /videos/edits

The provider's id of the video is kept with the job. So after a crash the same video is polled on,
and a video that was made there is extended or changed there without an upload.

Here: a job on a provider, from its fields to its files. Not here: calls (provider.py), choosing
workers (running.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from minisora.errors import UsageError
from minisora.generate import saved
from minisora.generate.edits import Edit
from minisora.generate.fields import about
from minisora.generate.media import Named
from minisora.generate.request import Request
from minisora.generate.verbs import Animate, Extend, Generate
from minisora.progress import Event
from minisora.studio.api.converting import Conversion, command
from minisora.studio.api.errors import Refusal
from minisora.studio.api.inspection import Inspected, Inspector, output_of
from minisora.studio.api.settings import DownloadBounds, UploadBounds
from minisora.studio.blobs import storage
from minisora.studio.jobs import Blocked, Failure, Job, Made, Remote, State, StorageFull
from minisora.studio.messages import Assignment, Models, Report
from minisora.studio.moderation import ModerationFailed, Moderator, check_file
from minisora.studio.outgoing import PRIVATE, Outgoing
from minisora.studio.provider import Ask, ProviderError, Server, plain
from minisora.studio.results import seal
from minisora.studio.settings_file import Provider
from minisora.studio.workers import WorkerLost

Answer = TypeVar("Answer")
VERBS = (Generate, Animate, Extend, Edit)
STATES = {
    **dict.fromkeys(("completed", "succeeded", "success", "done"), State.DONE),
    **dict.fromkeys(("failed", "error", "cancelled", "canceled", "expired", "rejected"), State.FAILED),
}  # others: it is not finished
POLL_SECONDS = 0.2, 1.0, 5.0  # least, first and most
CANCEL_SECONDS = 10.0  # for the provider to take a cancellation
MOST_BYTES = 256 << 20  # of a video
MEDIA = {"picture": "input_reference", "clip": "video"}  # parts of a form, by field
_STRUCTURE = ("preview", "small", "at", "before")  # fields that no such server takes
_OURS = ("mark",)  # what is done here with what comes
_FORMATS = {"video/mp4": "mp4", "video/quicktime": "mp4", "video/webm": "webm", "video/x-matroska": "mkv"}
_ID = re.compile(r"[\x21-\x7e]{1,200}")
_MOST_NOTES = 20
_PART, _FIRST = "video.part", asyncio.FIRST_COMPLETED
_log = logging.getLogger("minisora.studio")


class ProviderWorker:
    """Has one job at a time made by a provider. models: of the provider, by its own names"""

    loaded: str | None = None
    together = 1

    def __init__(
        self,
        name: str,
        server: Server,
        models: Sequence[str],
        inspector: Inspector,
        moderator: Moderator | None,
        mark: str = "",
    ) -> None:
        self.name = name
        self._server, self._models, self._inspector = server, models, inspector
        self._moderator, self._mark = moderator, mark
        self._task: asyncio.Task[Made | Failure | State] | None = None
        self._errand: Errand | None = None
        self._cancelled: set[str] = set()
        self._is_stopped = False

    async def start(self) -> Models:
        facts = {"provider": self._server.alias, "verbs": [kind.name() for kind in VERBS], "fps": 24.0, "seconds": 4.0}
        return {f"{self._server.alias}/{model}": facts for model in self._models}

    def check(self, request: Request, form: str) -> None:
        alias = self._server.alias
        if not isinstance(request, VERBS):
            names = ", ".join(kind.name() for kind in VERBS)
            raise UsageError(f"{alias} does not make {request.name()}: it makes {names}. Leave out the model.")
        if form not in ("", "mp4"):
            raise UsageError(f"{alias} delivers mp4 alone. Leave out the format.")
        if given := [name for name in _STRUCTURE if getattr(request, name, None)]:
            raise UsageError(f"{alias} does not take {', '.join(given)}. Leave it out, or leave out the model.")
        clip = getattr(request, "clip", None)
        if isinstance(clip, Named) and (clip.start or clip.stop is not None):
            raise UsageError(f"{alias} takes whole clips. Leave out start and stop, or leave out the model.")

    async def run(self, pack: Sequence[Assignment], report: Callable[[Report], None]) -> None:
        (assignment,) = pack
        job_id = assignment.job.id
        errand = Errand(self._server, self._inspector, self._moderator, assignment, report, self._mark)
        self._errand = errand
        if job_id in self._cancelled:
            errand.ended.set()
        report(Report(job_id=job_id))
        self._is_stopped = False
        self._task = asyncio.create_task(errand.outcome())
        try:
            report(Report(job_id=job_id, outcome=await self._task))
        except asyncio.CancelledError:
            if self._is_stopped:
                raise WorkerLost(f"{self.name} was stopped") from None
            raise
        finally:
            self._task = self._errand = None
            self._cancelled.discard(job_id)

    def cancel(self, job_id: str) -> None:
        self._cancelled.add(job_id)
        if self._errand is not None and self._errand.job.id == job_id:
            self._errand.ended.set()

    async def forget(self, job: Job) -> None:
        if job.remote is None or job.remote.provider != self._server.alias:
            return
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await self._server.delete(job.remote.id, asyncio.sleep)
        except (ProviderError, TimeoutError) as error:
            _warn_of(job, self._server, error)

    def show_previews(self, wanted: bool) -> None:
        """Do nothing: a provider sends none."""

    async def stop(self) -> None:
        self._is_stopped = True
        if self._task is not None:
            self._task.cancel()


def provider_workers(
    providers: Mapping[str, Provider], moderator: Moderator | None, mark: str = ""
) -> list[ProviderWorker]:
    """Workers of providers by alias: for each as many as it makes jobs at once.

    mark: words on every frame, in place of those that a request asks for
    """
    workers, inspector = list[ProviderWorker](), Inspector(UploadBounds())
    for alias, provider in providers.items():
        server = Server(alias, provider, Outgoing(PRIVATE if provider.allow_private else ()))
        names = [f"{alias} {number}" for number in range(1, provider.jobs + 1)]
        workers += [ProviderWorker(name, server, provider.models, inspector, moderator, mark) for name in names]
    return workers


class Errand:
    """A job at a provider. ended: set to give it up; the video is then deleted there"""

    def __init__(
        self,
        server: Server,
        inspector: Inspector,
        moderator: Moderator | None,
        assignment: Assignment,
        report: Callable[[Report], None],
        mark: str = "",
    ) -> None:
        self._server, self._inspector, self._moderator, self._report = server, inspector, moderator, report
        self._mark = mark
        self.job, self._folder, self._given = assignment.job, assignment.folder, assignment
        self.ended = asyncio.Event()
        self._remote: Remote | None = None
        self._making: asyncio.Task[Remote] | None = None
        self._notes: list[str] = []
        self._shown: tuple[float, Event] | None = None

    async def outcome(self) -> Made | Failure | State:
        """Have the video made, and write its files."""
        began = time.perf_counter()
        try:
            self._request = self.job.parsed()
            for one in _media(self._request).values():
                await self._moderated(self._given.media[one.sha256], one.name or "a clip")
            video = await self._finished()
            found = await self._fetched()
            seconds = {self._server.alias: time.perf_counter() - began}
            return await asyncio.to_thread(self._written, found, video, seconds)
        except _Ended:
            await self._given_up()
            return State.CANCELLED
        except ProviderError as error:
            return error.failure
        except Refusal as refusal:
            return self._server.failed("invalid_video", refusal.message).failure
        except StorageFull as error:
            return Failure("storage_full", str(error))
        except Blocked as error:
            return Failure("moderation_blocked", str(error))
        except ModerationFailed as error:
            return Failure("moderation_failed", str(error))
        except UsageError as error:
            return Failure("invalid_request", str(error))
        finally:
            if self._making is not None:
                self._making.cancel()

    async def _finished(self) -> Mapping[str, Any]:
        """Video object of the provider, once it is completed."""
        is_minisora = await self._unless_ended(self._server.is_minisora(self._pause))
        known, key = self.job.remote, _key(self.job)
        sent, dropped = self._fields(is_minisora)
        if dropped:
            self._notes = [f"{self._server.alias} does not take {', '.join(dropped)}: not sent"]
        if known is not None and known.provider == self._server.alias:
            if known.key == key:
                self._remote = known
            else:  # the job was changed while it waited again
                with suppress(ProviderError):
                    await self._server.delete(known.id, self._pause)
        if self._remote is None:
            self._making = asyncio.create_task(self._created(key, sent))
            self._remote = await self._unless_ended(self._making, cancels=False)
        return await self._followed(self._remote)

    async def _created(self, key: str, sent: Mapping[str, Any]) -> Remote:
        clip = getattr(self._request, "clip", None)
        source = self._given.remotes.get(clip.sha256) if isinstance(clip, Named) else None
        ids = [source.id, None] if source is not None and source.provider == self._server.alias else [None]
        for video_id in ids:
            try:
                answer = await self._server.ask(self._asked(key, video_id, sent), self._pause)
                break
            except ProviderError as error:
                if error.status != 404 or video_id is None:  # it was deleted there
                    raise
        made = answer.data.get("id")
        if not isinstance(made, str) or not _ID.fullmatch(made):
            raise self._server.failed("provider_error", "the answer has no id of a video.")
        remote = Remote(provider=self._server.alias, id=made, key=key)
        self._report(Report(job_id=self.job.id, remote=remote))
        return remote

    def _fields(self, is_minisora: bool) -> tuple[dict[str, Any], list[str]]:
        """Fields to send, and the names of those that the provider does not take."""
        request, more = self._request, _set_fields(self._request)
        has_all = is_minisora or "clip" not in about(type(request))  # others go by the clip's model and size
        sent = {"prompt": more.pop("prompt")} | ({"model": self.job.model.partition("/")[2]} if has_all else {})
        if (seconds := more.pop("after" if isinstance(request, Extend) else "seconds", None)) is not None:
            sent["seconds"] = f"{seconds:g}"
        if (size := more.pop("size", None)) is not None and has_all:
            sent["size"] = size
        return ({**sent, **more}, []) if is_minisora else (sent, list(more))

    def _asked(self, key: str, source: str | None, sent: Mapping[str, Any]) -> Ask:
        """Call that makes the video. source: id there of the clip; without one it is uploaded"""
        if source is None:
            path = {"extend": "/videos/extensions", "edit": "/videos/edits"}.get(self.job.verb, "/videos")
            files = {name: self._given.media[one.sha256] for name, one in _media(self._request).items()}
            return Ask(method="POST", path=path, fields=sent, files=files, is_form=True, key=key)
        if isinstance(self._request, Edit):
            path = f"/videos/{quote(source, safe='')}/remix"
            return Ask(method="POST", path=path, fields=sent, key=key)
        return Ask(method="POST", path="/videos/extensions", fields={**sent, "video": {"id": source}}, key=key)

    async def _followed(self, remote: Remote) -> Mapping[str, Any]:
        """Poll until the video is completed."""
        least, wait, most = POLL_SECONDS
        while True:
            ask = Ask(method="GET", path=f"/videos/{quote(remote.id, safe='')}")
            answer = await self._unless_ended(self._server.ask(ask, self._pause))
            video = answer.data
            state = STATES.get(str(video.get("status")).lower())
            if state is State.DONE:
                return video
            if state is State.FAILED:
                error = video.get("error")
                about = error if isinstance(error, Mapping) else {"message": error}
                raise self._server.failed(about.get("code"), str(about.get("message") or "the video failed."))
            self._show(video)
            wait = min(most, 1.3 * wait)
            asked = answer.headers.get("openai-poll-after-ms", "")
            await self._pause(min(most, max(least, int(asked) / 1000)) if asked.isdecimal() else wait)

    def _show(self, video: Mapping[str, Any]) -> None:
        progress = video.get("progress")
        done = int(min(100, max(0, progress))) if isinstance(progress, int | float) else 0  # NaN is 0
        event, ours = Event(self._server.alias, done, 100), video.get("minisora")
        stage = ours.get("stage") if isinstance(ours, Mapping) else None
        if isinstance(stage, Mapping) and all(isinstance(stage.get(name), int) for name in ("done", "total")):
            event = Event(plain(str(stage.get("name")))[:40], stage["done"], stage["total"])
        if self._shown != (done, event):
            self._shown = done, event
            self._report(Report(job_id=self.job.id, event=event, progress=done / 100))

    async def _fetched(self) -> Inspected:
        """Write the video's content, and decode it."""
        assert self._remote is not None
        with storage():
            self._folder.mkdir()
        path, video_id = self._folder / _PART, quote(self._remote.id, safe="")
        await self._unless_ended(self._server.download(video_id, path, MOST_BYTES, self._pause))
        found = await self._unless_ended(self._inspector.inspect(path, "its content", with_sheet=True))
        await self._moderated(path, "the video")
        mark = self._mark or getattr(self._request, "mark", "")
        return await self._marked(path, found, mark) if mark and _suffix(found) else found

    async def _marked(self, path: Path, found: Inspected, mark: str) -> Inspected:
        """Put words on every frame, in the file's own place. Raises ProviderError."""
        bounds, target = DownloadBounds(), path.with_name(f"marked.{_suffix(found)}")
        wanted = Conversion(source=str(path), target=str(target), height=found.height, width=found.width, mark=mark)
        work = output_of(command(wanted, bounds), folder=self._folder, seconds=bounds.decode_seconds)
        answer = await self._unless_ended(work)
        if not answer or any(json.loads(answer).values()):
            raise self._server.failed("not_marked", "its video is too large for the mark to be put on it here.")
        with storage():
            target.replace(path)
        self._notes.append("the mark was put on here: the video was encoded again")
        return await self._unless_ended(self._inspector.inspect(path, "its content", with_sheet=True))

    async def _moderated(self, path: Path, what: str) -> None:
        if self._moderator is not None:
            await self._unless_ended(asyncio.to_thread(check_file, self._moderator, path, what))

    def _written(self, found: Inspected, video: Mapping[str, Any], seconds: Mapping[str, float]) -> Made:
        """Complete the files of the result. Raises ProviderError for content that is no video."""
        suffix = _suffix(found)
        if suffix is None:
            raise self._server.failed("invalid_video", f"its content is {found.type}, which is no video.")
        pictures = {"thumbnail": "thumbnail.jpg", "spritesheet": "spritesheet.jpg"}
        with storage():
            (self._folder / _PART).rename(self._folder / f"video.{suffix}")
            (self._folder / pictures["thumbnail"]).write_bytes(found.thumbnail)
            (self._folder / pictures["spritesheet"]).write_bytes(found.sheet)
            (self._folder / "request.json").write_text(saved.written(self._request, None) + "\n", encoding="utf-8")
        ours = video.get("minisora")
        notes = ours.get("notes") if isinstance(ours, Mapping) else None
        said = [plain(str(note)) for note in notes[:_MOST_NOTES]] if isinstance(notes, list) else []
        facts = {
            **{name: getattr(found, name) for name in ("width", "height", "fps", "num_frames")},
            "notes": (*self._notes, *(f"{self._server.alias}: {note}" for note in said)),
            "timings": seconds,
        }
        return seal(self._folder, {"video": f"video.{suffix}", **pictures, "request": "request.json"}, facts)

    async def _given_up(self) -> None:
        """Delete the video there, if the provider answers soon."""
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                if self._remote is None and self._making is not None:
                    self._remote = await self._making
                if self._remote is not None:
                    await self._server.delete(self._remote.id, asyncio.sleep)
        except _Ended:  # before it was asked for
            pass
        except (ProviderError, TimeoutError) as error:
            _warn_of(self.job, self._server, error)

    async def _unless_ended(self, work: Awaitable[Answer], *, cancels: bool = True) -> Answer:
        """Wait for a call, or raise _Ended if the job is given up. cancels: the call then, too"""
        task, ending = asyncio.ensure_future(work), asyncio.ensure_future(self.ended.wait())
        try:
            await asyncio.wait({task, ending}, return_when=_FIRST)
            if not task.done():
                raise _Ended
            return task.result()
        finally:
            ending.cancel()
            if cancels:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.ended.wait()
            raise _Ended


class _Ended(Exception):
    """The job is given up."""


def _warn_of(job: Job, server: Server, error: Exception) -> None:
    _log.warning("job %s: %s may still make its video: %s", job.id, server.alias, error or "no answer")


def _suffix(found: Inspected) -> str | None:
    """Suffix of a video's file; None for what is no video."""
    return _FORMATS.get(found.type) if found.kind == "video" else None


def _key(job: Job) -> str:
    """Key of a job's request, the same at each of its attempts."""
    text = json.dumps([job.id, job.model, job.verb, job.request], sort_keys=True)
    return f"minisora-{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def _set_fields(request: Request) -> dict[str, Any]:
    """Prompt, seed, and the other fields that differ from their defaults, as JSON; no media."""
    data = request.to_data()
    defaults = {f.name: f.default for f in fields(request)}  # type: ignore[arg-type]
    changed = [name for name, usual in defaults.items() if getattr(request, name) not in (usual, None)]
    return {name: data[name] for name in ("prompt", "seed", *changed) if name not in (*MEDIA, *_STRUCTURE, *_OURS)}


def _media(request: Request) -> dict[str, Named]:
    """Media of a request by the names of the API's parts."""
    return {MEDIA[name]: one for name in MEDIA if isinstance(one := getattr(request, name, None), Named)}
