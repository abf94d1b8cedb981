"""Routes of webhooks: addresses that are told when the caller's videos are completed or failed.

Here: make, list, delete. Not here: sending (deliveries.py), rows (webhooks.py).
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request as Call
from starlette.responses import JSONResponse, Response

from minisora.studio.api.errors import invalid
from minisora.studio.api.form import read_model
from minisora.studio.api.schema import errors, json_body
from minisora.studio.api.state import Known, Parts
from minisora.studio.deliveries import new_secret
from minisora.studio.jobs import EVENTS, NotFound, Webhook, new_id
from minisora.studio.outgoing import MOST_LETTERS, AddressRefused

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], responses=errors(400, 401, 403, 404, 429))
_ID = re.compile(r"^webhook_[0-9a-f]{32}$")


class NewWebhook(BaseModel):
    """A webhook to make."""

    model_config = ConfigDict(extra="forbid")
    url: Annotated[str, Field(min_length=1, max_length=MOST_LETTERS, pattern=r"^https?://[\x21-\x7e]+$")]
    events: Annotated[list[Literal["video.completed", "video.failed"]], Field(min_length=1, max_length=10)] = list(
        EVENTS  # type: ignore[arg-type]
    )


class WebhookObject(BaseModel):
    """A webhook.

    pending:      events that are still to be delivered
    last_outcome: of the newest try, such as status 200
    secret:       whsec_..., of a new webhook alone
    """

    id: str
    object: Literal["webhook"] = "webhook"
    url: str
    events: list[str]
    created_at: int
    pending: int
    last_at: int | None
    last_outcome: str | None
    secret: str | None = None


class WebhookList(BaseModel):
    """The caller's webhooks; all of them for an administrator."""

    object: Literal["list"] = "list"
    data: list[WebhookObject]


class DeletedWebhook(BaseModel):
    """A webhook that was deleted."""

    id: str
    deleted: bool = True
    object: Literal["webhook.deleted"] = "webhook.deleted"


@router.post("", response_model=WebhookObject, openapi_extra=json_body(NewWebhook.model_json_schema()))
async def make(call: Call, studio: Parts, caller: Known) -> Response:
    """Make a webhook. The answer has its secret, which is shown only this once."""
    given = await read_model(call, studio.incoming, studio.settings, NewWebhook)
    try:
        await studio.outgoing.check(given.url)
    except AddressRefused as error:
        raise invalid(str(error), "url", "address_refused") from None
    new = Webhook(
        id=new_id("webhook"),
        owner=caller.owner,
        url=given.url,
        events=tuple(dict.fromkeys(given.events)),
        secret=new_secret(),
    )
    webhook = await studio.store.webhooks.add(new)
    return JSONResponse({**_shown(webhook, 0).model_dump(), "secret": webhook.secret})


@router.get("", response_model=WebhookList)
async def listed(studio: Parts, caller: Known) -> Response:
    """List webhooks, the oldest first, without their secrets."""
    found, pending = await studio.store.webhooks.all(caller.sees), await studio.store.webhooks.pending(caller.sees)
    data = [_shown(each, pending.get(each.id, 0)) for each in found]
    return JSONResponse(WebhookList(data=data).model_dump())


@router.delete("/{webhook_id}", response_model=DeletedWebhook)
async def delete(webhook_id: str, studio: Parts, caller: Known) -> Response:
    """Delete a webhook, with what it was still to be told."""
    if not _ID.fullmatch(webhook_id):
        raise NotFound(f"there is no webhook {webhook_id[:80]!r}.")
    await studio.store.webhooks.delete(webhook_id, caller.sees)
    return JSONResponse(DeletedWebhook(id=webhook_id).model_dump())


def _shown(webhook: Webhook, pending: int) -> WebhookObject:
    return WebhookObject(
        id=webhook.id,
        url=webhook.url,
        events=list(webhook.events),
        created_at=int(webhook.created_at),
        pending=pending,
        last_at=None if webhook.last_at is None else int(webhook.last_at),
        last_outcome=webhook.last_outcome,
    )
