"""The process that expands prompts for the page.

The grammar needs no model, but its modules import torch, so it runs in a process of its own: the
server stays quick, and small.

Here: the process. Not here: the route (expand.py), expanding (text/expand.py).
"""

from __future__ import annotations

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any

from minisora.generate.schedule import Schedule
from minisora.studio.jobs import Unavailable

MOST_SECONDS = 120.0  # the first proposal waits for the process, which a busy machine starts slowly
_LISTS = ("added", "not_understood", "read_as")


class Proposals:
    """The process, started with the first prompt and ended with the server."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def of(self, prompt: Schedule, seed: int, gaps: dict[str, bool]) -> dict[str, Any]:
        """Expand a prompt part by part. gaps: fields of `Gaps`

        Raises Unavailable if it takes too long.
        """
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        texts = [part.text for part in prompt.parts]
        work = asyncio.get_running_loop().run_in_executor(self._pool, _expanded, texts, seed, gaps)
        try:
            async with asyncio.timeout(MOST_SECONDS):
                found = await work
        except (TimeoutError, BrokenProcessPool):
            self.close()
            raise Unavailable("expanding this prompt takes too long now. Try again, or use it as typed.") from None
        parts = tuple(replace(part, text=one["prompt"]) for part, one in zip(prompt.parts, found, strict=True))
        return {
            "prompt": str(Schedule(parts)),
            "source": next((one["source"] for one in found if one["source"]), ""),
            "reason": "; ".join(one["reason"] for one in found if one["reason"]),
            "reason_code": next((one["reason_code"] for one in found if one["reason_code"]), ""),
            **{name: [each for one in found for each in one[name]] for name in _LISTS},
        }

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None


def _expanded(texts: list[str], seed: int, gaps: dict[str, bool]) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from minisora.text.expand import expand_parts
    from minisora.text.playroom.complete import Gaps

    return [asdict(one) for one in expand_parts(texts, "grammar", seed=seed, gaps=Gaps(**gaps))]
