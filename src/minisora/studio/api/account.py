"""Logging in from a page, the caller's own quotas, and tokens for administrators.

Here: routes. Not here: recognising callers (auth.py).
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request as Call
from starlette.responses import JSONResponse, Response

from minisora.studio.api.auth import COOKIE, new_token
from minisora.studio.api.errors import invalid
from minisora.studio.api.form import read_model
from minisora.studio.api.schema import errors, json_body
from minisora.studio.api.state import Admin, Known, Parts
from minisora.studio.jobs import Token

router = APIRouter(prefix="/v1", tags=["account"], responses=errors(400, 401, 403, 404, 429))
LOGIN_SECONDS = 30 * 24 * 3600
LOGIN_BYTES = 4096  # of a body whose sender is not known yet
DAY_SECONDS = 24 * 3600.0


class Login(BaseModel):
    """A token's secret, once for a page."""

    model_config = ConfigDict(extra="forbid")
    token: str = Field(max_length=200)


class NewToken(BaseModel):
    """A token to make; bounds that are not given are none."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$")
    is_admin: bool = False
    jobs_waiting: int | None = Field(None, ge=1, le=100_000)
    bytes_kept: int | None = Field(None, ge=1, le=2**60)
    calls_a_minute: int | None = Field(None, ge=1, le=1_000_000)


@router.post("/login", status_code=204, response_class=Response, openapi_extra=json_body(Login.model_json_schema()))
async def login(call: Call, studio: Parts) -> Response:
    """Log a page in: its token goes into a cookie that scripts cannot read."""
    narrow = replace(studio.settings, body=replace(studio.settings.body, text_bytes=LOGIN_BYTES))
    given = await read_model(call, studio.incoming, narrow, Login)
    await studio.access.caller(call, given.token)
    answer = Response(status_code=204)
    secure = call.headers.get("origin", "").startswith("https:")  # a proxy may end TLS before us
    answer.set_cookie(
        COOKIE, given.token, max_age=LOGIN_SECONDS, path="/", secure=secure, httponly=True, samesite="strict"
    )
    return answer


@router.post("/logout", status_code=204, response_class=Response)
async def logout() -> Response:
    """Log a page out."""
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


@router.get("/me", response_model=dict[str, Any])
async def me(studio: Parts, caller: Known) -> Response:
    """Get the caller's rights, quotas and use."""
    usage = await studio.store.usage(caller.owner, time.time() - DAY_SECONDS)
    used = {"unfinished": usage.unfinished, "bytes": usage.size_bytes, "seconds_today": usage.seconds}
    token = None if caller.token is None else _shown(caller.token)
    known = {"needs_token": studio.settings.needs_token, "is_admin": caller.is_admin}
    bounds = {"upload": asdict(studio.settings.upload), "video": asdict(studio.settings.video)}
    return JSONResponse({**known, "token": token, "usage": used, "bounds": bounds})


@router.get("/tokens", response_model=dict[str, Any])
async def listed(studio: Parts, admin: Admin) -> Response:
    """List all tokens, without their secrets."""
    return JSONResponse({"object": "list", "data": [_shown(token) for token in await studio.store.tokens.all()]})


@router.post("/tokens", response_model=dict[str, Any], openapi_extra=json_body(NewToken.model_json_schema()))
async def make(call: Call, studio: Parts, admin: Admin) -> Response:
    """Make a token. The answer has its secret, which is shown only this once."""
    given = await read_model(call, studio.incoming, studio.settings, NewToken)
    if not given.name.strip():
        raise invalid("a token needs a name.", "name")
    bounds = given.model_dump(exclude={"name", "is_admin"})
    token, secret = await new_token(studio.store.tokens, given.name.strip(), is_admin=given.is_admin, **bounds)
    return JSONResponse({**_shown(token), "secret": secret})


@router.delete("/tokens/{token_id}", response_model=dict[str, Any])
async def revoke(token_id: str, studio: Parts, admin: Admin) -> Response:
    """Revoke a token at once; its jobs stay."""
    if not token_id.isascii() or not token_id.isprintable():
        raise invalid("this is no id of a token.", "token_id")
    return JSONResponse(_shown(await studio.store.tokens.revoke(token_id)))


def _shown(token: Token) -> dict[str, Any]:
    return {"object": "token", **asdict(token)}
