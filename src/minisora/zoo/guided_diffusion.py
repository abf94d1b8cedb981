"""Guided diffusion: diffusion models beat GANs on image synthesis.

Dhariwal and Nichol 2021, arXiv:2105.05233.

What was new: two things. A better U-Net (ADM): attention at several resolutions with more heads,
the step and the class as scale and shift of group norms (AdaGN, of their paper before). And
classifier guidance: a classifier that was trained on noisy pictures pulls the samples towards a
class by its gradient, and a scale on that gradient trades variety for quality, as truncation does
for GANs. Before it: DDPM (ddpm.py), and the same gradient in Sohl-Dickstein et al. 2015 and Song et
al. (score_sde.py). After it: guidance without a classifier (Ho and Salimans 2022, arXiv:2207.12598;
dit.py), which nearly all that followed use.

Smaller here: 32x32 pictures, 2.9 million parameters for 296 (ImageNet 64x64). Half of the training
samples are shown no class, so one network is both the unconditional and the conditional one of
Table 4 (as arXiv has it). Fixed variances for learned ones (section 2.1), and no BigGAN-like
resampling within the residual blocks.

In the paper's symbols p_phi(y | x_t) is the classifier and s the gradient scale; samples are of
Algorithm 2, which guides DDIM.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.zoo import ddpm
from minisora.zoo.ddim import denoised
from minisora.zoo.ddpm import ALPHA_BAR, EpsilonNet, T, noised
from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import CLASSES, PICTURES_32, ToyBatch, batch_of, classes_of
from minisora.zoo.nets.attention import attend
from minisora.zoo.nets.embed import TimeEmbedding
from minisora.zoo.nets.unet import Level, Resample, UNetConfig

ADM = UNetConfig(attention=(1, 2))  # the paper's 32, 16 and 8 are for larger pictures
DROPPED = 0.5  # share of the samples that are shown no class
STEPS = 20  # of DDIM; 25 in the paper


class Classifier(nn.Module):
    """log p_phi(y | x_t) of every class: the downward half of the U-Net, then attention pooling.

    Section 4.3. x: (B, H, W, 3), t: (B,) -> (B, CLASSES) logits
    """

    def __init__(self, config: UNetConfig, side: int = PICTURES_32.side) -> None:
        super().__init__()
        width = config.widths[0]
        self.time = TimeEmbedding(config.embedding)
        self.enter = nn.Conv2d(config.in_channels, width, 3, padding=1)
        self.down = nn.ModuleList()
        for level, out in enumerate(config.widths):
            if level:
                self.down.append(Resample(config, width, up=False))
            for _ in range(config.blocks):
                self.down.append(Level(config, width, out, attends=level in config.attention))
                width = out
        self.pool = AttentionPool(width, config.head_width, (side >> len(config.widths) - 1) ** 2)
        self.leave = nn.Linear(width, CLASSES)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        h, embedding = self.enter(x.permute(0, 3, 1, 2)), self.time(t)
        for block in self.down:
            h = block(h, embedding, None)
        logits: Tensor = self.leave(self.pool(h.flatten(2).mT)).float()
        return logits


class AttentionPool(nn.Module):
    """CLIP's pooling: one attention whose query is the mean of all places. (B, L, D) -> (B, D)"""

    def __init__(self, width: int, head_width: int, length: int) -> None:
        super().__init__()
        self.heads = width // head_width
        self.places = nn.Parameter(torch.randn(length + 1, width) / width**0.5)
        self.norm, self.q, self.kv = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, 2 * width)

    def forward(self, h: Tensor) -> Tensor:
        h = self.norm(torch.cat([h.mean(1, keepdim=True), h], 1) + self.places)
        q, (k, v) = self.q(h[:, :1]), self.kv(h).chunk(2, -1)
        q, k, v = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (q, k, v))
        return attend(q, k, v).transpose(1, 2).flatten(1)


