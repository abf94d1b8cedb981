"""Live channel: a WebSocket with every change of the caller's jobs.

    ws://HOST/v1/live, and where a token is needed one of
      the page's cookie
      subprotocols "minisora" and "token.SECRET"
      a first message {"token": "SECRET"}

The server sends {"type": "hello"}, then {"type": "video", "video": {...}, "preview": "data:..."}:
first every unfinished job, then each change. A client that is slow misses progress and previews,
never a change of state. When its token is revoked, it gets {"type": "error", ...} and the end.

Here: the channel. Not here: what changes (dispatch.py), the video object (objects.py).
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

import minisora
from minisora.studio.api import log, objects
from minisora.studio.api.auth import Caller, secret_of
from minisora.studio.api.errors import Refusal, body
from minisora.studio.api.page import digest
from minisora.studio.api.state import Parts, Studio
from minisora.studio.jobs import State, Update

router = APIRouter()
PROTOCOL = "minisora"
TOKEN_SECONDS = 10.0  # in which a token has to come
_REFUSED, _DONE = 1008, 1000  # codes of WebSocket's RFC 6455, 7.4.1
_TOKEN = "token."
UNFINISHED = (State.WAITING, State.PAUSED, State.RUNNING)


@router.websocket("/v1/live")
async def live(socket: WebSocket, studio: Parts) -> None:
    """Send changes until the client leaves, or its token is revoked."""
    offered = socket.scope.get("subprotocols", [])
    await socket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
    try:
        caller = await _caller(socket, studio, offered)
    except Refusal as refusal:
        await _refuse(socket, refusal)
        return
    except WebSocketDisconnect:
        return
    revoked = asyncio.create_task(studio.store.tokens.until_revoked(caller.owner))
    tasks = {revoked, asyncio.create_task(_send(socket, studio, caller)), asyncio.create_task(_until_left(socket))}
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(error, Exception) and not isinstance(error, WebSocketDisconnect):
                log.write_error(error)
    if ended == {revoked}:
        await _refuse(socket, Refusal(401, "this token was revoked.", "invalid_api_key"))


async def _refuse(socket: WebSocket, refusal: Refusal) -> None:
    await socket.send_json({"type": "error", **body(refusal.status, refusal.message, refusal.code)})
    await socket.close(_REFUSED)


async def _caller(socket: WebSocket, studio: Studio, offered: list[str]) -> Caller:
    secret = next((each.removeprefix(_TOKEN) for each in offered if each.startswith(_TOKEN)), None)
    if studio.access.needs_token and (secret or secret_of(socket)) is None:
        try:
            async with asyncio.timeout(TOKEN_SECONDS):
                message = json.loads(await socket.receive_text())
            secret = message["token"]
        except (TimeoutError, ValueError, KeyError, TypeError, RecursionError):
            raise Refusal(401, 'send {"token": "..."} first.', "invalid_api_key") from None
    return await studio.access.caller(socket, secret if isinstance(secret, str) else None)


async def _send(socket: WebSocket, studio: Studio, caller: Caller) -> None:
    with studio.dispatcher.listen(caller.sees) as updates:
        await socket.send_json({"type": "hello", "version": minisora.__version__, "page": digest()})
        after: str | None = None
        while True:
            page = await studio.store.jobs(caller.sees, after=after, limit=100, newest_first=False, states=UNFINISHED)
            for job in page.values:
                await socket.send_json(message_of(studio.dispatcher.update_of(job)))
                after = job.id
            if not page.more:
                break
        async for update in updates:
            await socket.send_json(message_of(update))
    await socket.close(_DONE)


async def _until_left(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def message_of(update: Update) -> dict[str, Any]:
    """Message of a change."""
    preview = None
    if update.preview is not None:
        preview = f"data:image/jpeg;base64,{base64.b64encode(update.preview).decode()}"
    return {"type": "video", "video": objects.video(update.job, update).model_dump(), "preview": preview}
