"""POST /v1/videos/{verb}: every verb, with the fields of its request.

Here: one route for each verb. Not here: the verbs (generate/), OpenAI's own routes (videos.py).
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request as Call
from starlette.responses import JSONResponse, Response

from minisora.generate.request import Request
from minisora.generate.verbs import VERBS
from minisora.studio.api import objects
from minisora.studio.api.form import read_form
from minisora.studio.api.media import Media
from minisora.studio.api.packed import packed_answer
from minisora.studio.api.requests import request_of
from minisora.studio.api.schema import body_of, errors, verbs
from minisora.studio.api.state import Facts, Known, Parts
from minisora.studio.api.submit import Draft, submit
from minisora.studio.api.videos import answer

router = APIRouter(tags=["verbs"], responses=errors(400, 401, 403, 404, 413, 415, 429))


@router.get("/v1/verbs")
async def described(call: Call, caller: Known) -> Response:
    """List the verbs with their fields, each with its help, unit and bounds."""
    return packed_answer(call, _described(), "application/json")


@cache
def _described() -> bytes:
    return bytes(JSONResponse({"object": "list", "data": verbs()}).body)


async def compose(kind: type[Request], fields: dict[str, Any], media: Media, facts: Facts) -> Draft:
    """Draft of a verb from its fields."""
    request = await request_of(kind, fields, media, facts.fps)
    parent = next((item_id for item_id in media.ids.values() if item_id.startswith("video_")), None)
    seconds = media.clip_seconds + added_seconds(request, facts)
    size = getattr(request, "to", None) or getattr(request, "size", None) or facts.size
    return Draft(request=request, parent=parent, client={"seconds": f"{seconds:.6g}", "size": f"{size[1]}x{size[0]}"})


def added_seconds(request: Request, facts: Facts) -> float:
    """Length that a verb adds to its clips, as far as it is known before it runs."""
    if not request.moving:
        return 0.0
    if (board := getattr(request, "board", None)) is not None:
        return float(sum(shot.seconds for shot in board.shots))
    if hasattr(request, "seconds"):
        return float(facts.seconds if request.seconds is None else request.seconds)
    return float(getattr(request, "after", 0.0) + getattr(request, "before", 0.0))


def _add(kind: type[Request]) -> None:
    """Add the route of a verb."""

    async def make(call: Call, studio: Parts, caller: Known) -> Response:
        async with read_form(call, studio.incoming, studio.settings) as form:
            return await answer(studio, await submit(studio, caller, call, form, partial(compose, kind)))

    make.__doc__ = kind.__doc__
    path, name = f"/v1/videos/{kind.name()}", f"verb_{kind.name()}"
    router.post(path, name=name, response_model=objects.Video, openapi_extra=body_of(kind))(make)


for _kind in VERBS.values():
    _add(_kind)
