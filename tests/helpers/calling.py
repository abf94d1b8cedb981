"""Many clients of one server in one loop: plain HTTP calls, each on a connection of its own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.helpers.studio import Answer


@dataclass
class Caller:
    """Calls a server at a port of this machine. seconds: of every call that was answered"""

    port: int
    seconds: list[float] = field(default_factory=list)

    async def call(self, method: str, path: str, data: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Raises OSError or EOFError if the server is not there, or goes away."""
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            body = b"" if data is None else json.dumps(data).encode()
            sent = {
                **{"Host": f"127.0.0.1:{self.port}", "Connection": "close", "Content-Length": str(len(body))},
                **({"Content-Type": "application/json"} if body else {}),
                **(headers or {}),
            }
            lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
            writer.write("\r\n".join(lines).encode() + body)
            first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            found = dict(line.lower().split(": ", 1) for line in rest if line)
            content = await reader.readexactly(int(found.get("content-length", "0")))
        finally:
            writer.close()
        self.seconds.append(time.perf_counter() - began)
        return Answer(int(first.split()[1]), found, content)
