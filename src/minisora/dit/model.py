"""Diffusion transformer: a pack of noised tokens, each with its own time, to their velocities.

Here: the network as a whole and its config; `DiTConfig` covers the shapes of Wan2.1 and 2.2
exactly. Read next: its block (block.py). Its input is in data/pack.py, the velocity in
diffusion/path.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.data.pack import Pack
from minisora.dit.attention import Segments
from minisora.dit.block import Block
from minisora.dit.kernels.modulation import modulated, time_index
from minisora.dit.rope import rope_table
from minisora.dit.ulysses import Across
from minisora.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class DiTConfig:
    """Shape of the diffusion transformer: every field changes the weights or their meaning."""

    width: int
    depth: int
    num_heads: int
    mlp_width: int
    text_width: int
    latent_channels: int = 16
    patch: tuple[int, int, int] = (1, 2, 2)  # latent cells a token covers: time, rows, columns
    time_width: int = 256  # sinusoidal features of t
    cross_norm: bool = True  # an affine norm before cross-attention
    frame_kinds: bool = True  # an embedding distinguishes one-frame tokens from groups; Wan has none
    text_pad: int = 0  # text is zero-padded to this many tokens, which are attended to, as in Wan; 0: none
    eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.width % self.num_heads or (self.width // self.num_heads) % 2:
            raise UsageError(
                f"width={self.width} does not split into num_heads={self.num_heads} equal heads of even width. "
                f"Use a width that is a multiple of {2 * self.num_heads}."
            )

    @property
    def head_width(self) -> int:
        return self.width // self.num_heads

    @property
    def token_channels(self) -> int:
        pt, ph, pw = self.patch
        return pt * ph * pw * self.latent_channels

    def flops(self, lengths: tuple[int, ...], text_lengths: tuple[int, ...]) -> float:
        """FLOPs of a forward pass over a pack (multiply-add: 2); a training step takes 3 times.

        All matmuls, and full attention; without norms, activations and the time MLP.
        """
        tokens, text = sum(lengths), sum(text_lengths)
        per_token = 6 * self.width**2 + 2 * self.width * self.mlp_width
        attended = sum(n * n + n * s for n, s in zip(lengths, text_lengths, strict=True))
        block = tokens * per_token + text * 2 * self.width**2 + 2 * attended * self.width
        doors = 2 * tokens * self.token_channels * self.width + text * (self.text_width + self.width) * self.width
        return 2.0 * (self.depth * block + doors)


@dataclass(frozen=True, eq=False)
class Context:
    """Keys and values of the text in every block, constant over the sampler's steps."""

    keys: tuple[Tensor, ...]  # one for each block, (S, N, head_width)
    values: tuple[Tensor, ...]
    lengths: tuple[int, ...]


