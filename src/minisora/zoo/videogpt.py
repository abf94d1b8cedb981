"""VideoGPT: video generation using VQ-VAE and transformers.

Yan, Zhang, Abbeel and Srinivas 2021, arXiv:2104.10157.

What was new: a video is a sentence. A VQ-VAE with 3D convolutions and axial attention turns a clip
into a small grid of codes; a plain GPT learns to write the codes one after another. Nothing of it
is made for video, and it held its own against GANs (dvdgan.py), with a likelihood to read and
without a game to balance. Before it: VQ-VAE (van den Oord et al. 2017, arXiv:1711.00937). After it:
one language model for many tasks (videopoet.py); diffusion over the latents without the codes
(latent_diffusion.py, latte.py), which Sora follows.

Smaller here: clips of 16x32x32 as 4x8x8 codes of a book of 512 (paper: 16x128x128 as 4x32x32 of
1024 or 2048), transformer of 3.8 million parameters. Group norms stand for batch norms, as the
averaged weights that are sampled from have no batches. The class is colour, shape and motion; as in
the official code it sets gain and bias of the norms.

In the paper's symbols: z are the encoder's vectors, e those of the codebook, sg stops the gradient.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import CLIPS_32, ToyBatch, batch_of
from minisora.zoo.mocogan import ACTION, one_hot
from minisora.zoo.nets.attention import Attention
from minisora.zoo.nets.causal import Cache, CausalTransformer, Places, drawn

K, CODE_WIDTH, HIDDEN = 512, 32, 96  # codes of the book, width of a code, channels of the VQ-VAE
GRID = (4, 8, 8)  # codes of a clip: time, rows, columns
LENGTH = math.prod(GRID)
BETA = 0.25  # weight of the commitment
GAMMA = 0.99  # decay of the codebook's averages
VARIANCE = 0.24  # of a pixel: the error is counted in it
WIDTH, DEPTH, HEADS = 192, 6, 6


class Codebook(nn.Module):
    """K vectors; each follows the mean of the encoder's vectors that are nearest to it.

    The paper's loss has |sg[z] - e|^2 for that; as in its code, averages stand for it (van den Oord
    et al. 2017, arXiv:1711.00937, appendix A.1), and a code that nobody chooses begins again at one
    of the encoder's vectors.
    """

    e: Tensor
    N: Tensor
    m: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("e", torch.randn(K, CODE_WIDTH))
        self.register_buffer("N", torch.ones(K))  # average number of vectors that choose a code
        self.register_buffer("m", self.e.clone())  # and of their sum

    def nearest(self, z: Tensor) -> Tensor:
        """argmin_k |z - e_k|^2: (..., CODE_WIDTH) float32 -> (...) int64."""
        with torch.autocast(z.device.type, enabled=False):
            return (self.e.square().sum(1) - 2 * z @ self.e.mT).argmin(-1)

    @torch.no_grad()
    def follow(self, z: Tensor, codes: Tensor, noise: torch.Generator) -> None:
        """Averages of the vectors z (M, CODE_WIDTH) that chose each of the codes (M,)."""
        self.N.lerp_(torch.bincount(codes, minlength=K).float(), 1 - GAMMA)
        self.m.lerp_(torch.zeros_like(self.m).index_add_(0, codes, z), 1 - GAMMA)
        idle = self.N < 1
        self.m[idle] = z[torch.randint(len(z), (int(idle.sum()),), generator=noise)]
        self.N[idle] = 1.0
        self.e.copy_(self.m / self.N[:, None])


class AxialBlock(nn.Module):
    """x + a bottleneck of convolutions, then attention along columns, rows and time, summed."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *(nn.GroupNorm(8, HIDDEN), nn.ReLU(), nn.Conv3d(HIDDEN, HIDDEN // 2, 3, padding=1)),
            *(nn.GroupNorm(8, HIDDEN // 2), nn.ReLU(), nn.Conv3d(HIDDEN // 2, HIDDEN, 1)),
            *(nn.GroupNorm(8, HIDDEN), nn.ReLU()),
        )
        self.along = nn.ModuleList([Attention(HIDDEN, HIDDEN, HIDDEN // 2) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        h = self.convolutions(x).permute(0, 2, 3, 4, 1)  # (B, T, H, W, C)
        attended = torch.zeros_like(h)
        for axis, attention in enumerate(self.along, start=1):
            lines = h.movedim(axis, 3)
            flat = lines.flatten(0, 2)
            attended = attended + attention(flat, flat).view(lines.shape).movedim(3, axis)
        return x + attended.permute(0, 4, 1, 2, 3)


class VQVAE(nn.Module):
    """Clips (B, 16, 32, 32, 3) to codes (B, LENGTH), by time, row and column, and back."""

    def __init__(self) -> None:
        super().__init__()
        half = HIDDEN // 2
        self.encoder = nn.Sequential(
            *(nn.Conv3d(3, half, 4, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv3d(half, HIDDEN, 4, stride=2, padding=1), nn.ReLU(), nn.Conv3d(HIDDEN, HIDDEN, 3, padding=1)),
            *(AxialBlock(), AxialBlock(), nn.GroupNorm(8, HIDDEN), nn.ReLU(), nn.Conv3d(HIDDEN, CODE_WIDTH, 1)),
        )
        self.codebook = Codebook()
        self.decoder = nn.Sequential(
            *(nn.Conv3d(CODE_WIDTH, HIDDEN, 1), AxialBlock(), AxialBlock(), nn.GroupNorm(8, HIDDEN), nn.ReLU()),
            *(nn.ConvTranspose3d(HIDDEN, half, 4, stride=2, padding=1), nn.ReLU()),
            nn.ConvTranspose3d(half, 3, 4, stride=2, padding=1),
        )
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's stub lacks this form

    def forward(self, x: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """The clip again, and |z - sg[e]|^2. noise: where unused codes begin again, in training"""
        z = self.vectors(x)
        codes = self.codebook.nearest(z)
        e = self.codebook.e[codes]
        if self.training:
            self.codebook.follow(z.detach().flatten(0, -2), codes.flatten(), noise)
        straight_through = z + (e - z).detach()  # the gradient of e goes to z as it is
        return self.pixels(straight_through), (z - e).square().mean()

    def vectors(self, x: Tensor) -> Tensor:
        return self.encoder(x.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1).float()

    def pixels(self, e: Tensor) -> Tensor:
        return self.decoder(e.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1).float()

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        return self.codebook.nearest(self.vectors(x)).flatten(1)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        return self.pixels(self.codebook.e[codes.unflatten(1, GRID)]).clamp(-1, 1)


def vq_loss(vqvae: VQVAE, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """|x - D(e)|^2 + beta |z - sg[e]|^2; the codebook's own term is Codebook.follow."""
    x_hat, commitment = vqvae(batch.x, noise)
    error = F.mse_loss(x_hat, batch.x)
    return {"loss": error / VARIANCE + BETA * commitment, "error": error.detach()}


class GPT(nn.Module):
    """p(code | codes before it, class). The tokenizer is used, not owned: `tokenize` is no part."""

    def __init__(self, vqvae: VQVAE) -> None:
        super().__init__()
        self.tokenize = vqvae.encode
        self.codes = nn.Embedding(K + 1, WIDTH)  # the last one stands before the first code
        self.places = Places(GRID, WIDTH)
        self.label = nn.Linear(ACTION, WIDTH)
        self.transformer = CausalTransformer(WIDTH, DEPTH, HEADS, condition=WIDTH)
        self.head = nn.Linear(WIDTH, K, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, before: Tensor, labels: Tensor, cache: Cache | None = None) -> Tensor:
        """Logits of the code at each place. before: (B, L), the code before it; K at first"""
        first = cache.read if cache else 0
        places = self.places()[first : first + before.shape[1]]
        x = self.transformer(self.codes(before) + places, condition=self.label(one_hot(labels)), cache=cache)
        return self.head(x)


def loss(gpt: GPT, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """-log p(codes | class), in nats per code."""
    codes = gpt.tokenize(batch.x)
    logits = gpt(F.pad(codes[:, :-1], (1, 0), value=K), batch.labels)
    return {"loss": F.cross_entropy(logits.float().flatten(0, 1), codes.flatten())}


def written(gpt: nn.Module, ask: Ask) -> Tensor:
    """Codes (N, LENGTH), drawn one after another."""
    cache, code, codes = Cache(DEPTH, LENGTH), torch.full((len(ask), 1), K), []
    for _ in range(LENGTH):
        code = drawn(gpt(code, ask.labels, cache)[:, -1], ask.noise)
        codes.append(code)
    return torch.cat(codes, 1)


def tokenizer(models: Models) -> VQVAE:
    vqvae = models[VQ_STAGE.name]
    assert isinstance(vqvae, VQVAE)
    return vqvae


def sample(models: Models, ask: Ask) -> Tensor:
    return tokenizer(models).decode(written(models[GPT_STAGE.name], ask))


def figures(models: Models, seed: int) -> dict[str, float]:
    """On held-out clips: what the codes keep, how many of them are in use, and what one costs."""
    vqvae, batch = tokenizer(models), batch_of(CLIPS_32, range(128), split="held_out")
    with torch.inference_mode():
        codes = vqvae.encode(batch.x)
        error = F.mse_loss(vqvae.decode(codes), batch.x)
        nats = GPT_STAGE.loss(models[GPT_STAGE.name], batch, torch.Generator().manual_seed(seed))["loss"]
    return {
        "PSNR of the reconstruction, dB": float(10 * torch.log10(4 / error)),  # 4: pixels are in -1..1
        f"perplexity of the codebook, of {K}": perplexity(codes),
        "bits per code": float(nats) / math.log(2),
    }


def perplexity(codes: Tensor) -> float:
    """exp of the entropy of the codes' frequencies: as many equally frequent ones would have it."""
    shares = torch.bincount(codes.flatten(), minlength=K) / codes.numel()
    return float(torch.special.entr(shares).sum().exp())


VQ_STAGE = Stage(
    name="videogpt-vqvae", toy=CLIPS_32, build=lambda models: VQVAE(), loss=vq_loss, share=0.6, batch_size=16
)
GPT_STAGE = Stage(
    name="videogpt",
    toy=CLIPS_32,
    build=lambda models: GPT(tokenizer(models)),
    loss=loss,
    needs=(VQ_STAGE,),
    share=0.8,
    batch_size=16,
)

ENTRY = Entry(
    name="videogpt",
    title="VideoGPT",
    paper=Paper(
        authors="Yan, Zhang, Abbeel and Srinivas",
        year=2021,
        title="VideoGPT: Video Generation using VQ-VAE and Transformers",
        arxiv="2104.10157",
    ),
    family="video",
    new="A clip becomes a grid of codes, and a plain GPT writes the codes one after another.",
    stages=(GPT_STAGE,),
    rows=(Row(name="VideoGPT", sample=sample, stages=(VQ_STAGE, GPT_STAGE), toy=CLIPS_32),),
    figures=figures,
)
