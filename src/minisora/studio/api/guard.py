"""What holds for every call: Host and Origin, headers, errors in one form, the log.

A page of another site may make a browser call this server, under its own name (Origin), or under a
name of its own that it lets point here (Host; DNS rebinding). Both are refused.

Here: the outermost layer of the app. Not here: tokens (auth.py), the routes.
"""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from minisora.studio.api import log
from minisora.studio.api.auth import COOKIE
from minisora.studio.api.errors import MESSAGES, Refusal, body
from minisora.studio.api.metrics import Metrics
from minisora.studio.api.settings import Settings

SAFE = ("GET", "HEAD", "OPTIONS")
METHODS = (*SAFE, "POST", "PUT", "PATCH", "DELETE")
OPEN = "/healthz"  # answered under any name
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_KEPT = ("allow", "content-range", "retry-after", "www-authenticate")  # of an error that is put into our form


class Guard:
    """Wraps an app."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request_id = f"req_{secrets.token_hex(12)}"
        scope.setdefault("state", {})["request_id"] = request_id
        refusal = self._refusal(scope)
        if scope["type"] == "websocket":
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008, "reason": refusal.code})
            return
        await self._answer(scope, receive, _Sender(send, scope["method"], request_id), refusal)

    async def _answer(self, scope: Scope, receive: Receive, send: _Sender, refusal: Refusal | None) -> None:
        began = time.perf_counter()
        try:
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await refusal.response()(scope, receive, send)
        except ClientDisconnect:
            pass
        except Exception as error:
            log.write_error(error, request_id=send.request_id)
            if send.status:
                raise
            await JSONResponse(body(500, MESSAGES[500], "internal_error"), 500)(scope, receive, send)
        finally:
            seconds = time.perf_counter() - began
            method = scope["method"] if scope["method"] in METHODS else "other"
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.call(method, route, send.status, seconds)
            facts = {"method": method, "route": route, "status": send.status, "ms": round(1000 * seconds, 1)}
            log.write("call", request_id=send.request_id, owner=scope["state"].get("owner"), **facts)

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        if scope["path"] != OPEN and not self._is_ours(host):
            message = "this server does not go by the name in the Host header. Name it when you start it."
            return Refusal(403, message, "host_not_allowed")
        if origin is not None:
            own = {f"http://{host}", f"https://{host}"}
            if origin.lower() in own or origin in self._settings.origins:
                return None
            return Refusal(403, "pages of other sites may not call this server.", "origin_not_allowed")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not _is_visit(scope, headers):
            return Refusal(403, "pages of other sites may not call this server.", "origin_not_allowed")
        unsafe = scope["type"] == "http" and scope["method"] not in SAFE
        if unsafe and "authorization" not in headers and f"{COOKIE}=" in headers.get("cookie", ""):
            return Refusal(403, "a call with the page's cookie needs an Origin header.", "origin_not_allowed")
        return None

    def _is_ours(self, host: str) -> bool:
        """True for localhost, for IP addresses, which cannot be rebound, and for names of ours."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return name == "localhost" or name in self._settings.hosts
        return True


def _is_visit(scope: Scope, headers: Mapping[str, str]) -> bool:
    """True if a person follows a link from another site."""
    visit = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return visit and scope.get("method") == "GET"


class _Sender:
    """Adds headers to an answer, and puts errors of the libraries below into our form.

    status: 0 until the answer begins
    """

    def __init__(self, send: Send, method: str, request_id: str) -> None:
        self._send, self._method, self.request_id = send, method, request_id
        self.status, self._replaced = 0, False

    async def __call__(self, message: Message) -> None:
        if message["type"] != "http.response.start":
            if not self._replaced:
                await self._send(message)
            return
        self.status = message["status"]
        headers = MutableHeaders(raw=list(message.get("headers", ())))
        if self.status < 400 or headers.get("content-type", "").startswith("application/json"):
            await self._send({**message, "headers": self._with_ours(headers).raw})
            return
        self._replaced = True
        kept = {name: headers[name] for name in _KEPT if name in headers}
        error = JSONResponse(body(self.status, MESSAGES.get(self.status, "the call was refused.")), self.status, kept)
        await self._send({**message, "headers": self._with_ours(error.headers).raw})
        await self._send({"type": "http.response.body", "body": b"" if self._method == "HEAD" else error.body})

    def _with_ours(self, headers: MutableHeaders) -> MutableHeaders:
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        headers["x-request-id"] = self.request_id
        return headers
