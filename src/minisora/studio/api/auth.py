"""Who calls: everyone where no token is needed, else the holder of a token.

A token comes as a bearer, or from the page in a cookie that scripts cannot read. The database has
SHA-256 of secrets alone: they are random, so nothing slower is needed.

Here: recognising callers, their rate, making tokens. Not here: the table of tokens (library.py),
routes (account.py), Host and Origin (guard.py).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from minisora.studio.api.errors import Refusal, wait
from minisora.studio.jobs import Token, new_id
from minisora.studio.library import Tokens

COOKIE = "minisora_token"
EVERYONE = "everyone"  # owner of all jobs where no token is needed
FAILURES_A_MINUTE = 30  # wrong tokens from one address
MOST_BUCKETS = 10_000
_SECRET = re.compile(r"[\x21-\x7e]{8,200}")


@dataclass(frozen=True)
class Caller:
    """Whoever sent a call.

    owner:   of the jobs that it makes
    address: of its machine
    token:   None where no token is needed
    """

    owner: str
    address: str
    token: Token | None = None

    @property
    def is_admin(self) -> bool:
        return self.token is None or self.token.is_admin

    @property
    def sees(self) -> str | None:
        """Owner whose jobs it may see; None: all."""
        return None if self.is_admin else self.owner


@dataclass
class Rates:
    """Buckets of calls: each fills to `a_minute` within a minute. clock: seconds"""

    clock: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def take(self, key: str, a_minute: int) -> float:
        """Take one call from a bucket; returns 0, or the seconds until there is one."""
        now, full = self.clock(), float(max(1, a_minute))
        held, since = self._buckets.pop(key, (full, now))
        held = min(full, held + (now - since) * full / 60)
        self._buckets[key] = (held - 1 if held >= 1 else held), now
        while len(self._buckets) > MOST_BUCKETS:
            self._buckets.popitem(last=False)
        return 0.0 if held >= 1 else (1 - held) * 60 / full


class Access:
    """Recognises callers. needs_token: False: everyone is an admin"""

    def __init__(self, tokens: Tokens, needs_token: bool) -> None:
        self._tokens, self.needs_token, self._rates = tokens, needs_token, Rates()

    async def caller(self, connection: HTTPConnection, secret: str | None = None) -> Caller:
        """Recognise the caller of a call.

        secret: that it gave; None: in its headers

        Raises Refusal for no token, a wrong one, and one that is used too often.
        """
        address = connection.client.host if connection.client else ""
        if not self.needs_token:
            return Caller(EVERYONE, address)
        given = secret if secret is not None else secret_of(connection)
        if given is None:
            raise _unknown("a token is needed: send it as Authorization: Bearer TOKEN.")
        token = await self._tokens.by_secret(hashed(given)) if _SECRET.fullmatch(given) else None
        if token is None:
            if (seconds := self._rates.take(f"failed {address}", FAILURES_A_MINUTE)) > 0:
                raise wait("too many wrong tokens came from your address.", "rate_limit_exceeded", seconds)
            raise _unknown("this token is wrong, or was revoked.")
        if token.calls_a_minute is not None:
            seconds = self._rates.take(f"token {token.id}", token.calls_a_minute)
            if seconds > 0:
                message = f"your token allows {token.calls_a_minute} calls a minute."
                raise wait(message, "rate_limit_exceeded", seconds)
        return Caller(token.id, address, token)


def secret_of(connection: HTTPConnection) -> str | None:
    """Secret in a call's headers: as a bearer, or in the page's cookie."""
    kind, _, bearer = connection.headers.get("authorization", "").partition(" ")
    return bearer.strip() if kind.lower() == "bearer" else connection.cookies.get(COOKIE)


def hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


async def new_token(
    tokens: Tokens,
    name: str,
    *,
    is_admin: bool = False,
    jobs_waiting: int | None = None,
    bytes_kept: int | None = None,
    calls_a_minute: int | None = None,
) -> tuple[Token, str]:
    """Make a token; returns it and its secret, which is kept nowhere."""
    secret = f"ms-{secrets.token_urlsafe(32)}"
    token = Token(
        id=new_id("token"),
        name=name,
        created_at=time.time(),
        is_admin=is_admin,
        jobs_waiting=jobs_waiting,
        bytes_kept=bytes_kept,
        calls_a_minute=calls_a_minute,
    )
    return await tokens.add(token, hashed(secret)), secret


def _unknown(message: str) -> Refusal:
    return Refusal(401, message, "invalid_api_key", headers={"www-authenticate": "Bearer"})
