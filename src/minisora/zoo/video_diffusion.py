"""Video Diffusion Models.

Ho, Salimans, Gritsenko, Chan, Norouzi and Fleet 2022, arXiv:2204.03458.

What was new: the diffusion models of pictures (ddpm.py) make clips with little change. The U-Net is
factorised over space and time: its convolutions and attentions stay within a frame, and after each
attention over a frame's pixels comes one over the frames at a pixel. Masked, the latter lets a
batch train on clips and on single pictures together. And a model of 16 frames extends its own clips
by reconstruction guidance, with no training for it. After it: imagen_video.py, a cascade of such
models; make it in latents, on a frozen picture model, and it is videoldm.py; mcvd.py, six weeks
later, is trained for conditions.

Smaller here: 16 frames of 32x32 pixels, which enter in squares of 2x2, and narrow widths, so that
more than ten thousand clips are seen; the 1000 steps and the eps of ddpm.py stand for the paper's
continuous time; relative positions are a learnt bias of each head and offset. Trained with pictures
and without, on the same FLOPs.

In the paper's symbols z_t = alpha_t x + sigma_t eps (Eq. 1), so that alpha_t^2 is DDPM's alpha bar;
x^a are frames that are known, x^b those to be sampled; w_r weighs the guidance.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.zoo.ddim import denoised
from minisora.zoo.ddpm import ALPHA_BAR, Epsilon, T, noised, spaced
from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import CLIPS_32, ToyBatch, batch_of
from minisora.zoo.nets.embed import ClassEmbedding, TimeEmbedding, zeroed
from minisora.zoo.nets.guidance import guided
from minisora.zoo.nets.norm import GroupNorm
from minisora.zoo.nets.unet import GROUPS, Attention2d, Level, UNet, UNetConfig

CONFIG = UNetConfig(in_channels=12, out_channels=12, widths=(32, 48), blocks=1, attention=(1,), head_width=16)
NUM_FRAMES = CLIPS_32.num_frames
PICTURES = 4  # single pictures behind each clip, in joint training
KNOWN = 8  # frames of a clip that is extended
STEPS = 20
GUIDANCE = 2.0
DROPPED = 0.1  # share of the samples that are shown no class, for guidance


class SpaceTimeAttention(Attention2d):
    """Attention over the pixels of a frame, then over the frames at a pixel (section 3)."""

    def __init__(self, config: UNetConfig, width: int) -> None:
        super().__init__(config, width)
        self.heads = max(1, width // config.head_width)
        self.norm_t = GroupNorm(GROUPS, width)
        self.qkv, self.out = nn.Linear(width, 3 * width), zeroed(nn.Linear(width, width))
        self.bias = nn.Parameter(torch.zeros(self.heads, 2 * (NUM_FRAMES + PICTURES) - 1))  # of relative positions

    def forward(self, h: Tensor, context: Tensor | None) -> Tensor:
        """h: (B L, C, H, W); context: (L, L) bool, True where a frame sees another"""
        assert context is not None
        h, mask = super().forward(h, None), context
        rows, columns, length = *h.shape[2:], len(mask)
        x = self.norm_t(h).unflatten(0, (-1, length)).permute(0, 3, 4, 1, 2).flatten(0, 2)  # (B H W, L, C)
        q, k, v = (each.unflatten(2, (self.heads, -1)).transpose(1, 2) for each in self.qkv(x).chunk(3, 2))
        frame = torch.arange(length)
        bias = self.bias[:, frame[:, None] - frame + self.bias.shape[1] // 2]
        scores = (q * q.shape[-1] ** -0.5) @ k.mT + bias
        y = scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v
        y = self.out(y.transpose(1, 2).flatten(2)).unflatten(0, (-1, rows, columns))
        return h + y.permute(0, 3, 1, 2, 4).flatten(0, 1).permute(0, 3, 1, 2)


class VideoNet(nn.Module):
    """eps_theta(z_t): the noise in clips, and in pictures that stand behind them.

    z:        (B, L, H, W, 3), NUM_FRAMES frames of a clip or fewer, then single pictures
    t:        (B,) in 0..T-1
    labels:   (B, FIELDS), or (B, L, FIELDS) of each frame
    pictures: how many of the L are pictures, which see nothing but themselves
    """

    def __init__(self) -> None:
        super().__init__()
        self.time, self.label = TimeEmbedding(CONFIG.embedding), ClassEmbedding(CONFIG.embedding)
        self.unet = UNet(CONFIG)
        for level in list(self.unet.modules()):
            if isinstance(level, Level) and level.attention is not None:
                level.attention = SpaceTimeAttention(CONFIG, level.attention.norm.num_channels)

    def forward(
        self, z: Tensor, t: Tensor, labels: Tensor, dropped: Tensor | None = None, *, pictures: int = 0
    ) -> Tensor:
        count, length = z.shape[:2]
        labels = labels if labels.ndim == 3 else labels[:, None].expand(-1, length, -1)
        dropped = None if dropped is None else dropped.repeat_interleave(length)
        told = self.time(t).repeat_interleave(length, 0) + self.label(labels.flatten(0, 1), dropped)
        squares = F.pixel_unshuffle(z.flatten(0, 1).permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
        eps = self.unet(squares, told, sight(length - pictures, pictures)).permute(0, 3, 1, 2)
        return F.pixel_shuffle(eps, 2).permute(0, 2, 3, 1).unflatten(0, (count, length))


def sight(frames: int, pictures: int) -> Tensor:
    """What each frame sees, (L, L) bool: those of its clip; a picture itself (section 3)."""
    return torch.block_diag(torch.ones(frames, frames), torch.eye(pictures)).bool()


def loss(eps_theta: nn.Module, batch: ToyBatch, noise: torch.Generator, *, pictures: int) -> dict[str, Tensor]:
    """Eq. 2 as the error of eps, on clips and random frames of other clips (section 4.3.1)."""
    count = len(batch.x)
    clip = torch.randint(count, (count, pictures), generator=noise)
    frame = torch.randint(NUM_FRAMES, (count, pictures), generator=noise)
    x = torch.cat([batch.x, batch.x[clip, frame]], 1)
    labels = torch.cat([batch.labels[:, None].expand(-1, NUM_FRAMES, -1), batch.labels[clip]], 1)
    t = torch.randint(T, (count,), generator=noise)
    eps = torch.randn(x.shape, generator=noise)
    without = torch.rand(count, generator=noise) < DROPPED
    predicted = eps_theta(noised(x, eps, t), t, labels, without, pictures=pictures)
    return {"loss": (predicted.float() - eps).square().mean()}


def sample(models: Models, ask: Ask, *, stage: Stage, guidance: float = 1.0) -> Tensor:
    """DDIM, with classifier-free guidance (Eq. 6, whose w is our guidance - 1)."""
    eps_theta = guided(models[stage.name], guidance)
    return denoised(eps_theta, ask.normal(*CLIPS_32.shape), ask, steps=STEPS, bound=1)


def extended(eps_theta: Epsilon, x_a: Tensor, ask: Ask, *, frames: int, w_r: float, steps: int = STEPS) -> Tensor:
    """x^b, the frames after x^a (B, T, H, W, 3), up to `frames` in all: (B, frames - T, H, W, 3).

    At each step the known frames are noised anew and put in the place of sampled ones: the
    replacement method, if w_r = 0. Reconstruction guidance also moves x^b to where the model finds
    x^a again (section 3.1).
    """
    known, tau = x_a.shape[1], spaced(steps)
    z_b = ask.normal(frames - known, *x_a.shape[2:])
    for n in reversed(range(steps)):
        alpha, sigma = ALPHA_BAR[tau[n]].sqrt(), (1 - ALPHA_BAR[tau[n]]).sqrt()
        z_a = alpha * x_a + sigma * ask.normal(*x_a.shape[1:])  # q(z_t^a | x^a)
        with torch.enable_grad():
            z_b.requires_grad_(w_r > 0)
            z = torch.cat([z_a, z_b], 1)
            eps = eps_theta(z, tau[n].expand(len(z)), ask.labels).float()
            x = (z - sigma * eps) / alpha
            x_b, error = x[:, known:], (x_a - x[:, :known]).square().sum()
            if w_r > 0:
                x_b = x_b - w_r * alpha / 2 * torch.autograd.grad(error, z_b)[0]  # Eq. 7
        z_b, x_b = z_b.detach(), x_b.detach().clamp(-1, 1)
        before = ALPHA_BAR[tau[n - 1]] if n else torch.tensor(1.0)
        z_b = before.sqrt() * x_b + (1 - before).sqrt() * (z_b - alpha * x_b) / sigma
    return z_b


def figures(models: Models, seed: int) -> dict[str, float]:
    """Held-out clips extended from their first half: error per pixel, in 0..1, and at the seam.

    seam: squared difference of the last known frame and the first sampled one
    """
    model, batch = models[JOINT.name], batch_of(CLIPS_32, range(32), split="held_out")
    x_a, x_b = batch.x.split([KNOWN, NUM_FRAMES - KNOWN], 1)
    ways = {"the truth": x_b, "the last frame copied": x_a[:, -1:].expand_as(x_b)}
    for name, w_r in (("replacement", 0.0), ("reconstruction guidance, w_r 1", 1.0), ("w_r 3", 3.0)):
        ask = Ask(batch.labels, torch.Generator().manual_seed(seed))
        ways[name] = extended(model, x_a, ask, frames=NUM_FRAMES, w_r=w_r)
    errors = {f"error of extension, {name}": float(((x - x_b) / 2).square().mean()) for name, x in ways.items()}
    seams = {f"seam, {name}": float(((x[:, 0] - x_a[:, -1]) / 2).square().mean()) for name, x in ways.items()}
    return errors | seams


def _stage(name: str, pictures: int) -> Stage:
    return Stage(
        name=name,
        toy=CLIPS_32,
        build=lambda models: VideoNet(),
        loss=partial(loss, pictures=pictures),
        share=0.5,
        batch_size=16,
    )


JOINT, ALONE = _stage("video-diffusion", PICTURES), _stage("video-diffusion-clips-alone", 0)

ENTRY = Entry(
    name="video_diffusion",
    title="Video Diffusion Models",
    paper=Paper(
        authors="Ho, Salimans, Gritsenko, Chan, Norouzi and Fleet",
        year=2022,
        title="Video Diffusion Models",
        arxiv="2204.03458",
    ),
    family="video",
    new="A U-Net factorised over space and time makes clips, learns from pictures too, and extends its own.",
    after=("score_sde",),
    stages=(JOINT, ALONE),
    rows=(
        Row(name="Video diffusion", sample=partial(sample, stage=JOINT), stages=(JOINT,), toy=CLIPS_32),
        Row(
            name=f"Video diffusion, guidance {GUIDANCE:g}",
            sample=partial(sample, stage=JOINT, guidance=GUIDANCE),
            stages=(JOINT,),
            toy=CLIPS_32,
        ),
        Row(
            name="Video diffusion, without pictures",
            sample=partial(sample, stage=ALONE),
            stages=(ALONE,),
            toy=CLIPS_32,
        ),
    ),
    figures=figures,
)
