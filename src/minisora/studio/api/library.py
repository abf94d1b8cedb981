"""Routes of the library: clips and pictures, uploads and the videos of jobs.

Here: list, search, upload, change, lineage, content, delete and its undo. Not here: rows
(library.py), files (uploads.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request as Call
from starlette.responses import FileResponse, JSONResponse, Response

from minisora.errors import UsageError
from minisora.generate import saved
from minisora.generate.media import Clip, Named
from minisora.studio.api import objects
from minisora.studio.api.auth import Caller
from minisora.studio.api.downloads import As
from minisora.studio.api.errors import Refusal, invalid
from minisora.studio.api.form import Upload, read_form, read_model
from minisora.studio.api.media import ID, Media
from minisora.studio.api.requests import media_of
from minisora.studio.api.schema import FILE, errors, json_body
from minisora.studio.api.state import Known, Parts, Studio
from minisora.studio.api.submit import check_quota, kept_files, key_of, key_reused, sender
from minisora.studio.api.videos import Order, converted, file_answer
from minisora.studio.jobs import Item, NotFound
from minisora.studio.names import file_name

router = APIRouter(prefix="/v1/library", tags=["library"], responses=errors(400, 401, 403, 404, 413, 415, 429))
_FILES = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": {"type": "object", "properties": {"file": FILE}, "required": ["file"]}}
        },
    }
}
MOST_RELATIVES = 200  # of an item's lineage
_SEARCHED = 500  # items read at a time
Tag = Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[^\x00-\x1f]+$")]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]


class ItemChange(BaseModel):
    """Changes of an item; `tags` replaces all of them."""

    model_config = ConfigDict(extra="forbid")
    name: Name | None = None
    favourite: bool | None = None
    tags: Annotated[list[Tag], Field(max_length=50)] | None = None


class Choice(BaseModel):
    """Part of the library.

    search: words of an item's name or its tags
    sha256: of an item's file
    """

    after: Annotated[str | None, Field(pattern=ID.pattern)] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    order: Order = "desc"
    favourite: bool | None = None
    tag: Tag | None = None
    sha256: Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$")] = None
    deleted: bool = False
    search: Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")] = ""


class Lineage(BaseModel):
    """Items that an item was made from, and those that were made from it, at any remove."""

    item: objects.LibraryItem
    ancestors: list[objects.LibraryItem]
    descendants: list[objects.LibraryItem]


@router.get("", response_model=objects.LibraryPage)
async def listed(studio: Parts, caller: Known, chosen: Annotated[Choice, Query()]) -> Response:
    """List items, newest first."""
    after, limit, words = chosen.after, chosen.limit, chosen.search.lower().split()
    pages = partial(
        studio.store.library.items,
        caller.sees,
        newest_first=chosen.order == "desc",
        favourite=chosen.favourite,
        tag=chosen.tag,
        sha256=chosen.sha256,
        deleted=chosen.deleted,
    )
    found, more = list[Item](), True
    try:
        while more and len(found) <= limit:
            page = await pages(after=after, limit=_SEARCHED if words else limit + 1)
            found += [one for one in page.values if _matches(one, words)]
            after, more = (page.values[-1].id if page.values else after), page.more
    except NotFound:
        raise invalid("after is the id of an item of a page before.", "after") from None
    shown = [objects.item(one) for one in found[:limit]]
    return JSONResponse(objects.item_page(shown, len(found) > limit).model_dump())


@router.post("", response_model=objects.LibraryItem, openapi_extra=_FILES)
async def upload(call: Call, studio: Parts, caller: Known) -> Response:
    """Keep a video or a picture; sent again with its Idempotency-Key, it is kept once.

    If minisora made it, the answer has its `request`, or says in `unread` why it is of no use here.
    """
    async with read_form(call, studio.incoming, studio.settings) as form:
        file = form.fields.get("file")
        if not isinstance(file, Upload) or len(form.fields) > 1:
            raise invalid("send one file, as the part `file` of a multipart form.", "file")
        media = Media(studio.store, studio.uploads, caller.sees)
        await media.named(file, "file", Clip)
        new_id, _, about = media.new[file.sha256]
        key = key_of(call)
        item_id = f"upload_{hashlib.sha256(f'{sender(caller)} {key}'.encode()).hexdigest()[:32]}" if key else new_id
        async with studio.turn(f"quota {caller.owner}"):
            item = await _earlier(studio, caller, item_id, file.sha256) if key else None
            if item is None:
                await check_quota(studio, caller, file.size_bytes, jobs=0)
                async with kept_files(studio, media):
                    item = await studio.uploads.add(file, about, item_id, caller.owner)
    unread = "" if about.request is None else _unread(about.request, item.name)
    brought = {"request": None if unread else about.request, "unread": unread or None}
    return JSONResponse({**objects.item(item).model_dump(), **brought})


@router.get("/{item_id}", response_model=objects.LibraryItem)
async def one(item_id: str, studio: Parts, caller: Known) -> Response:
    """Get an item."""
    return JSONResponse(objects.item(await _item(studio, caller, item_id)).model_dump())


@router.patch("/{item_id}", response_model=objects.LibraryItem, openapi_extra=json_body(ItemChange.model_json_schema()))
async def change(item_id: str, call: Call, studio: Parts, caller: Known) -> Response:
    """Change an item's name, tags, or whether it is a favourite."""
    given = await read_model(call, studio.incoming, studio.settings, ItemChange)
    item = await _item(studio, caller, item_id)
    changes = {name: value for name, value in given.model_dump().items() if value is not None}
    item = await studio.store.library.change(item.id, caller.sees, changes)
    return JSONResponse(objects.item(item).model_dump())


