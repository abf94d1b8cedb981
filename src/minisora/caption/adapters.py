"""Captioners behind one protocol: our own, a model of `transformers`, a server.

    playroom        the captioner that comes with the package, or the folder of another one
    hf:NAME         any image-text-to-text model of `transformers`, by name or folder
    URL[#MODEL]     any server that speaks OpenAI's chat completions, such as vLLM, SGLang, Ollama
                    or llama.cpp's

Here: the first two, and finding a captioner by name. Not here: the protocol (protocol.py), the
server (endpoint.py).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from minisora.caption.endpoint import CACHE, Endpoint
from minisora.caption.files import captioner_folder, load_captioner
from minisora.caption.model import Captioner
from minisora.caption.protocol import PROMPTS, Answer, Captions, Failed, pictures, plain
from minisora.device import default_device, working_dtype
from minisora.errors import UsageError
from minisora.video import Video

_MOST_WORDS = {False: 80, True: 400}  # tokens that a model may write, short and long


class OwnCaptioner:
    """Our own captioner, several clips at once."""

    together = 16

    def __init__(self, captioner: Captioner, name: str = "playroom") -> None:
        self.captioner, self.name = captioner, name

    def __call__(self, clips: Sequence[Video], *, long: bool = False) -> list[Answer]:
        if not clips:
            return []
        fitted = torch.stack([self.captioner.fitted(clip.frames, clip.fps) for clip in clips])
        return [text or Failed("the captioner said nothing") for text in self.captioner.texts(fitted, long=long)]


class Pipeline:
    """An image-text-to-text model of `transformers`.

    A model with a chat template gets several frames and a prompt; one without (BLIP, GIT) the
    middle frame.
    """

    together = 4

    def __init__(self, model: str, *, frames: int = 8) -> None:
        """Load the model. model: a name on the hub or a folder.

        Raises UsageError if it cannot be loaded.
        """
        from transformers import pipeline

        self.name, self.frames = f"hf:{model}", frames
        try:
            self._pipe: Any = pipeline("image-text-to-text", model=model, device=default_device())
        except (OSError, ValueError, KeyError, ImportError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise UsageError(
                f"the model {model!r} cannot be loaded to caption videos: {lines[0]} "
                "Name an image-text-to-text model of the hub, or a folder that holds one."
            ) from error
        self._chats = bool(getattr(self._pipe.processor, "chat_template", None))

    def __call__(self, clips: Sequence[Video], *, long: bool = False) -> list[Answer]:
        if not clips:
            return []
        options = {"max_new_tokens": _MOST_WORDS[long]}
        if self._chats:
            asked = [self._chat(clip, long) for clip in clips]
            answers = self._pipe(text=asked, return_full_text=False, batch_size=len(asked), **options)
        else:
            middles = [pictures(clip, 1)[0] for clip in clips]
            answers = self._pipe(images=middles, text=[""] * len(middles), **options)
        return [_answer_of(answer) for answer in answers]

    def _chat(self, clip: Video, long: bool) -> list[dict[str, Any]]:
        shown = [{"type": "image", "image": picture} for picture in pictures(clip, self.frames)]
        return [{"role": "user", "content": [*shown, {"type": "text", "text": PROMPTS[long]}]}]


def _answer_of(answer: Any) -> Answer:
    first = answer[0] if isinstance(answer, list) else answer
    text = first["generated_text"]
    if isinstance(text, list):  # the whole conversation, the answer last
        text = text[-1]["content"]
    return plain(text) or Failed("the model said nothing")


def captions_named(name: str, *, cache: Path = CACHE) -> Captions:
    """Find a captioner by a name from the user. cache: folder for the answers of servers

    Raises UsageError for an unknown name, or a captioner that cannot be loaded.
    """
    if name.startswith(("http://", "https://")):
        return Endpoint(name, cache=cache)
    if name.startswith("hf:"):
        return Pipeline(os.path.expanduser(name.removeprefix("hf:")))
    folder, device = captioner_folder(name), default_device()
    dtype = working_dtype(device)
    return OwnCaptioner(load_captioner(folder, device=device, dtype=dtype), name)
