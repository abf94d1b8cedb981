"""Routes for the queue: cancel, pause, resume, move, edit and retry a job.

Here: what a page does with jobs. Not here: making them (videos.py, verbs.py), the queue itself
(dispatch.py).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request as Call
from starlette.responses import Response

from minisora.generate.request import Request
from minisora.studio.api import objects
from minisora.studio.api.bounds import check_bounds
from minisora.studio.api.errors import Refusal, invalid
from minisora.studio.api.form import read_form
from minisora.studio.api.media import Media
from minisora.studio.api.requests import with_own_names
from minisora.studio.api.schema import errors, json_body
from minisora.studio.api.state import Facts, Known, Parts
from minisora.studio.api.submit import Draft, submit
from minisora.studio.api.verbs import compose
from minisora.studio.api.videos import answer, checked_id, job_of
from minisora.studio.jobs import Job

router = APIRouter(prefix="/v1/videos/{video_id}", tags=["queue"], responses=errors(400, 401, 403, 404, 409))
_MOVE: dict[str, Any] = {"type": "object", "properties": {"before": {"type": ["string", "null"]}}}


@router.post("/cancel", response_model=objects.Video)
async def cancel(video_id: str, studio: Parts, caller: Known) -> Response:
    """Stop a job, within a step if it runs; a finished one stays as it is."""
    return await answer(studio, await studio.dispatcher.cancel(checked_id(video_id), caller.sees))


@router.post("/pause", response_model=objects.Video)
async def pause(video_id: str, studio: Parts, caller: Known) -> Response:
    """Hold back a waiting job."""
    return await answer(studio, await studio.dispatcher.pause(checked_id(video_id), caller.sees))


@router.post("/resume", response_model=objects.Video)
async def resume(video_id: str, studio: Parts, caller: Known) -> Response:
    """Let a paused job wait again."""
    return await answer(studio, await studio.dispatcher.resume(checked_id(video_id), caller.sees))


@router.post("/move", response_model=objects.Video, openapi_extra=json_body(_MOVE))
async def move(video_id: str, call: Call, studio: Parts, caller: Known) -> Response:
    """Move a waiting job before another of its owner's, or to the end."""
    async with read_form(call, studio.incoming, studio.settings) as form:
        before = form.fields.get("before")
        if form.fields.keys() - {"before"} or not isinstance(before, str | None):
            raise invalid("move takes before: the id of a waiting job, or null for the end.", "before")
    target = None if before is None else checked_id(before)
    return await answer(studio, await studio.dispatcher.move(checked_id(video_id), caller.sees, target))


@router.patch("", response_model=objects.Video, openapi_extra=json_body({"type": "object"}))
async def edit(video_id: str, call: Call, studio: Parts, caller: Known) -> Response:
    """Change fields of a waiting job; those that are not given stay."""
    job = await job_of(studio, caller.sees, video_id)
    facts = studio.facts(job.model)
    async with read_form(call, studio.incoming, studio.settings) as form:
        media = Media(studio.store, studio.uploads, caller.sees)
        draft = await _changed(job, form.fields, media, facts)
        if media.new:
            raise Refusal(400, "a waiting job takes media by id: POST /v1/library keeps a file.", "invalid_value")
        check_bounds(draft.request, studio.settings.video, facts.fps, media.clip_seconds)
        about = {"parent": draft.parent, "client": {**job.client, **draft.client, "media": media.ids}}
        return await answer(studio, await studio.dispatcher.edit(job.id, caller.sees, draft.request, **about))


@router.post("/retry", response_model=objects.Video, openapi_extra=json_body({"type": "object"}))
async def retry(video_id: str, call: Call, studio: Parts, caller: Known) -> Response:
    """Make a new job of a job's request; given fields, such as a seed, replace its own."""
    job = await job_of(studio, caller.sees, video_id)
    async with read_form(call, studio.incoming, studio.settings) as form:
        form.fields = {"model": job.client.get("model", ""), "format": job.format, **form.fields}
        return await answer(studio, await submit(studio, caller, call, form, partial(_again, job)))


async def _again(job: Job, fields: dict[str, Any], media: Media, facts: Facts) -> Draft:
    draft = await _changed(job, fields, media, facts)
    kept = {"remixed_from": job.client.get("remixed_from")}
    return Draft(request=draft.request, parent=job.parent, client={**draft.client, **kept})


async def _changed(job: Job, fields: dict[str, Any], media: Media, facts: Facts) -> Draft:
    """Draft of a job's verb: its own fields, and those that are given in their place."""
    old = objects.shown_request(dict(job.request), job.client.get("media", {}))
    given = with_own_names(_kind(job), fields, media, float(old.get("fps") or facts.fps))
    kept = {name: value for name, value in old.items() if value is not None and name not in given}
    return await compose(_kind(job), {**kept, **given}, media, facts)


def _kind(job: Job) -> type[Request]:
    return type(job.parsed())