class DiT(nn.Module):
    """Pack of tokens (L, Ct) -> velocities (L, Ct)."""

    across: Across | None = None  # processes that share each pack; each is called with the whole
    checkpoint_activations = False  # set by train/parallel.py

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.enter = nn.Linear(config.token_channels, width)
        self.kind = nn.Parameter(torch.zeros(2, width)) if config.frame_kinds else None
        self.time_mlp = nn.Sequential(nn.Linear(config.time_width, width), nn.SiLU(), nn.Linear(width, width))
        self.time_table = nn.Linear(width, 6 * width)
        self.text_mlp = nn.Sequential(
            nn.Linear(config.text_width, width), nn.GELU(approximate="tanh"), nn.Linear(width, width)
        )
        self.blocks = nn.ModuleList(
            Block(width, config.num_heads, config.mlp_width, config.cross_norm, config.eps) for _ in range(config.depth)
        )
        self.final_table = nn.Parameter(torch.zeros(2, width))  # shift, scale
        self.leave = nn.Linear(width, config.token_channels)
        self._init()

    def context(self, text: Tensor, lengths: tuple[int, ...]) -> Context:
        """Compute the text's keys and values of every block; once per prompt.

        text:    (S, Dt), the texts of the clips end to end
        lengths: of each text, in tokens

        Raises UsageError for a text longer than `text_pad`, if that is set.
        """
        if self.config.text_pad:
            if max(lengths) > self.config.text_pad:
                raise UsageError(
                    f"a text of {max(lengths)} tokens is longer than the {self.config.text_pad} that this model reads. "
                    f"Say it in fewer words."
                )
            parts = [F.pad(part, (0, 0, 0, self.config.text_pad - len(part))) for part in text.split(lengths)]
            text, lengths = torch.cat(parts), (self.config.text_pad,) * len(lengths)
        text = self.text_mlp(text.to(self.enter.weight.dtype))  # (S, Dt) -> (S, D)
        pairs = [block.text_kv(text) for block in self.blocks]  # type: ignore[operator]  # a ModuleList forgets its type
        return Context(tuple(k for k, _ in pairs), tuple(v for _, v in pairs), lengths)

    def forward(self, pack: Pack, context: Context | None = None) -> Tensor:
        """Velocities of the pack's tokens, (L, Ct) float32.

        `context`: of the pack's text, if computed before.
        """
        if context is None:
            context = self.context(pack.text, pack.text_lengths)
        own = self.across.mine if self.across is not None else lambda rows: rows  # this process's rows of L
        times = time_index(own(pack.time_index))  # (L,): index of one of K distinct times
        rope = rope_table(own(pack.positions), self.config.head_width)  # (L, 3) -> (L, head_width/2, 2)
        x = self.enter(own(pack.tokens).to(self.enter.weight.dtype))  # (L, Ct) -> (L, D)
        if self.kind is not None:
            group, alone = self.kind.to(x.dtype)  # two of (D,)
            x = x + torch.where(own(pack.single)[:, None], alone, group)  # (L, D)
        time, modulation = self._time(pack.times)  # (K,) -> (K, D), (K, 6, D)
        keep = not self.checkpoint_activations
        clips = Segments(pack.lengths, pack.lengths, self.across, keep=keep)  # a clip attends to itself
        to_text = Segments(pack.lengths, context.lengths, self.across, keep=keep)  # and to its text
        for block, *text in zip(self.blocks, context.keys, context.values, strict=True):
            x = block(x, modulation, times, rope, clips, tuple(text), to_text)  # (L, D)
        shift, scale = (self.final_table + time[:, None]).unbind(1)  # two of (K, D)
        velocity: Tensor = self.leave(modulated(x, scale, shift, times, self.config.eps)).float()  # (L, D) -> (L, Ct)
        return velocity if self.across is None else self.across.whole(velocity, len(pack.tokens))

    def _time(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Time embedding (K,) -> (K, D), and modulation (K, 6, D): always float32."""
        wide = torch.promote_types(self.enter.weight.dtype, torch.float32)

        def linear(layer: nn.Module, x: Tensor) -> Tensor:
            assert isinstance(layer, nn.Linear)
            return F.linear(x, layer.weight.to(wide), layer.bias.to(wide))

        with torch.autocast(times.device.type, enabled=False):
            features = time_features(times, self.config.time_width).to(wide)  # (K, time_width)
            time = linear(self.time_mlp[2], F.silu(linear(self.time_mlp[0], features)))  # (K, D)
            return time, linear(self.time_table, F.silu(time)).unflatten(-1, (6, -1))

    def fsdp_units(self) -> list[nn.Module]:
        """Modules that are sharded (FSDP), checkpointed and compiled one by one."""
        return list(self.blocks)

    def muon_params(self) -> list[nn.Parameter]:
        """Weights for Muon: the matrices of the blocks, without embedding and head."""
        return [p for p in self.blocks.parameters() if p.ndim == 2 and min(p.shape) > 16]

    def compile_parts(self) -> None:
        """Compile the block once for all blocks and packs; training only.

        Needs a C++ compiler on a CPU.
        """
        for block in self.blocks:
            block.forward = torch.compile(block.forward, dynamic=True)

    def _init(self) -> None:
        """Xavier; gates and head start at zero (adaLN-Zero: Peebles and Xie 2022, section 3.2)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.time_mlp[0].weight, std=0.02)  # type: ignore[arg-type]  # a Sequential forgets its types
        nn.init.normal_(self.time_mlp[2].weight, std=0.02)  # type: ignore[arg-type]
        for closed in (self.time_table, self.leave, *(block.cross_out for block in self.blocks)):
            nn.init.zeros_(closed.weight)  # type: ignore[union-attr, arg-type]
        if self.kind is not None:
            nn.init.normal_(self.kind, std=0.02)


def time_features(times: Tensor, width: int, scale: float = 1000.0) -> Tensor:
    """Cosines and sines of `scale * t`. (K,) in 0..1 -> (K, width) float32.

    Vaswani et al. 2017 (arXiv:1706.03762), section 3.5, cosines first as in Wan.
    """
    half = width // 2
    rates = torch.exp(-math.log(10_000.0) * torch.arange(half, device=times.device, dtype=torch.float32) / half)
    angle = scale * times.float()[:, None] * rates
    return torch.cat([angle.cos(), angle.sin()], -1)
