"""The captioner: a few frames to a sentence.

Pieces of a few frames and 8x8 pixels become tokens: how two of the frames look and what changed in them, and where in
the frame before each of them fits. Blocks attend over the places of one moment, then over the moments of one place; a
small causal decoder reads them and writes the words, the likeliest at each step.

Sources: Arnab et al. 2021 (ViViT, arXiv:2103.15691), section 3.3, model 3: factorised self-attention. Xiao et al. 2021
(arXiv:2106.14881): convolutions instead of one large patch at the door, which learn faster. Feichtenhofer et al. 2019
(SlowFast, arXiv:1812.03982): looks from few frames, motion from all. Dosovitskiy et al. 2015 (FlowNet,
arXiv:1504.06852): where in the frame before each place fits, as the way that something goes is a product of both, which
takes long to find. Vaswani et al. 2017 (arXiv:1706.03762) for the decoder, with norms before each part.

Here: the network, fitting a clip to it, writing a caption, its files.
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
_REACH = 3  # half-size pixels that a frame is compared over with the one before, in every direction
_COSTS = (2 * _REACH + 1) ** 2
_SEEN_FROM = ((0, 0), (2, 2), (-2, -2), (2, -2), (-2, 2))  # pixels down and to the right: where a clip is told from

Cache = tuple[Tensor, Tensor, Tensor, Tensor]  # keys, values of the words so far; keys, values of the video


@dataclass(frozen=True, kw_only=True)
class CaptionerConfig:
    """The shape of the captioner, and the clips and words that it knows: every field here changes the weights."""

    words: tuple[str, ...]
    num_frames: int = 16
    side: int = 64  # pixels; a clip of another shape is scaled to this square as a whole
    group: int = 4  # frames in a token
    seconds: float = 4.0  # the longest stretch that it is shown
    width: int = 192
    num_heads: int = 6
    encoder_depth: int = 4
    decoder_depth: int = 2
    longest: int = 96  # words of a caption, its end among them

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
    def looked_at(self) -> slice:
        """Of the frames, the first and the middle one of each token's: those whose looks are seen."""
        return slice(None, None, self.group // 2)

    @property
    def middle(self) -> slice:
        """Of the frames, the middle one of each token's: what the token is about."""
        return slice(self.group // 2, None, self.group)

    @property
    def places(self) -> int:
        return (self.side // STRIDE) ** 2

    def flops(self, num_words: int, tellings: int = 1) -> float:
        """Multiply-adds counted twice of one clip and `tellings` captions of `num_words`, forward."""
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
        told = self.decoder_depth * decoder + vocabulary
        return 2.0 * (stem + self.encoder_depth * encoder + shown + tellings * told)


class Attention(nn.Module):
    """Queries of one sequence against keys and values of the same or another."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def pairs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, D) -> keys and values, (B, N, S, head_width)"""
        k, v = self.kv(x).chunk(2, -1)
        return self._heads(k), self._heads(v)

    def forward(self, x: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None = None) -> Tensor:
        """x: (B, L, D); hidden: (L, S) bool, keys that a query must not see. Returns (B, L, D)"""
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
    """(N, 6, H, W) -> (N, _STEM[-1], H / 8, W / 8)

    No norms, but variances that stay: norms over a picture kept shapes from being learnt at all.
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
    """How well what is in each token fits what lay around it in the frame before: the least where it came from.

    The cost volume of FlowNet, with differences for products.

    here, before: (N, 3, side, side)
    returns       (N, _COSTS, side / STRIDE, side / STRIDE), shares above or below the mean of all places
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
    """(..., H, W, 3) seen so many pixels further; what lies beyond an edge is as the edge."""
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
        """(B, moments, places, D) -> the same"""
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
        video:   (B, S, D), looked at only where there is no cache yet
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
        h = self.video_norm(x).reshape(len(video_k), -1, x.shape[-1])  # the captions of a clip as one
        x = x + self.video(h, video_k, video_v).view_as(x)
        return x + self.mlp(x), (k, v, video_k, video_v)


class Captioner(nn.Module):
    """How likely each word is to come next, by a clip and the words so far; captions of one clip lie together.

    frames   (B, T, side, side, 3) uint8
    words    (B * n, S)
    returns  (B * n, S, words)
    """

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        self.config, self.vocabulary = config, Vocabulary(config.words)
        self.trained: dict[str, Any] = {}  # what its files say that it was shown
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
        nn.init.normal_(self.word.weight, std=width**-0.5)  # read again at the end, as the weights of the last layer

    def encode(self, frames: Tensor) -> Tensor:
        """(B, T, side, side, 3) uint8 -> (B, moments * places, D)"""
        return self.attend(self.patches(frames))

    def patches(self, frames: Tensor) -> Tensor:
        """(B, T, side, side, 3) uint8 -> (B, moments, places, D), which know of no others yet"""
        assert frames.dtype == torch.uint8, frames.dtype
        x = to_float(frames.movedim(-1, 2), self.enter.weight.dtype)
        before = torch.cat([x[:, :1], x[:, :-1]], 1)
        costs = matching_costs(x.flatten(0, 1), before.flatten(0, 1))
        costs = costs.flatten(2).unflatten(0, (-1, self.config.group)).flatten(1, 2)  # (B * moments, C, places)
        looked_at = torch.cat([x, x - before], 2)[:, self.config.looked_at].flatten(0, 1)
        looks = self.stem(looked_at.contiguous(memory_format=torch.channels_last)).flatten(2)
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
        """Logits of the word after each, and the caches for those that follow. words: (B * n, S), after the cached"""
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
        """A caption for each of several clips that fit already: the likeliest word at each step, until the end.

        Each clip is seen from a few places, and what they say of the next word is averaged: what a token's edge cuts
        in one lies whole in another.

        frames:  (B, T, side, side, 3) uint8, on any device
        """
        count, frames = len(frames), frames.to(self.enter.weight.device)
        video = self.encode(torch.cat([_moved(frames, down, right) for down, right in _SEEN_FROM]))
        word = torch.full((len(video), 1), LONG if long else SHORT, device=video.device)
        ended = torch.zeros(count, dtype=torch.bool, device=video.device)
        said, caches = [], None
        for _ in range(self.config.longest):
            logits, caches = self.next_words(word, video, caches)
            logits[..., END + 1 : FIRST_WORD] = float("-inf")  # a text begins once
            likely = logits[:, 0].float().log_softmax(-1).unflatten(0, (len(_SEEN_FROM), count)).mean(0)
            next_word = likely.argmax(-1).masked_fill(ended, END)
            ended |= next_word == END
            said.append(next_word)
            if ended.all():
                break
            word = next_word.repeat(len(_SEEN_FROM))[:, None]
        return [self.vocabulary.decode(row) for row in torch.stack(said, 1).tolist()]

    @torch.no_grad()
    def log_likelihood(self, frames: Tensor, texts: Sequence[str], *, ahead: bool = False) -> Tensor:
        """How well a text fits a clip: the mean log-probability of its words, each after all before it.

        Words that are not known are left out, as if the text went on without them; so is what comes after the longest
        caption, and the end. Seen from one place only, unlike in `texts`: ranked by it, of eight first frames of scenes
        the right one comes first as often, in a fifth of the time.

        frames:  (B, T, side, side, 3) uint8, on any device
        texts:   B of them, one for each clip
        ahead:   the texts are of clips that begin with what is seen
        returns  (B,) float32, 0 or less; 0 where no word is known
        """
        device = self.enter.weight.device
        rows = [[AHEAD if ahead else SHORT, *self.vocabulary.known(text)[: self.config.longest - 1]] for text in texts]
        words = pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=END).to(device)
        counts = torch.tensor([len(row) - 1 for row in rows], device=device)
        logits = self(frames.to(device), words)[:, :-1].float()
        logits[..., END + 1 : FIRST_WORD] = float("-inf")  # a text begins once
        likely = logits.log_softmax(-1).gather(-1, words[:, 1:, None])[..., 0]
        said = torch.arange(likely.shape[1], device=device) < counts[:, None]
        mean: Tensor = likely.where(said, 0.0).sum(1) / counts.clamp(min=1)
        return mean

    def fitted(self, frames: Tensor, fps: float) -> Tensor:
        """As the network was trained: its number of frames, evenly spread, and its size.

        Of a clip longer than `config.seconds` the middle is taken; the whole of every frame is kept, so a frame that is
        not square is squeezed.

        frames:  (T, H, W, 3) uint8
        returns  (num_frames, side, side, 3) uint8
        """
        config, seconds = self.config, len(frames) / fps
        span = min(seconds, config.seconds)
        moments = (seconds - span) / 2 + torch.arange(config.num_frames, dtype=torch.float64) * span / config.num_frames
        index = (moments * fps + 1e-6).long().clamp(max=len(frames) - 1)
        return resize(frames[index], config.side, config.side)

    def with_words(self, words: Sequence[str]) -> Captioner:
        """The same captioner with those of `words` that it has not, which it still has to learn."""
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
        """What is split over processes, recomputed and compiled one by one."""
        return [*self.encoder, *self.decoder]

    def muon_params(self) -> list[nn.Parameter]:
        """Weights that Muon may take: of the blocks, and of the convolutions, which learn much faster by it."""
        parts = [self.stem, self.enter, *self.fsdp_units()]
        return [p for part in parts for p in part.parameters() if p.ndim >= 2]

    def compile_parts(self) -> None:
        """Training only. Clips are all of one size, captions are not. Needs a C++ compiler on a CPU."""
        for blocks, dynamic in ((self.encoder, False), (self.decoder, True)):
            for block in blocks:
                block.forward = torch.compile(block.forward, dynamic=dynamic)
