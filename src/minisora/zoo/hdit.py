"""HDiT: hourglass diffusion transformers.

Crowson, Baumann, Birch, Abraham, Kaplan and Shippole 2024, arXiv:2401.11605.

What was new: a transformer that works on the pixels themselves, at a cost that grows with their
number and not with its square. It is an hourglass: tokens are merged four to one and split again,
as a U-Net (ddpm.py) halves and doubles; only the coarsest level sees the whole picture, the finer
ones attend to a neighbourhood. No latents, no cascade. Before it: DiT (dit.py), which needs latents
to keep its tokens few, and the hourglass of language models (Nawrot et al. 2021). After it, most
kept the latents, and blocks like its own (rotary positions, normalised queries and keys, gated MLP)
became usual.

Smaller here: 64x64 pictures in patches of 2, three levels as in its model for ImageNet at 256x256,
with 32x32, 16x16 and 8x8 tokens, neighbourhoods of 5x5 for 7x7, one block in the mapping network
for two. Next to it stands dit.py on the same pixels in patches of 4, for as many FLOPs, half of the
budget each.

Training is that of Karras et al. 2022 (edm.py), with the loss weighted by soft-min-SNR.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import atan, log, pi

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from minisora.diffusion import heun
from minisora.zoo.dit import DiT
from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import FIELDS, PICTURES_64, ToyBatch
from minisora.zoo.nets.attention import attend
from minisora.zoo.nets.embed import ClassEmbedding, TimeEmbedding, zeroed
from minisora.zoo.nets.neighbourhood import local_attention
from minisora.zoo.nets.rotary import angles, grid, rotated
from minisora.zoo.nets.transformer import patches, pictures

PATCH = 2
WIDTHS = (64, 128, 192)  # from the finest level to the coarsest
DEPTHS = (1, 2, 4)  # blocks on the way down and on the way up; at the coarsest once
HEAD_WIDTH = 32
KERNEL = 5  # side of a neighbourhood
MAPPING = 192  # width of what the blocks are told
SIGMA_DATA, SIGMA_MIN, SIGMA_MAX = 0.5, 0.01, 80.0
STEPS = 10


class HDiT(nn.Module):
    """Pictures (B, H, W, 3) at c_noise (B,) to pictures; any H and W that three levels divide.

    local: neighbourhood attention at the finer levels; global attention at all otherwise
    """

    def __init__(self, *, local: bool = True) -> None:
        super().__init__()
        self.time, self.label = TimeEmbedding(MAPPING), ClassEmbedding(MAPPING)
        self.mapping = FeedForward(MAPPING, 0)
        self.enter, self.leave = nn.Linear(3 * PATCH**2, WIDTHS[0]), zeroed(nn.Linear(WIDTHS[0], 3 * PATCH**2))
        kernels = [KERNEL if local else 0] * (len(WIDTHS) - 1) + [0]
        levels = list(zip(WIDTHS, DEPTHS, kernels, strict=True))
        self.down, self.up = (nn.ModuleList([Level(*level) for level in levels[:-1]]) for _ in range(2))
        self.middle = Level(*levels[-1])
        pairs = list(pairwise(WIDTHS))
        self.merges = nn.ModuleList([nn.Linear(4 * fine, coarse, bias=False) for fine, coarse in pairs])
        self.splits = nn.ModuleList([nn.Linear(coarse, 4 * fine, bias=False) for fine, coarse in pairs])
        self.lerp = nn.Parameter(torch.full((len(pairs),), 0.5))

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor) -> Tensor:
        told = F.rms_norm(self.mapping(self.time(c_noise) + self.label(labels), None), (MAPPING,))
        _, height, width, channels = x.shape
        rows, columns = height // PATCH, width // PATCH
        h, skips = self.enter(patches(x, PATCH)), []
        for level, merge in zip(self.down, self.merges, strict=True):
            h = level(h, told, (rows, columns))
            skips.append(h)
            h = merge(patches(h.unflatten(1, (rows, columns)), 2))  # four tokens to one, section 4
            rows, columns = rows // 2, columns // 2
        h = self.middle(h, told, (rows, columns))
        for n in reversed(range(len(skips))):
            rows, columns = 2 * rows, 2 * columns
            split = pictures(self.splits[n](h), 2, (rows, columns, WIDTHS[n])).flatten(1, 2)
            h = torch.lerp(skips[n], split, self.lerp[n].to(split.dtype))  # the skip, weighed and learnt
            h = self.up[n](h, told, (rows, columns))
        return pictures(self.leave(F.rms_norm(h, h.shape[-1:])), PATCH, (height, width, channels))


class Level(nn.Module):
    """Blocks of one resolution, each attention and then an MLP."""

    def __init__(self, width: int, depth: int, kernel: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([SelfAttention(width, kernel) for _ in range(depth)])
        self.mlps = nn.ModuleList([FeedForward(width) for _ in range(depth)])

    def forward(self, h: Tensor, told: Tensor, sides: tuple[int, int]) -> Tensor:
        for attention, mlp in zip(self.attentions, self.mlps, strict=True):
            h = mlp(attention(h, told, sides), told)
        return h


class AdaRMSNorm(nn.Module):
    """RMS norm with a scale that what the block is told gives; no shift, no gate."""

    def __init__(self, width: int, told: int) -> None:
        super().__init__()
        self.width = width
        self.scale = zeroed(nn.Linear(told, width, bias=False)) if told else None

    def forward(self, x: Tensor, told: Tensor | None) -> Tensor:
        x = F.rms_norm(x, (self.width,))
        return x if self.scale is None else x * (1 + self.scale(told)[:, None])


class SelfAttention(nn.Module):
    """Cosine-similarity attention with axial rotary positions, section 4.

    kernel: side of the neighbourhood of a token; 0: the whole picture
    """

    rates: Tensor

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.heads, self.kernel = width // HEAD_WIDTH, kernel
        self.norm = AdaRMSNorm(width, MAPPING)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), zeroed(nn.Linear(width, width, bias=False))
        self.scale = nn.Parameter(torch.full((self.heads, 1, 1), 10.0))
        count = self.heads * HEAD_WIDTH // 8  # rates, dealt to the heads in turn; half of a head is rotated
        rates = torch.linspace(log(pi), log(10 * pi), count + 1)[:-1].exp()
        self.register_buffer("rates", rates.unflatten(0, (-1, self.heads)).T[:, None].contiguous())

    def forward(self, x: Tensor, told: Tensor, sides: tuple[int, int]) -> Tensor:
        qkv = self.qkv(self.norm(x, told)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        turn = angles(_centres(*sides), self.rates)
        q, k = (rotated(F.rms_norm(each, (HEAD_WIDTH,)), turn) for each in qkv[:2])  # of length sqrt(HEAD_WIDTH)
        q = q * (self.scale / HEAD_WIDTH**0.5).to(q.dtype)  # and `attend` divides by it once more
        attended = local_attention(q, k, qkv[2], sides, self.kernel) if self.kernel else attend(q, k, qkv[2])
        output: Tensor = x + self.out(attended.transpose(1, 2).flatten(2))
        return output


class FeedForward(nn.Module):
    """GEGLU: x + (GELU(x W) * x V) W2, section 4."""

    def __init__(self, width: int, told: int = MAPPING) -> None:
        super().__init__()
        self.norm = AdaRMSNorm(width, told)
        self.enter = nn.Linear(width, 6 * width, bias=False)
        self.leave = zeroed(nn.Linear(3 * width, width, bias=False))

    def forward(self, x: Tensor, told: Tensor | None) -> Tensor:
        value, gate = self.enter(self.norm(x, told)).chunk(2, -1)
        output: Tensor = x + self.leave(value * F.gelu(gate))
        return output


def _centres(rows: int, columns: int) -> Tensor:
    """Centres of the cells of a picture that reaches from -1 to 1: (rows columns, 2)."""
    return (2 * grid(rows, columns) + 1) / torch.tensor([rows, columns]) - 1


class Denoiser(nn.Module):
    """D(x, sigma) = c_skip x + c_out F(c_in x, c_noise), Karras et al., Eq. 7."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        c_skip, c_out, c_in = scalings(sigma)
        predicted: Tensor = self.net(c_in * x, 250 * sigma.log(), labels)  # log(sigma) / 4, in thousandths
        return c_skip * x + c_out * predicted.float()


