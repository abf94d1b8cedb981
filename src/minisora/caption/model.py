"""The captioner: a clip to a sentence, by a factorised video encoder and a causal text decoder.

Blocks of a few frames and 8x8 pixels become tokens, from the appearance of two frames, the change
in them, and a cost volume against the frame before. Encoder blocks attend over the places of one
moment, then over the moments of one place; a small causal decoder attends to them and writes the
words greedily.

Sources: Arnab et al. 2021 (ViViT, arXiv:2103.15691), section 3.3, model 3: factorised
self-attention. Xiao et al. 2021 (arXiv:2106.14881): a convolutional stem instead of one large
patch, which learns faster. Feichtenhofer et al. 2019 (SlowFast, arXiv:1812.03982): appearance from
few frames, motion from all. Dosovitskiy et al. 2015 (FlowNet, arXiv:1504.06852): a cost volume, as
motion is a product of two frames, which a plain network learns slowly. Vaswani et al. 2017
(arXiv:1706.03762) for the decoder, with pre-norm.

Here: the network, fitting a clip to it, writing a caption.
Not here: words (words.py), training (train.py), other captioners (adapters.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from minisora.caption.words import AHEAD, END, FIRST_WORD, LONG, SHORT, Vocabulary
from minisora.errors import UsageError
from minisora.video import resize, to_float

STRIDE = 8  # pixels on a side of a token
_STEM = (32, 64, 128)  # channels at 1/2, 1/4 and 1/8 of the picture's side
_REACH = 3  # range of the cost volume in every direction, in pixels at half size
_COSTS = (2 * _REACH + 1) ** 2
_SEEN_FROM = ((0, 0), (2, 2), (-2, -2), (2, -2), (-2, 2))  # shifts that `texts` averages over: pixels down, right

Cache = tuple[Tensor, Tensor, Tensor, Tensor]  # keys, values of the words so far; keys, values of the video


@dataclass(frozen=True, kw_only=True)
class CaptionerConfig:
    """Shape of the captioner, its input and its vocabulary: every field changes the weights."""

    words: tuple[str, ...]
    num_frames: int = 16
    side: int = 64  # pixels; a clip of another shape is scaled to this square as a whole
    group: int = 4  # frames in a token
    seconds: float = 4.0  # length of the longest clip
    width: int = 192
    num_heads: int = 6
    encoder_depth: int = 4
    decoder_depth: int = 2
    longest: int = 96  # most words of a caption, including its end

    def __post_init__(self) -> None:
        if self.width % self.num_heads:
            raise UsageError(f"width={self.width} does not split into num_heads={self.num_heads} equal heads.")
        if self.group % 2 or self.num_frames % self.group or self.side % STRIDE:
            raise UsageError(
                f"{self.num_frames} frames of {self.side} pixels do not split into tokens of {self.group} frames: "
                f"use an even group, and multiples of it and of {STRIDE} pixels."
            )

    @property
    def moments(self) -> int:
        return self.num_frames // self.group

    @property
    def appearance_frames(self) -> slice:
        """Slice of the frames whose appearance enters the tokens: first and middle of each."""
        return slice(None, None, self.group // 2)

    @property
    def middle_frames(self) -> slice:
        """Slice of the middle frames of the tokens, whose content the hints describe."""
        return slice(self.group // 2, None, self.group)

    @property
    def places(self) -> int:
        return (self.side // STRIDE) ** 2

    def flops(self, num_words: int, captions_per_clip: int = 1) -> float:
        """Forward FLOPs, two per multiply-add, of a clip with captions of `num_words` each."""
        d, half = self.width, (self.side // 2) ** 2
        tokens = self.moments * self.places
        first, second, third = _STEM
        stem = 24 * first + (first + second) * second / 4 + (second + 2 * third) * third / 16
        stem *= 2 * self.moments * half * 9
        stem += tokens * (2 * third + self.group * _COSTS) * d
        encoder = tokens * (16 * d**2 + 2 * d * (self.places + self.moments))
        decoder = num_words * (14 * d**2 + 2 * d * (num_words + tokens))
        shown = self.decoder_depth * tokens * 2 * d**2
        vocabulary = num_words * d * len(Vocabulary(self.words))
        per_caption = self.decoder_depth * decoder + vocabulary
        return 2.0 * (stem + self.encoder_depth * encoder + shown + captions_per_clip * per_caption)


class Attention(nn.Module):
    """Queries of one sequence against keys and values of the same or another."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def pairs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, (B, N, S, head_width) each. x: (B, S, D)"""
        k, v = self.kv(x).chunk(2, -1)
        return self._heads(k), self._heads(v)

    def forward(self, x: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Attend. x: (B, L, D); hidden: (L, S) bool, keys masked from a query. Returns (B, L, D)"""
        q = self._heads(self.q(x))
        # two plain matmuls: at this size the fused CPU kernel's backward pass is slower
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if hidden is not None:
            scores = scores.masked_fill(hidden, float("-inf"))
        mixed = scores.softmax(-1).to(v.dtype) @ v
        result: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return result

    def _heads(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        return heads


def _stem() -> nn.Sequential:
    """Convolutional stem, (N, 6, H, W) -> (N, _STEM[-1], H / 8, W / 8).

    No norms, but an initialisation that keeps the variance: norms over a picture kept shapes from
    being learnt.
    """
    first, second, third = _STEM
    parts: list[nn.Module] = [nn.PixelUnshuffle(2)]
    for channels, out, stride in (
        (24, first, 1),
        (first, second, 2),
        (second, second, 1),
        (second, third, 2),
        (third, third, 1),
        (third, third, 1),
    ):
        convolution = nn.Conv2d(channels, out, 3, stride, padding=1)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        parts += [convolution, nn.ReLU()]
    return nn.Sequential(*parts)


def matching_costs(here: Tensor, before: Tensor) -> Tensor:
    """Cost volume: difference of each token's cell to the frame before, at shifts up to _REACH.

    It is least at the shift where the cell came from: FlowNet's correlation layer, with absolute
    differences in place of products.

    here, before: (N, 3, side, side)
    returns       (N, _COSTS, side / STRIDE, side / STRIDE), relative to the mean over all shifts
    """
    here, before = F.avg_pool2d(here, 2), F.avg_pool2d(before, 2)
    height, width = here.shape[2:]
    before = F.pad(before, (_REACH,) * 4, mode="replicate")
    places = [(down, right) for down in range(2 * _REACH + 1) for right in range(2 * _REACH + 1)]
    costs = torch.cat(
        [
            F.avg_pool2d((here - before[..., y : y + height, x : x + width]).abs().mean(1, keepdim=True), STRIDE // 2)
            for y, x in places
        ],
        1,
    )
    return costs / (costs.mean(1, keepdim=True) + 0.01) - 1


def _moved(frames: Tensor, down: int, right: int) -> Tensor:
    """Shift (..., H, W, 3) by whole pixels; edges are replicated."""
    rows, columns = (
        (torch.arange(length, device=frames.device) + by).clamp(0, length - 1)
        for length, by in ((frames.shape[-3], down), (frames.shape[-2], right))
    )
    return frames[..., rows, :, :][..., columns, :]


def _mlp(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
    )


class EncoderBlock(nn.Module):
    """Attention over places, attention over moments, MLP."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.space_norm, self.time_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.space, self.time = Attention(width, num_heads), Attention(width, num_heads)
        self.mlp = _mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, moments, places, D) -> (B, moments, places, D)"""
        batch = len(x)
        h = self.space_norm(x).flatten(0, 1)
        x = x + self.space(h, *self.space.pairs(h)).unflatten(0, (batch, -1))
        h = self.time_norm(x).transpose(1, 2).flatten(0, 1)
        x = x + self.time(h, *self.time.pairs(h)).unflatten(0, (batch, -1)).transpose(1, 2)
        result: Tensor = x + self.mlp(x)
        return result


class DecoderBlock(nn.Module):
    """Attention to the words so far, attention to the video, MLP."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.word_norm, self.video_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.words, self.video = Attention(width, num_heads), Attention(width, num_heads)
        self.mlp = _mlp(width)

    def forward(self, x: Tensor, video: Tensor, cache: Cache | None) -> tuple[Tensor, Cache]:
        """
        x:       (B * n, L, D), the words after those in the cache
        video:   (B, S, D), used only without a cache
        returns  (B * n, L, D), and the cache with these words
        """
        h = self.word_norm(x)
        k, v = self.words.pairs(h)
        if cache is None:
            video_k, video_v = self.video.pairs(video)
        else:
            k, v = torch.cat([cache[0], k], 2), torch.cat([cache[1], v], 2)
            video_k, video_v = cache[2], cache[3]
        length, known = x.shape[1], k.shape[2]
        later = torch.ones(length, known, dtype=torch.bool, device=x.device).triu(known - length + 1)
        x = x + self.words(h, k, v, later)
        h = self.video_norm(x).reshape(
            len(video_k), -1, x.shape[-1]
        )  # all captions of a clip share its keys and values
        x = x + self.video(h, video_k, video_v).view_as(x)
        return x + self.mlp(x), (k, v, video_k, video_v)


