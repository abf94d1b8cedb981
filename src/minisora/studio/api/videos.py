"""Routes in the shape of OpenAI's videos API, as its client calls them.

The shape was read from the client, openai 2.8 to 3.57; the service itself has ended. Multipart and
JSON are taken alike. Sizes, lengths and model names of that service are taken too: the model makes
what it makes well, which is brought to what was asked, and the object says so.

Here: create, edits, extensions, remix, characters, retrieve, list, content, delete. Not here: all
verbs with all their fields (verbs.py), the queue (control.py).
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request as Call
from starlette.responses import FileResponse, JSONResponse, Response

from minisora.generate.edits import Edit
from minisora.generate.request import Request
from minisora.generate.verbs import Animate, Extend, Generate
from minisora.studio.api import objects
from minisora.studio.api.downloads import As, Chosen
from minisora.studio.api.errors import Refusal, invalid
from minisora.studio.api.form import Form, read_form
from minisora.studio.api.media import ID, Media
from minisora.studio.api.requests import request_of
from minisora.studio.api.schema import body_of, create_body, errors
from minisora.studio.api.state import Facts, Known, Parts, Studio
from minisora.studio.api.submit import Compose, Draft, submit
from minisora.studio.jobs import Item, Job, NotFound, State
from minisora.studio.names import disposition, file_name
from minisora.studio.results import TYPES

router = APIRouter(prefix="/v1/videos", tags=["videos"], responses=errors(400, 401, 403, 404, 413, 415, 429))
_DATA = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,", re.ASCII)
_MOST_SEED = 2**31
POLL_SECONDS = 0.1, 2.0  # least and most, of openai-poll-after-ms

Order = Literal["asc", "desc"]
Variant = Literal["video", "thumbnail", "spritesheet", "request"]


@router.post("", response_model=objects.Video, openapi_extra=create_body())
async def create(call: Call, studio: Parts, caller: Known) -> Response:
    """Make a video from a prompt, and from a picture if there is an input_reference."""
    async with read_form(call, studio.incoming, studio.settings) as form:
        return await answer(studio, await submit(studio, caller, call, form, partial(_created, form)))


@router.post("/edits", response_model=objects.Video, openapi_extra=body_of(Edit, {"clip": "video"}))
async def edit(call: Call, studio: Parts, caller: Known) -> Response:
    """Change a video as a prompt says."""
    return await _changed(call, studio, caller, partial(_edited, None))


@router.post("/extensions", response_model=objects.Video, openapi_extra=body_of(Extend, {"clip": "video"}, ["seconds"]))
async def extend(call: Call, studio: Parts, caller: Known) -> Response:
    """Go on with a video for some seconds."""
    return await _changed(call, studio, caller, _extended)


@router.post("/characters", status_code=501, responses=errors(501))
@router.get("/characters/{character_id}", status_code=501, responses=errors(501))
async def characters(caller: Known) -> Response:
    """Answer that characters are not supported."""
    message = "characters are not supported here. Give a picture as input_reference instead."
    return Refusal(501, message, "not_supported", headers={"x-should-retry": "false"}).response()


@router.post("/{video_id}/remix", response_model=objects.Video, openapi_extra=body_of(Edit, {"clip": ""}))
async def remix(video_id: str, call: Call, studio: Parts, caller: Known) -> Response:
    """Change a finished video as a prompt says, as a new video."""
    source = await job_of(studio, caller.sees, video_id)
    return await _changed(call, studio, caller, partial(_edited, source.id))


@router.get("", response_model=objects.VideoPage)
async def listed(
    studio: Parts,
    caller: Known,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Order = "desc",
    state: Annotated[list[State] | None, Query(description="As in minisora.state; all if not given.")] = None,
) -> Response:
    """List videos, newest first."""
    try:
        found = await studio.store.jobs(
            caller.sees,
            after=None if after is None else checked_id(after),
            limit=limit,
            newest_first=order == "desc",
            states=tuple(state or State),
        )
    except NotFound:
        raise invalid("after is the id of a video of a page before.", "after") from None
    videos = [objects.video(job, studio.dispatcher.update_of(job)) for job in found.values]
    return JSONResponse(objects.page(videos, found.more).model_dump())


@router.get("/{video_id}", response_model=objects.Video)
async def retrieve(video_id: str, studio: Parts, caller: Known) -> Response:
    """Get a video's state."""
    return await answer(studio, await job_of(studio, caller.sees, video_id))


