"""Captions from a server that speaks OpenAI's chat completions: frames as JPEGs, clips in parallel.

Answers are cached on disk by a hash of the whole request, images and address included: the same
command again requests only the missing ones. A clip that never gets an answer is reported and the
others continue.

Here: requests and the cache. Not here: HTTP (text/chat.py), frames and prompts (protocol.py).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from io import BytesIO
from pathlib import Path
from typing import Any, Unpack

from minisora.caption.protocol import PROMPTS, Answer, Failed, pictures, plain
from minisora.text.chat import KEY, ChatServer, Trying
from minisora.video import Video
from minisora.video.files import replacing

CACHE = Path(".cache/captions")
_MOST_TOKENS = {False: 120, True: 600}  # of an answer, short and long


class Endpoint:
    """A server as a captioner."""

    def __init__(
        self,
        url: str,
        *,
        cache: Path = CACHE,
        key_variable: str = KEY,
        frames: int = 8,
        threads: int = 8,
        **trying: Unpack[Trying],
    ) -> None:
        """
        url: as of `ChatServer`; trying: how often, and for how long
        """
        self._server = ChatServer(url, key_variable=key_variable, **trying)
        self._cache, self._frames, self._threads = cache, frames, threads
        self.together = 4 * threads
        self.name = self._server.name

    def __call__(self, clips: Sequence[Video], *, long: bool = False) -> list[Answer]:
        bodies = [self._body(clip, long) for clip in clips]
        files = [self._cache / f"{self._key(body)}.json" for body in bodies]
        answers: list[Answer] = [_kept(file) or Failed("not asked") for file in files]
        with ThreadPoolExecutor(self._threads) as pool:
            asked = {pool.submit(self._ask, bodies[n]): n for n, one in enumerate(answers) if isinstance(one, Failed)}
            try:
                for future in as_completed(asked):
                    n = asked[future]
                    answers[n] = answer = future.result()
                    if isinstance(answer, str):
                        _keep(files[n], answer)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [plain(answer) if isinstance(answer, str) else answer for answer in answers]

    def _body(self, clip: Video, long: bool) -> dict[str, Any]:
        shown = [
            {"type": "image_url", "image_url": {"url": _data_url(picture)}} for picture in pictures(clip, self._frames)
        ]
        return {
            "model": self._server.model,
            "messages": [{"role": "user", "content": [*shown, {"type": "text", "text": PROMPTS[long]}]}],
            "max_tokens": _MOST_TOKENS[long],
            "temperature": 0.0,
        }

    def _key(self, body: dict[str, Any]) -> str:
        return hashlib.sha256(json.dumps([self._server.base, body], sort_keys=True).encode()).hexdigest()

    def _ask(self, body: dict[str, Any]) -> Answer:
        """The model's raw answer; it is cached raw, so that its post-processing may change."""
        answer = self._server.ask(body)
        return answer if isinstance(answer, Failed) or plain(answer) else Failed("the model said nothing")


def _data_url(picture: Any) -> str:
    file = BytesIO()
    picture.save(file, format="jpeg", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _kept(file: Path) -> str | None:
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["text"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        temporary.write_text(json.dumps({"text": text}, ensure_ascii=False) + "\n", encoding="utf-8")