@router.delete("/{item_id}", response_model=objects.LibraryItem)
async def delete(item_id: str, studio: Parts, caller: Known) -> Response:
    """Delete an item, with the job that made it; `restore` undoes it for a day."""
    item = await studio.store.library.delete(_checked(item_id), caller.sees)
    return JSONResponse(objects.item(item).model_dump())


@router.post("/{item_id}/restore", response_model=objects.LibraryItem)
async def restore(item_id: str, studio: Parts, caller: Known) -> Response:
    """Undo a deletion."""
    item = await studio.store.library.restore(_checked(item_id), caller.sees)
    return JSONResponse(objects.item(item).model_dump())


@router.get("/{item_id}/lineage", response_model=Lineage)
async def lineage(item_id: str, studio: Parts, caller: Known) -> Response:
    """Get the items that an item was made from, and those that were made from it."""
    item = await _item(studio, caller, item_id)
    ancestors = await _relatives(studio, caller, item, up=True)
    descendants = await _relatives(studio, caller, item, up=False)
    found = Lineage(
        item=objects.item(item),
        ancestors=[objects.item(each) for each in ancestors],
        descendants=[objects.item(each) for each in descendants],
    )
    return JSONResponse(found.model_dump())


@router.head("/{item_id}/content", include_in_schema=False)
@router.get("/{item_id}/content", response_class=FileResponse, responses={200: {"content": {"video/mp4": {}}}})
async def content(
    item_id: str,
    call: Call,
    studio: Parts,
    caller: Known,
    chosen: As,
    variant: Literal["video", "thumbnail"] = "video",
    download: bool = False,
) -> Response:
    """Get an item's file, or a picture of it; ranges are answered."""
    item = await _item(studio, caller, item_id)
    if chosen.is_other(item, variant):
        return await converted(call, studio, item, chosen, download=download)
    if variant == "thumbnail":
        if item.is_upload:
            path, kind = await studio.uploads.thumbnail(item), "image/jpeg"
        else:
            job = await studio.store.job(item.id, caller.sees)
            assert job.made is not None  # it made the item
            path, kind = studio.dispatcher.result(job, variant), job.made.files[variant].type
        name = file_name(item.name, _suffix(kind), variant)
        return file_answer(call, path, kind, f"{item.sha256}-{variant}", name, download=download)
    blob = studio.blobs.find(item.sha256)
    if blob is None:
        raise Refusal(404, f"the file of {item.id} is gone.", "not_found")
    name = file_name(item.name, _suffix(item.type))
    return file_answer(call, blob, item.type, item.sha256, name, download=download)


async def _earlier(studio: Studio, caller: Caller, item_id: str, sha256: str) -> Item | None:
    """Item that the same call made before; one that was deleted meanwhile is restored.

    Raises Refusal for another file.
    """
    library = studio.store.library
    for found in (library.item, library.restore):
        try:
            item = await found(item_id, caller.sees)
        except NotFound:
            continue
        if item.sha256 != sha256:
            raise key_reused()
        return item
    return None


def _unread(request: Mapping[str, Any], name: str) -> str:
    """Reason why a saved request cannot be used by this version; empty if it can."""
    try:
        found = saved.parsed(request, name).request
    except UsageError as error:
        return str(error)
    if all(isinstance(each, Named) for each in media_of(found)):
        return ""
    return f"{name} names files by their paths. Make it again from its own request, which names them by content."


def _suffix(media_type: str) -> str:
    kind = media_type.partition("/")[2].removeprefix("x-")
    return {"quicktime": "mov", "matroska": "mkv", "jpeg": "jpg", "octet-stream": "bin"}.get(kind, kind)


def _matches(item: Item, words: list[str]) -> bool:
    text = " ".join([item.name, *item.tags]).lower()
    return all(word in text for word in words)


async def _relatives(studio: Studio, caller: Caller, item: Item, *, up: bool) -> list[Item]:
    """Ancestors or descendants, the nearest first; MOST_RELATIVES at most."""
    seen, found, left = {item.id}, list[Item](), [item]
    while left and len(found) < MOST_RELATIVES:
        one, nearer = left.pop(0), list[Item]()
        if up:
            for parent in one.parents:
                try:
                    nearer.append(await studio.store.library.item(parent, caller.sees))
                except NotFound:  # deleted
                    continue
        else:
            nearer = await studio.store.library.children(one.id, caller.sees)
        for each in nearer:
            if each.id not in seen:
                seen.add(each.id)
                found.append(each)
                left.append(each)
    return found[:MOST_RELATIVES]


async def _item(studio: Studio, caller: Caller, item_id: str) -> Item:
    return await studio.store.library.item(_checked(item_id), caller.sees)


def _checked(item_id: str) -> str:
    if not ID.fullmatch(item_id):
        raise NotFound(f"there is no item {item_id[:80]!r}.")
    return item_id