def scalings(sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in, each (B, 1, 1, 1): input and target of the network have variance 1."""
    sigma = sigma.reshape(-1, 1, 1, 1)
    total = sigma**2 + SIGMA_DATA**2
    return SIGMA_DATA**2 / total, sigma * SIGMA_DATA / total.sqrt(), 1 / total.sqrt()


def loss(denoiser: nn.Module, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """Soft-min-SNR, |D(x + sigma n) - x|^2 / (sigma^2 + sigma_data^2), on a cosine schedule."""
    low, high = (2 / pi * atan(sigma / SIGMA_DATA) for sigma in (SIGMA_MIN, SIGMA_MAX))
    u = low + (high - low) * torch.rand(len(batch.x), generator=noise)
    sigma = SIGMA_DATA * (pi / 2 * u).tan()
    x = batch.x + sigma.reshape(-1, 1, 1, 1) * torch.randn(batch.x.shape, generator=noise)
    error = (denoiser(x, sigma, batch.labels) - batch.x).square().mean((1, 2, 3))
    return {"loss": (error / (sigma**2 + SIGMA_DATA**2)).mean()}


def sample(models: Models, ask: Ask, *, stage: Stage) -> Tensor:
    """Heun on the noise levels of Karras et al., Eq. 5: sigma itself is the time of the sampler."""
    ramp = torch.linspace(1, 0, STEPS, dtype=torch.float64)
    sigmas = ((SIGMA_MIN ** (1 / 7) + ramp * (SIGMA_MAX ** (1 / 7) - SIGMA_MIN ** (1 / 7))) ** 7).tolist()
    denoiser = models[stage.name]
    return heun(lambda x, t: denoiser(x, t, ask.labels), SIGMA_MAX * ask.normal(*stage.toy.shape), [*sigmas, 0.0])


def figures(models: Models, seed: int) -> dict[str, float]:
    """What one evaluation costs as the picture grows, with neighbourhoods and without."""
    names = {"neighbourhoods": True, "global attention": False}
    return {
        f"GFLOPs at {side}x{side}, {name}": flops(HDiT(local=local), side) / 1e9
        for side in (64, 128, 256)
        for name, local in names.items()
    }


def flops(net: nn.Module, side: int) -> float:
    """FLOPs of one evaluation on a picture of side x side pixels, counted without computing it."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        net.to("meta")(torch.zeros(1, side, side, 3), torch.zeros(1), torch.zeros(1, len(FIELDS), dtype=torch.long))
    return float(counter.get_total_flops())


def _stage(name: str, net: Callable[[], nn.Module]) -> Stage:
    return Stage(name=name, toy=PICTURES_64, build=lambda models: Denoiser(net()), loss=loss, share=0.5, batch_size=16)


HDIT = _stage("hdit", HDiT)
PLAIN = _stage("hdit-plain", lambda: DiT((64, 64, 3), patch=4))

ENTRY = Entry(
    name="hdit",
    title="HDiT",
    paper=Paper(
        authors="Crowson, Baumann, Birch, Abraham, Kaplan and Shippole",
        year=2024,
        title="Scalable High-Resolution Pixel-Space Image Synthesis with Hourglass Diffusion Transformers",
        arxiv="2401.11605",
    ),
    family="transformers",
    new="An hourglass of tokens with attention to neighbourhoods: a pixel transformer of linear cost.",
    after=("dit", "edm"),
    stages=(HDIT, PLAIN),
    rows=(
        Row(name="HDiT", sample=partial(sample, stage=HDIT), stages=(HDIT,), toy=PICTURES_64),
        Row(name="DiT on pixels, patches of 4", sample=partial(sample, stage=PLAIN), stages=(PLAIN,), toy=PICTURES_64),
    ),
    figures=figures,
)