def classifier_loss(classifier: nn.Module, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """Cross-entropy of the class at the noise of a uniform step; for the log, the accuracy."""
    t = torch.randint(T, (len(batch.x),), generator=noise)
    eps = torch.randn(batch.x.shape, generator=noise)
    logits, y = classifier(noised(batch.x, eps, t), t), classes_of(batch.labels)
    return {"loss": F.cross_entropy(logits, y), "accuracy": (logits.argmax(1) == y).float().mean()}


def gradient(classifier: nn.Module, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """grad_x log p_phi(y | x_t)."""
    with torch.inference_mode(False), torch.enable_grad():
        x_t, t = x_t.clone().requires_grad_(), t.clone()  # a state of the sampler knows no gradients
        log_p = classifier(x_t, t).log_softmax(1).gather(1, classes_of(labels)[:, None])
        return torch.autograd.grad(log_p.sum(), x_t)[0]


def guided(eps_theta: ddpm.Epsilon, classifier: nn.Module, s: float) -> ddpm.Epsilon:
    """The noise of the joint score of x_t and y, Eq. 14, with the gradient scaled by s."""

    def eps_hat(x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        sigma = (1 - ALPHA_BAR[t]).sqrt().reshape(-1, 1, 1, 1)
        return eps_theta(x, t, labels) - s * sigma * gradient(classifier, x, t, labels)

    return eps_hat


def sample(models: Models, ask: Ask, *, conditional: bool, s: float = 0.0) -> Tensor:
    """Algorithm 2. s: 0 asks no classifier"""
    adm = models[STAGE.name]
    dropped = torch.full((len(ask),), not conditional)

    def eps_theta(x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        eps: Tensor = adm(x, t, labels, dropped)
        return eps.float()

    eps = guided(eps_theta, models[CLASSIFIER.name], s) if s else eps_theta
    return denoised(eps, ask.normal(*PICTURES_32.shape), ask, steps=STEPS, bound=1)


def figures(models: Models, seed: int) -> dict[str, float]:
    """Share of held-out pictures whose class the classifier sees, at some steps of noise."""
    batch, noise = batch_of(PICTURES_32, range(512), split="held_out"), torch.Generator().manual_seed(seed)
    right = {}
    for step in (0, 200, 400, 600):
        t = torch.full((len(batch.x),), step)
        x_t = noised(batch.x, torch.randn(batch.x.shape, generator=noise), t)
        seen = models[CLASSIFIER.name](x_t, t).argmax(1) == classes_of(batch.labels)
        right[f"accuracy of the classifier at step {step}"] = float(seen.float().mean())
    return right


STAGE = Stage(
    name="adm", toy=PICTURES_32, build=lambda models: EpsilonNet(ADM), loss=partial(ddpm.loss, dropped=DROPPED)
)
CLASSIFIER = Stage(
    name="adm-classifier",
    toy=PICTURES_32,
    build=lambda models: Classifier(ADM),
    loss=classifier_loss,
    share=0.3,
    weight_decay=0.05,
)


def _row(*, conditional: bool, s: float) -> Row:
    return Row(
        name=f"ADM, {'conditional' if conditional else 'unconditional'}" + (f", classifier scale {s:g}" if s else ""),
        sample=partial(sample, conditional=conditional, s=s),
        stages=(STAGE, CLASSIFIER) if s else (STAGE,),
        toy=PICTURES_32,
    )


ENTRY = Entry(
    name="guided_diffusion",
    title="Guided Diffusion",
    paper=Paper(
        authors="Dhariwal and Nichol",
        year=2021,
        title="Diffusion Models Beat GANs on Image Synthesis",
        arxiv="2105.05233",
    ),
    family="diffusion",
    new="The gradient of a classifier of noisy pictures pulls samples towards a class, as hard as one likes.",
    after=("ddpm", "ddim", "score_sde"),
    stages=(STAGE, CLASSIFIER),
    rows=(
        *(_row(conditional=False, s=s) for s in (0.0, 1.0, 4.0)),
        *(_row(conditional=True, s=s) for s in (0.0, 1.0)),
    ),
    figures=figures,
)
