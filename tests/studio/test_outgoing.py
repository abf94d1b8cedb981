"""Calls to servers elsewhere: which addresses, pinned names, TLS, redirects, bounds."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from minisora.errors import UsageError
from minisora.studio import outgoing as outgoing_module
from minisora.studio.outgoing import (
    PRIVATE,
    AddressRefused,
    Outgoing,
    TooLarge,
    Unreachable,
    embedded,
    is_public,
    network,
    parsed,
    read,
)

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def listener(reply: bytes, context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Answer each connection with these bytes, and keep open; yields the port, and what came."""
    heard = list[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(reply)
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()


async def get(outgoing: Outgoing, address: str, *, seconds: float = 10.0, most: int = 100) -> tuple[int, bytes]:
    async with outgoing.call("GET", address, headers={}, seconds=seconds) as answer:
        return answer.status_code, await read(answer, most)


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("0.0.0.0", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
        *(
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
        ),
        *("64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "::7f00:1", "2001:0:7f00:1::1"),
    ],
)
def test_addresses_that_are_not_public(text: str):
    assert not is_public(embedded(ipaddress.ip_address(text)))


@pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(text: str):
    assert is_public(embedded(ipaddress.ip_address(text)))


def test_embedded_addresses_count_as_what_they_hold():
    for text in ("::ffff:10.1.2.3", "64:ff9b::a01:203", "2002:a01:203::", "::a01:203"):
        assert embedded(ipaddress.ip_address(text)) == ipaddress.ip_address("10.1.2.3")


@pytest.mark.parametrize(
    "address",
    [
        *("ftp://example.org/", "file:///etc/passwd", "//example.org", "example.org", "", "http://", "http:///x"),
        *("http://user:word@example.org/", "http://user@example.org/", "http://example.org/#part", "http://[::1/"),
        *("http://example.org:70000/", f"http://example.org/{'x' * 2000}"),
    ],
)
def test_what_is_no_plain_address(address: str):
    with pytest.raises(AddressRefused):
        parsed(address)


@pytest.mark.parametrize("text", ["10.0.0.0/33", "example.org", "10.0.0.1/8"])
def test_what_is_no_network(text: str):
    with pytest.raises(UsageError, match="no network"):
        network(text)


def test_private_addresses_are_refused_unless_allowed():
    """Also as numbers that the system's resolver reads as 127.0.0.1."""

    async def check() -> None:
        async with listener(OK) as (port, heard):
            names = ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0")
            for name in names:
                with pytest.raises(AddressRefused):
                    await get(Outgoing(), f"http://{name}:{port}/")
                with pytest.raises(AddressRefused):
                    await Outgoing([network("10.0.0.0/8")]).check(f"http://{name}:{port}/")
            assert heard == []
            assert await get(Outgoing([network("127.0.0.1")]), f"http://localhost:{port}/x?y=1") == (200, b"ok")
            assert await get(Outgoing(PRIVATE), f"http://127.0.0.1:{port}/") == (200, b"ok")
            with pytest.raises(AddressRefused):
                await Outgoing(PRIVATE).check("http://169.254.169.254/latest")
            assert (
                heard[0].startswith(b"GET /x?y=1 HTTP/1.1\r\n")
                and f"host: localhost:{port}".encode() in heard[0].lower()
            )

    asyncio.run(check())


def test_a_name_is_resolved_once(monkeypatch: pytest.MonkeyPatch):
    """A name that turns to another address after it was checked: the first one is called."""
    answers: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if host != "rebinding.example":
            return real(host, port, *args, **more)
        answers.append("127.0.0.1" if not answers else "127.0.0.9")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[-1], port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    async def check() -> None:
        async with listener(OK) as (port, heard):
            assert await get(Outgoing([network("127.0.0.1")]), f"http://rebinding.example:{port}/") == (200, b"ok")
            assert answers == ["127.0.0.1"] and b"rebinding.example" in heard[0]
            with pytest.raises(AddressRefused):
                await get(Outgoing([network("127.0.0.1")]), f"http://rebinding.example:{port}/")
            assert len(heard) == 1

    asyncio.run(check())


def test_slow_names_leave_the_servers_threads_alone(monkeypatch: pytest.MonkeyPatch):
    """Their threads go on after the time-out."""
    answered = threading.Event()

    def slow(*args: object, **more: object) -> None:
        answered.wait(60)
        raise socket.gaierror("no answer")

    async def go() -> int:
        outgoing = Outgoing()
        checks = (outgoing.check(f"http://slow{number}.example/") for number in range(40))
        refused = await asyncio.gather(*checks, return_exceptions=True)
        async with asyncio.timeout(10):
            await asyncio.to_thread(answered.set)
        await outgoing.close()
        return sum(isinstance(each, AddressRefused) for each in refused)

    monkeypatch.setattr(outgoing_module, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", slow)
    assert asyncio.run(go()) == 40


def test_redirects_are_handed_back_and_proxies_ignored(monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def check() -> None:
        head = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n"
        async with listener(head) as (port, heard):
            assert await get(Outgoing(PRIVATE), f"http://127.0.0.1:{port}/") == (302, b"")
            assert len(heard) == 1

    asyncio.run(check())


def test_answers_have_bounds():
    async def check() -> None:
        async with listener(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000) as (port, _):
            with pytest.raises(TooLarge):
                await get(Outgoing(PRIVATE), f"http://127.0.0.1:{port}/")
        async with listener(b"HTTP/1.1 200 OK\r\n") as (port, _):  # and then nothing
            began = time.monotonic()
            with pytest.raises(Unreachable, match="no whole answer"):
                await get(Outgoing(PRIVATE), f"http://127.0.0.1:{port}/", seconds=0.3)
            assert time.monotonic() - began < 5
        for broken in (b"nothing of HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nx: \xff\0\r\n\r\nok"):
            async with listener(broken) as (port, _):
                with pytest.raises(Unreachable):
                    await get(Outgoing(PRIVATE), f"http://127.0.0.1:{port}/", seconds=1.0)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            with pytest.raises(Unreachable, match="cannot be reached"):
                await get(Outgoing(PRIVATE), f"http://127.0.0.1:{probe.getsockname()[1]}/")
        with pytest.raises(AddressRefused, match="does not resolve"):
            await Outgoing().check("https://nowhere.invalid/")

    asyncio.run(check())


def test_tls_is_of_the_name(tmp_path: Path):
    """The certificate is for localhost: an address, or another name, does not do."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days"]
    names = ["1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*words, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(certificate))
    theirs.load_cert_chain(certificate, key)
    seen = list[str | None]()
    theirs.sni_callback = lambda sock, name, context: seen.append(name)

    async def check() -> None:
        async with listener(OK, theirs) as (port, _):
            assert await get(Outgoing(PRIVATE, ours), f"https://localhost:{port}/") == (200, b"ok")
            assert seen == ["localhost"]
            for outgoing, name in ((Outgoing(PRIVATE, ours), "127.0.0.1"), (Outgoing(PRIVATE), "localhost")):
                with pytest.raises(Unreachable):
                    await get(outgoing, f"https://{name}:{port}/")

    asyncio.run(check())