class Captioner(nn.Module):
    """Logits of the next word, given a clip and the words so far.

    The n captions of a clip are adjacent in the batch.

    frames   (B, T, side, side, 3) uint8
    words    (B * n, S)
    returns  (B * n, S, words)
    """

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        self.config, self.vocabulary = config, Vocabulary(config.words)
        self.trained: dict[str, Any] = {}  # description of its training, from its files
        width, heads = config.width, config.num_heads
        self.stem = _stem()
        self.enter = nn.Linear(2 * _STEM[2] + config.group * _COSTS, width)
        self.moment = nn.Parameter(torch.randn(config.moments, 1, width) * 0.02)
        self.place = nn.Parameter(torch.randn(config.places, width) * 0.02)
        self.encoder = nn.ModuleList(EncoderBlock(width, heads) for _ in range(config.encoder_depth))
        self.seen = nn.LayerNorm(width)
        self.word = nn.Embedding(len(self.vocabulary), width)
        self.order = nn.Parameter(torch.randn(config.longest, width) * 0.02)
        self.decoder = nn.ModuleList(DecoderBlock(width, heads) for _ in range(config.decoder_depth))
        self.said = nn.LayerNorm(width)
        nn.init.normal_(self.word.weight, std=width**-0.5)  # tied: also the weights of the last layer

    def encode(self, frames: Tensor) -> Tensor:
        """(B, T, side, side, 3) uint8 -> (B, moments * places, D)"""
        return self.attend(self.patches(frames))

    def patches(self, frames: Tensor) -> Tensor:
        """(B, T, side, side, 3) uint8 -> (B, moments, places, D), tokens before any attention"""
        assert frames.dtype == torch.uint8, frames.dtype
        x = to_float(frames.movedim(-1, 2), self.enter.weight.dtype)
        before = torch.cat([x[:, :1], x[:, :-1]], 1)
        costs = matching_costs(x.flatten(0, 1), before.flatten(0, 1))
        costs = costs.flatten(2).unflatten(0, (-1, self.config.group)).flatten(1, 2)  # (B * moments, C, places)
        appearance_frames = torch.cat([x, x - before], 2)[:, self.config.appearance_frames].flatten(0, 1)
        looks = self.stem(appearance_frames.contiguous(memory_format=torch.channels_last)).flatten(2)
        looks = looks.unflatten(0, (-1, 2)).flatten(1, 2)  # (B * moments, 2 C, places)
        patches: Tensor = self.enter(torch.cat([looks, costs], 1).mT).unflatten(0, (len(frames), -1))
        return patches

    def attend(self, patches: Tensor) -> Tensor:
        """(B, moments, places, D) -> (B, moments * places, D)"""
        x = patches + self.moment + self.place
        for block in self.encoder:
            x = block(x)
        video: Tensor = self.seen(x).flatten(1, 2)
        return video

    def next_words(
        self, words: Tensor, video: Tensor, caches: Sequence[Cache] | None = None
    ) -> tuple[Tensor, list[Cache]]:
        """Logits after each word, and the caches for the words that follow.

        words: (B * n, S), after the cached ones
        """
        first = caches[0][0].shape[2] if caches is not None else 0
        x = self.word(words) + self.order[first : first + words.shape[1]]
        after = []
        for number, block in enumerate(self.decoder):
            x, cache = block(x, video, None if caches is None else caches[number])
            after.append(cache)
        return F.linear(self.said(x), self.word.weight), after

    def forward(self, frames: Tensor, words: Tensor) -> Tensor:
        return self.next_words(words, self.encode(frames))[0]

    @torch.no_grad()
    def texts(self, frames: Tensor, *, long: bool = False) -> list[str]:
        """Caption clips as `fitted` returns them, greedily.

        Logits are averaged over shifts of each clip: what token borders cut in one is whole in
        another.

        frames:  (B, T, side, side, 3) uint8, on any device
        """
        count, frames = len(frames), frames.to(self.enter.weight.device)
        video = self.encode(torch.cat([_moved(frames, down, right) for down, right in _SEEN_FROM]))
        word = torch.full((len(video), 1), LONG if long else SHORT, device=video.device)
        ended = torch.zeros(count, dtype=torch.bool, device=video.device)
        words_so_far, caches = [], None
        for _ in range(self.config.longest):
            logits, caches = self.next_words(word, video, caches)
            logits[..., END + 1 : FIRST_WORD] = float("-inf")  # a text begins once
            likely = logits[:, 0].float().log_softmax(-1).unflatten(0, (len(_SEEN_FROM), count)).mean(0)
            next_word = likely.argmax(-1).masked_fill(ended, END)
            ended |= next_word == END
            words_so_far.append(next_word)
            if ended.all():
                break
            word = next_word.repeat(len(_SEEN_FROM))[:, None]
        return [self.vocabulary.decode(row) for row in torch.stack(words_so_far, 1).tolist()]

    @torch.no_grad()
    def log_likelihood(self, frames: Tensor, texts: Sequence[str], *, ahead: bool = False) -> Tensor:
        """Mean log-probability of a text's words given a clip: how well they fit.

        Unknown words are removed, and so are words beyond the longest caption, and the end. Without
        the shifts of `texts`: for ranking eight first frames of scenes it is as accurate, in a
        fifth of the time.

        frames:  (B, T, side, side, 3) uint8, on any device
        texts:   B texts, one for each clip
        ahead:   the texts describe clips that begin with the given frame
        returns  (B,) float32, 0 or less; 0 where no word is known
        """
        device = self.enter.weight.device
        rows = [[AHEAD if ahead else SHORT, *self.vocabulary.known(text)[: self.config.longest - 1]] for text in texts]
        words = pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=END).to(device)
        counts = torch.tensor([len(row) - 1 for row in rows], device=device)
        logits = self(frames.to(device), words)[:, :-1].float()
        logits[..., END + 1 : FIRST_WORD] = float("-inf")  # a text begins once
        likely = logits.log_softmax(-1).gather(-1, words[:, 1:, None])[..., 0]
        counted = torch.arange(likely.shape[1], device=device) < counts[:, None]
        mean: Tensor = likely.where(counted, 0.0).sum(1) / counts.clamp(min=1)
        return mean

    def fitted(self, frames: Tensor, fps: float) -> Tensor:
        """Fit a clip to the network: its number of frames, evenly spread, at its size.

        Only the middle `config.seconds` of a longer clip are used; frames are resized whole, so one
        that is not square is squeezed.

        frames:  (T, H, W, 3) uint8
        returns  (num_frames, side, side, 3) uint8
        """
        config, seconds = self.config, len(frames) / fps
        span = min(seconds, config.seconds)
        moments = (seconds - span) / 2 + torch.arange(config.num_frames, dtype=torch.float64) * span / config.num_frames
        index = (moments * fps + 1e-6).long().clamp(max=len(frames) - 1)
        return resize(frames[index], config.side, config.side)

    def with_words(self, words: Sequence[str]) -> Captioner:
        """A copy with the missing ones of `words` added to its vocabulary, still to be learnt."""
        known = self.config.words
        wider = Captioner(replace(self.config, words=(*known, *(word for word in words if word not in known))))
        weights = self.state_dict()
        own, rows = weights.pop("word.weight"), wider.word.weight.detach().clone()
        number = {piece: FIRST_WORD + n for n, piece in enumerate(self.vocabulary.pieces)}
        for n, piece in enumerate(wider.vocabulary.pieces, FIRST_WORD):
            if piece in number:
                rows[n] = own[number[piece]]
        rows[:FIRST_WORD] = own[:FIRST_WORD]
        wider.load_state_dict({**weights, "word.weight": rows})
        wider.trained = self.trained
        return wider

    def fsdp_units(self) -> list[nn.Module]:
        """Modules that are sharded, checkpointed and compiled one by one."""
        return [*self.encoder, *self.decoder]

    def muon_params(self) -> list[nn.Parameter]:
        """Parameters for Muon: matrices of the blocks, and convolutions, which learn faster."""
        parts = [self.stem, self.enter, *self.fsdp_units()]
        return [p for part in parts for p in part.parameters() if p.ndim >= 2]

    def compile_parts(self) -> None:
        """Compile the modules, for training only. Needs a C++ compiler on a CPU."""
        for blocks, dynamic in ((self.encoder, False), (self.decoder, True)):
            for block in blocks:
                block.forward = torch.compile(block.forward, dynamic=dynamic)
