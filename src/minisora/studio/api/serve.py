"""The server's socket: uvicorn as the studio wants it.

Here: listening, and tokens of administrators. Not here: the application (app.py), the command line
(cli/studio.py).
"""

from __future__ import annotations

import ipaddress

import uvicorn
from fastapi import FastAPI

from minisora.studio.api.auth import new_token
from minisora.studio.store import Store

MESSAGE_BYTES = 1 << 16  # of one message of a live channel's client
STOP_SECONDS = 5  # for calls that are being answered


def is_loopback(host: str) -> bool:
    """True for an address that only this machine reaches."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def config(app: FastAPI, host: str, port: int) -> uvicorn.Config:
    """Settings of the server. Its clients are those that connect: no header names others."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,  # guard.py writes a line for every call
        proxy_headers=False,
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=MESSAGE_BYTES,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


async def administrators_token(store: Store, needs_token: bool, name: str | None) -> str | None:
    """Make a token for an administrator, if one is asked for, or needed and not there yet.

    name:    None: not asked for
    returns  its secret, to be shown once
    """
    if name is None:
        known = any(token.is_admin and token.revoked_at is None for token in await store.tokens.all())
        if known or not needs_token:
            return None
    return (await new_token(store.tokens, name or "first", is_admin=True))[1]