@router.delete("/{video_id}", response_model=objects.Deleted)
async def delete(video_id: str, studio: Parts, caller: Known) -> Response:
    """Delete a video; one that is being made is cancelled first. The library can restore it."""
    await studio.dispatcher.delete(checked_id(video_id), caller.sees)
    return JSONResponse(objects.Deleted(id=video_id).model_dump())


@router.head("/{video_id}/content", include_in_schema=False)
@router.get("/{video_id}/content", response_class=FileResponse, responses={200: {"content": {"video/mp4": {}}}})
async def content(
    video_id: str,
    call: Call,
    studio: Parts,
    caller: Known,
    chosen: As,
    variant: Variant = "video",
    download: bool = False,
) -> Response:
    """Get a finished video's file, or a picture of it; ranges are answered."""
    job = await job_of(studio, caller.sees, video_id)
    if job.state is not State.DONE or job.made is None:
        raise Refusal(404, f"{video_id} is {objects.STATUS[job.state]}: it has no content.", "video_not_ready")
    if variant not in job.made.files:
        raise Refusal(404, f"{video_id} has no {variant}.", "not_found", "variant")
    item = await studio.store.library.item(job.id, caller.sees)
    if chosen.is_other(item, variant):
        return await converted(call, studio, item, chosen, download=download)
    file = job.made.files[variant]
    path = studio.dispatcher.result(job, variant)
    name = file_name(item.name, path.suffix[1:], "" if variant == "video" else variant)
    return file_answer(call, path, file.type, file.sha256, name, download=download)


async def converted(call: Call, studio: Studio, item: Item, chosen: Chosen, *, download: bool) -> Response:
    """Answer with an item in another format."""
    path, form = await studio.downloads.find(item, chosen), str(chosen.format)
    etag = f"{path.stem}-{path.stat().st_mtime_ns:x}-{form}"  # made again, it may have other bytes
    part = f"{chosen.at:.3f} s" if chosen.at else ""
    return file_answer(call, path, TYPES[form], etag, file_name(item.name, form, part), download=download)


