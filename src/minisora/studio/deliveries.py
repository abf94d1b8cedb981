"""Telling webhooks: signed calls, repeated for about a day, each delivered at least once.

    webhook-id         of the event, the same at each try
    webhook-timestamp  Unix seconds of this try
    webhook-signature  v1,<base64 of HMAC-SHA256 over ID.TIMESTAMP.BODY>

Source: Standard Webhooks 1.0.0, which OpenAI's webhooks follow.

Here: signing, sending, trying again. Not here: rows (webhooks.py), connections (outgoing.py).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress

from minisora.studio.api import log
from minisora.studio.jobs import Delivery, StorageFull, Unavailable, Webhook
from minisora.studio.outgoing import AddressRefused, Outgoing, Unreachable
from minisora.studio.webhooks import Webhooks

PAUSES = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 28800.0)  # seconds between tries; a day in all
SECONDS = 15.0  # for one try
MOST_AT_ONCE = 16  # webhooks
PREFIX = "whsec_"
_LOOK_SECONDS = 60.0  # longest pause between looks at the rows
_STORAGE_SECONDS = 5.0  # after the database could not be written
_log = logging.getLogger("minisora.studio")


class Deliveries:
    """Sends what webhooks are to be told. pauses: seconds after each try that failed"""

    def __init__(self, rows: Webhooks, outgoing: Outgoing, pauses: Sequence[float] = PAUSES) -> None:
        self._rows, self._outgoing, self._pauses = rows, outgoing, pauses
        self._busy: dict[str, asyncio.Task[None]] = {}  # by webhook, whose events go one after another

    async def run(self) -> None:
        """Send until it is cancelled."""
        try:
            while True:
                try:
                    await self._look()
                except (StorageFull, Unavailable) as error:
                    _log.error("webhooks wait: %s", error)
                    await asyncio.sleep(_STORAGE_SECONDS)
        finally:
            sending = list(self._busy.values())
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)

    async def _look(self) -> None:
        """Begin what is due, then wait for more."""
        self._rows.more.clear()
        next_at = await self._next_at()
        if next_at is not None and next_at <= time.time():
            free = MOST_AT_ONCE - len(self._busy)
            for webhook, delivery in await self._rows.due(time.time(), tuple(self._busy), free):
                self._busy[webhook.id] = asyncio.create_task(self._send(webhook, delivery))
            next_at = await self._next_at()
        seconds = _LOOK_SECONDS if next_at is None else min(_LOOK_SECONDS, max(0.0, next_at - time.time()))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rows.more.wait()

    async def _next_at(self) -> float | None:
        return await self._rows.next_at(tuple(self._busy)) if len(self._busy) < MOST_AT_ONCE else None

    async def _send(self, webhook: Webhook, delivery: Delivery) -> None:
        try:
            outcome, delivered = await self._tried(webhook, delivery)
            again = not delivered and delivery.tries < len(self._pauses)
            next_at = time.time() + self._pauses[delivery.tries] if again else None
            if not delivered:
                what = "is told again later" if again else "is given up"
                _log.warning("webhook %s: event %s %s: %s", webhook.id, delivery.id, what, outcome)
            await self._rows.tried(delivery, outcome, next_at)
        except (StorageFull, Unavailable) as error:  # it is sent once more
            _log.error("webhook %s: event %s is sent once more: %s", webhook.id, delivery.id, error)
            await asyncio.sleep(_STORAGE_SECONDS)
        finally:
            del self._busy[webhook.id]
            self._rows.more.set()

    async def _tried(self, webhook: Webhook, delivery: Delivery) -> tuple[str, bool]:
        """Send an event once; returns the outcome in words, and whether it was taken."""
        stamp = int(time.time())
        headers = {
            "content-type": "application/json",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(stamp),
            "webhook-signature": signature(webhook.secret, delivery.id, stamp, delivery.body),
        }
        content = delivery.body.encode()
        try:
            async with self._outgoing.call(
                "POST", webhook.url, headers=headers, seconds=SECONDS, content=content
            ) as answer:
                return f"status {answer.status_code}", 200 <= answer.status_code < 300
        except (AddressRefused, Unreachable) as error:
            return str(error), False
        except Exception as error:  # the event would be due at once, for ever
            log.write_error(error, at="webhook", webhook=webhook.id, event_id=delivery.id)
            return "the call failed in this server", False


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(secret: str, event_id: str, stamp: int, body: str) -> str:
    """Sign an event. secret: as `new_secret` makes it"""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    digest = hmac.digest(key, f"{event_id}.{stamp}.{body}".encode(), hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()
