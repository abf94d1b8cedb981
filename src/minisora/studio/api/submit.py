"""From a call to a job: once, however often the call is repeated.

OpenAI's client repeats a call whose answer it did not get, marked by x-stainless-retry-count, with
no key. So such a call gets the job of the same fields and files that its sender made within a
quarter of an hour. Any client may send an Idempotency-Key instead.

Here: repeated calls, quotas, the model, keeping files. Not here: fields (requests.py), the queue
(dispatch.py).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request as Call

from minisora.generate.request import Request
from minisora.studio.api import log
from minisora.studio.api.auth import Caller
from minisora.studio.api.bounds import check_bounds
from minisora.studio.api.errors import Refusal, invalid, wait
from minisora.studio.api.form import Form
from minisora.studio.api.media import Media
from minisora.studio.api.objects import prompt_of
from minisora.studio.api.state import Facts, Studio
from minisora.studio.jobs import Job, NewJob

REPEATED_SECONDS = 900.0  # a call that times out is repeated after 600 s
RETRY_LATER_SECONDS = 5.0
_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_OWN = ("model", "format")  # fields of a job, not of its request


@dataclass(frozen=True, kw_only=True)
class Draft:
    """Request of a call, with what the video object has to say besides.

    parent: job that this one continues or changes
    client: see `Job.client`
    """

    request: Request
    parent: str | None = None
    client: Mapping[str, Any] = field(default_factory=dict)


Compose = Callable[[dict[str, Any], Media, Facts], Awaitable[Draft]]


async def submit(studio: Studio, caller: Caller, call: Call, form: Form, compose: Compose) -> Job:
    """Make a job of a call, or find the one that it made before.

    compose: makes the draft from the fields

    Raises Refusal, UsageError; nothing is kept then.
    """
    fields = dict(form.fields)
    own = {name: _word(fields.pop(name, ""), name) for name in _OWN}
    same = hashlib.sha256(f"{sender(caller)} {call.url.path} {form.fingerprint()}".encode()).hexdigest()
    key = key_of(call)
    retries = call.headers.get("x-stainless-retry-count", "0")
    is_retry = not key and retries.isdecimal() and int(retries[:9]) > 0
    since = time.time() - REPEATED_SECONDS if is_retry else None
    async with studio.turn(same):  # the first try may still be at work
        if (found := await _earlier(studio, caller, key, same, since)) is not None:
            return found
        studio.dispatcher.check_room()  # before any work on the fields
        facts = studio.facts(own["model"])
        media = Media(studio.store, studio.uploads, caller.sees)
        draft = await compose(fields, media, facts)
        check_bounds(draft.request, studio.settings.video, facts.fps, media.clip_seconds)
        new = NewJob(
            owner=caller.owner,
            request=draft.request,
            model=facts.name if draft.request.needs_model or facts.provider else "",
            format=own["format"],
            parent=draft.parent,
            key=key,
            fingerprint=same,
            repeated_since=since,
            client=_client(draft, media, facts, own["model"], call.state.request_id),
        )
        return await _kept(studio, caller, new, media)


def sender(caller: Caller) -> str:
    """Whose calls with one key are the same: a token's, or an address's."""
    return caller.owner if caller.token is not None else f"{caller.owner} {caller.address}"


def key_of(call: Call) -> str:
    """Idempotency-Key of a call; empty without one. Raises Refusal."""
    key = call.headers.get("idempotency-key", "")
    if key and not _KEY.fullmatch(key):
        raise invalid("an Idempotency-Key has 1 to 255 ASCII characters.", code="invalid_idempotency_key")
    return key


def key_reused() -> Refusal:
    message = "this Idempotency-Key was sent before with other fields. Use a new one."
    return invalid(message, code="idempotency_key_reused")


async def _kept(studio: Studio, caller: Caller, new: NewJob, media: Media) -> Job:
    """Keep the files of a job, the job, then its files as items."""
    async with studio.turn(f"quota {caller.owner}"):
        await check_quota(studio, caller, sum(upload.size_bytes for _, upload, _ in media.new.values()))
        async with kept_files(studio, media):
            job = await studio.dispatcher.submit(new)
    if job.client.get("call") == new.client["call"]:
        for item_id, upload, about in media.new.values():
            await studio.uploads.add(upload, about, item_id, caller.owner)
        said = {"prompt": prompt_of(job)} if studio.settings.log_prompts else {}
        log.write("job", job=job.id, verb=job.verb, owner=job.owner, request_id=new.client["call"], **said)
    return job


@asynccontextmanager
async def kept_files(studio: Studio, media: Media) -> AsyncIterator[None]:
    """Keep the files of a call for a row that the block writes; if it fails, remove them again."""
    async with AsyncExitStack() as stack:
        for sha256 in sorted(media.new):  # another call may send the same file
            await stack.enter_async_context(studio.turn(f"file {sha256}"))
        fresh = {sha256 for sha256 in media.new if studio.blobs.find(sha256) is None}
        try:
            for _, upload, about in media.new.values():
                await studio.uploads.keep(upload, about)
            yield
        except BaseException:
            if fresh:
                studio.uploads.discard(fresh - await studio.store.named_blobs())
            raise


async def check_quota(studio: Studio, caller: Caller, more_bytes: int, jobs: int = 1) -> None:
    """Raise Refusal for more jobs or bytes than a token allows."""
    if (token := caller.token) is None:
        return
    unfinished = studio.dispatcher.unfinished(caller.owner)
    if token.jobs_waiting is not None and unfinished + jobs > token.jobs_waiting:
        message = f"your token allows {token.jobs_waiting} unfinished jobs. Wait for one, or cancel one."
        raise wait(message, "quota_exceeded", RETRY_LATER_SECONDS)
    if token.bytes_kept is None:
        return
    usage = await studio.store.usage(caller.owner, time.time())
    if usage.size_bytes + more_bytes > token.bytes_kept:
        message = (
            f"your token keeps {token.bytes_kept:,} bytes, and has {usage.size_bytes:,}. Delete something: "
            "it counts for a day more, as long as it can be restored."
        )
        raise Refusal(403, message, "quota_exceeded")


async def _earlier(studio: Studio, caller: Caller, key: str, same: str, since: float | None) -> Job | None:
    """Job that the same call made before."""
    if key and (found := await studio.store.by_key(caller.owner, key)) is not None:
        if found.fingerprint != same:
            raise key_reused()
        return found
    return None if since is None else await studio.store.by_fingerprint(caller.owner, same, since)


def _client(draft: Draft, media: Media, facts: Facts, model: str, call: str) -> dict[str, Any]:
    notes, size = list(media.notes), getattr(draft.request, "size", None)
    if draft.request.needs_model and model not in ("", facts.name, facts.provider):
        notes.append(f"{model} is not served here: {facts.name} makes the video")
    if size is not None and facts.size != (0, 0) and size != facts.size:
        notes.append(f"{facts.name} delivers {facts.shown_size} by itself; it is asked for {size[1]}x{size[0]}")
    client = {"notes": notes, "media": media.ids, "call": call}
    return {"model": model or facts.name, **draft.client, **client}


def _word(value: object, name: str) -> str:
    if not isinstance(value, str) or len(value) > 200:
        raise invalid(f"{name} is a name.", name)
    return value