def file_answer(call: Call, path: Path, kind: str, tag: str, name: str, *, download: bool) -> Response:
    """Answer with a file; with 304 if the client has it already.

    tag:  changes with its bytes
    name: of a download
    """
    if not path.is_file():
        raise Refusal(404, "the file is gone.", "not_found")
    etag = f'"{tag}"'
    headers = {"etag": etag, "cache-control": "private, no-cache"}
    if etag in (each.strip() for each in call.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    headers["content-disposition"] = disposition(name, download=download)
    return FileResponse(path, headers=headers, media_type=kind)


async def answer(studio: Studio, job: Job) -> JSONResponse:
    """Video object of a job; while it is unfinished, with the time until it is worth asking."""
    update = studio.dispatcher.update_of(job)
    headers = {}
    if not job.state.is_final:
        least, most = POLL_SECONDS
        expected = 1.0 if update.outlook.done_in is None else update.outlook.done_in
        headers["openai-poll-after-ms"] = str(round(1000 * min(max(least, expected / 2), most)))
    return JSONResponse(objects.video(job, update).model_dump(), headers=headers)


async def job_of(studio: Studio, owner: str | None, video_id: str) -> Job:
    """Raises NotFound for an id that is none."""
    return await studio.store.job(checked_id(video_id), owner)


def checked_id(video_id: str) -> str:
    """Raises NotFound for text that is no id: nothing else reaches the database."""
    if not ID.fullmatch(video_id):
        raise NotFound(f"there is no video {video_id[:80]!r}.")
    return video_id


async def _changed(call: Call, studio: Studio, caller: Known, compose: Compose) -> JSONResponse:
    async with read_form(call, studio.incoming, studio.settings) as form:
        return await answer(studio, await submit(studio, caller, call, form, compose))


async def _created(form: Form, fields: dict[str, Any], media: Media, facts: Facts) -> Draft:
    kind: type[Request] = Generate
    if (reference := fields.pop("input_reference", None)) is not None:
        kind, fields["picture"] = Animate, _picture(reference, form)
    request = await request_of(kind, _with_seed(fields), media, facts.fps)
    asked = getattr(request, "seconds", None)
    size = getattr(request, "size", None)
    seconds = f"{facts.seconds if asked is None else asked:.6g}"
    shown = facts.shown_size if size is None else f"{size[1]}x{size[0]}"
    return Draft(request=request, client={"seconds": seconds, "size": shown})


def _picture(reference: Any, form: Form) -> Any:
    """Picture of an input_reference: a file, an item's id, or a data: address."""
    if isinstance(reference, list):
        raise invalid(
            "give one input_reference. POST /v1/videos/animate takes more pictures, as at[SECONDS].", "input_reference"
        )
    address = reference.get("image_url") if isinstance(reference, Mapping) else reference
    if isinstance(address, Mapping):
        address = address.get("url")
    if isinstance(address, str):
        if not (found := _DATA.match(address)):
            message = "this server fetches no addresses: send the picture as a file, or as a data: address in base64."
            raise invalid(message, "input_reference", "address_refused")
        try:
            return form.kept(base64.b64decode(address[found.end() :], validate=True), "input_reference")
        except (binascii.Error, ValueError):
            raise invalid("the data: address is not base64.", "input_reference") from None
    if isinstance(reference, Mapping) and isinstance(reference.get("file_id"), str):
        return {"id": reference["file_id"]}
    return reference


async def _edited(video_id: str | None, fields: dict[str, Any], media: Media, facts: Facts) -> Draft:
    """Draft of an edit, or of a remix of a video."""
    if video_id is not None:
        fields = {**fields, "video": {"id": video_id}}
    request, client = await _of_video(Edit, fields, media, facts)
    return Draft(request=request, parent=_parent(media), client={**client, "remixed_from": video_id})


async def _extended(fields: dict[str, Any], media: Media, facts: Facts) -> Draft:
    if "seconds" in fields:
        fields = {name: value for name, value in fields.items() if name != "seconds"} | {"after": fields["seconds"]}
    request, client = await _of_video(Extend, fields, media, facts)
    seconds = f"{media.clip_seconds + request.after + request.before:.6g}"
    return Draft(request=request, parent=_parent(media), client={**client, "seconds": seconds})


async def _of_video(kind: Any, fields: dict[str, Any], media: Media, facts: Facts) -> tuple[Any, dict[str, Any]]:
    """Request on a video, at its own size if it was made here."""
    if isinstance(fields.get("video"), str):
        fields = {**fields, "video": {"id": fields["video"]}}
    request = await request_of(kind, _with_seed(fields), media, facts.fps)
    size = media.sizes.get("clip")
    if request.size is None and size is not None:
        request = kind.of_data({**request.to_data(), "size": size})
    shown = size or facts.shown_size
    return request, {"seconds": f"{media.clip_seconds:.6g}", "size": shown}


def _with_seed(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields with a drawn seed, if none is given: the same prompt then gives another video."""
    return fields if "seed" in fields else {**fields, "seed": secrets.randbelow(_MOST_SEED)}


def _parent(media: Media) -> str | None:
    return next((item_id for item_id in media.ids.values() if item_id.startswith("video_")), None)
