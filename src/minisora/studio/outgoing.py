"""Calls to servers elsewhere: providers of videos, and webhooks.

An address comes from people, and its name is resolved by servers of others, so each call
  resolves the name once, refuses addresses that are not public unless the operator allows them, and
  connects to what was checked, with the name in TLS and in the Host header (no DNS rebinding);
  speaks HTTP or HTTPS, follows no redirect and takes no proxy from the environment;
  has a bound on its time, and on the bytes of its answer.

Here: addresses, connections, bounds. Not here: what is said (provider.py, deliveries.py).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx2

from minisora.errors import UsageError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
PRIVATE = tuple(
    ipaddress.ip_network(each)
    for each in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
        *("::1/128", "fc00::/7"),
    )
)  # of machines and networks at home; not link-local, where clouds keep credentials
CONNECT_SECONDS = 5.0
MOST_LETTERS = 2000  # of an address
_MOST_TRIED = 4  # addresses of one name
_MOST_NAMES = 4  # resolved at once
_EMBEDDING = ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96")  # NAT64; IPv4-compatible


class AddressRefused(UsageError):
    """The address may not be called."""


class Unreachable(UsageError):
    """No whole answer came; the same call may succeed later."""


class TooLarge(UsageError):
    """The answer has more bytes than the call takes."""


class Outgoing:
    """Makes calls. allowed: networks that may be called though they are not public

    verify: certificates that are trusted; None: those that come with Python's certifi
    """

    def __init__(self, allowed: Sequence[Network] = (), verify: ssl.SSLContext | None = None) -> None:
        self._allowed = allowed
        self._resolving = ThreadPoolExecutor(_MOST_NAMES)  # a slow name holds its thread after the time-out too
        self._client = httpx2.AsyncClient(
            verify=True if verify is None else verify,
            trust_env=False,
            follow_redirects=False,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),  # a connection is of one name
        )

    async def check(self, address: str) -> None:
        """Raise AddressRefused for an address that may not be called, or does not resolve."""
        url = parsed(address)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._resolved(url)
        except TimeoutError:
            raise AddressRefused(f"the name {url.host!r} does not resolve in {CONNECT_SECONDS:g} s.") from None
        except Unreachable as error:
            raise AddressRefused(str(error)) from None

    @asynccontextmanager
    async def call(
        self, method: str, address: str, *, headers: Mapping[str, str], seconds: float, **body: Any
    ) -> AsyncIterator[httpx2.Response]:
        """Send a call; the block reads its answer with `read` or `pieces`, within `seconds` in all.

        body: json, content, files, ... as httpx takes them; a call that is sent again has no other

        Raises AddressRefused, Unreachable.
        """
        url = parsed(address)
        own = {"accept-encoding": "identity", "user-agent": "minisora", **headers, "host": url.netloc.decode("ascii")}
        try:
            async with asyncio.timeout(seconds):
                found = await self._resolved(url)
                response = await self._connected(method, url, found, {"headers": own, **body})
                try:
                    yield response
                finally:
                    await response.aclose()
        except TimeoutError:
            raise Unreachable(f"{url.host} gave no whole answer in {seconds:g} s.") from None
        except httpx2.TransportError as error:
            raise Unreachable(f"{url.host} cannot be reached ({type(error).__name__}).") from None
        except httpx2.HTTPError as error:
            raise Unreachable(f"{url.host} gave no answer that can be read ({type(error).__name__}).") from None

    async def close(self) -> None:
        self._resolving.shutdown(wait=False, cancel_futures=True)
        await self._client.aclose()

    async def _connected(
        self, method: str, url: httpx2.URL, found: Sequence[Address], more: Mapping[str, Any]
    ) -> httpx2.Response:
        """Send to the first address that takes a connection."""
        timeout = httpx2.Timeout(None, connect=CONNECT_SECONDS)
        for number, each in enumerate(found, 1):
            pinned = url.copy_with(host=str(each), fragment=None)
            names = {"sni_hostname": url.raw_host.decode("ascii")}
            request = self._client.build_request(method, pinned, timeout=timeout, extensions=names, **more)
            try:
                return await self._client.send(request, stream=True)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):  # nothing was sent
                if number == len(found):
                    raise
        raise AssertionError("a name has an address")

    async def _resolved(self, url: httpx2.URL) -> list[Address]:
        """Addresses of a name that may be called. Raises AddressRefused, Unreachable."""
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            ask = partial(socket.getaddrinfo, url.raw_host.decode("ascii"), port, type=socket.SOCK_STREAM)
            found = await asyncio.get_running_loop().run_in_executor(self._resolving, ask)
        except (OSError, UnicodeError):
            raise Unreachable(f"the name {url.host!r} does not resolve.") from None
        known = dict.fromkeys(ipaddress.ip_address(str(where[0]).partition("%")[0]) for *_, where in found)
        usable = [each for each in known if self._may_call(each)]
        if not usable:
            raise AddressRefused(
                f"{url.host} lies at an address that is not public. The operator's settings file can allow it."
            )
        return usable[:_MOST_TRIED]

    def _may_call(self, address: Address) -> bool:
        inner = embedded(address)
        return is_public(inner) or any(inner.version == each.version and inner in each for each in self._allowed)


def parsed(address: str) -> httpx2.URL:
    """Parse an address. Raises AddressRefused for one that is not plain http or https."""
    try:
        url = httpx2.URL(address) if len(address) <= MOST_LETTERS else None
    except (httpx2.InvalidURL, UnicodeError):
        url = None
    if url is not None and not 0 < (url.port or 80) < 2**16:
        url = None
    if url is None or url.scheme not in ("http", "https") or not url.host or url.userinfo or url.fragment:
        raise AddressRefused(
            f"an address is http://HOST/... or https://HOST/..., without user and fragment, of {MOST_LETTERS} "
            "characters at most."
        )
    return url


def network(text: str) -> Network:
    """Parse an address or a network, such as 10.0.0.0/8. Raises UsageError."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise UsageError(f"{text!r} is no network. Give one such as 127.0.0.1 or 10.0.0.0/8.") from None


def embedded(address: Address) -> Address:
    """IPv4 address inside an IPv6 one (mapped, NAT64, 6to4, compatible), or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and any(address in each for each in _EMBEDDING) and int(address) > 1:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


def is_public(address: Address) -> bool:
    """True for an address that anyone may reach. address: `embedded`"""
    special = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_link_local
    site = isinstance(address, ipaddress.IPv6Address) and (address.is_site_local or address.teredo is not None)
    return address.is_global and not special and not site


async def pieces(response: httpx2.Response, most_bytes: int) -> AsyncIterator[bytes]:
    """Body of an answer, as it comes. Raises TooLarge."""
    size = 0
    async for piece in response.aiter_raw():
        size += len(piece)
        if size > most_bytes:
            raise TooLarge(f"the answer has more than {most_bytes:,} bytes.")
        yield piece


async def read(response: httpx2.Response, most_bytes: int) -> bytes:
    """Whole body of an answer. Raises TooLarge."""
    return b"".join([piece async for piece in pieces(response, most_bytes)])
