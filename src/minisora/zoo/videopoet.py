"""VideoPoet: a large language model for zero-shot video generation.

Kondratyuk et al. 2023, arXiv:2312.14125.

What was new: one language model for everything that can be said in tokens. Words, pictures, video
and sound are one sequence; a task is a token and what is known, the prefix, which the model sees in
both directions; the rest is written token by token, and the loss is on that alone (sections 3.2 and
4.1). Text to video, picture to video, prediction, inpainting and outpainting are then one network.
Before it: VideoGPT (videogpt.py) with one task; MAGVIT (Yu et al. 2022, arXiv:2212.05199), many
tasks with masked tokens. After it, the same breadth in a diffusion transformer: Sora (sora.py);
in minisora clean frames on the canvas stand for the prefix.

Smaller here: no sound and no super-resolution, seven words for the text, and the codes of
videogpt.py, trained once for both, instead of MAGVIT-v2's. Those are not causal: each sees frames
after its own. So what a task may know is encoded by itself, with unknown pixels grey and unknown
frames the last known one, held still.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import CLIPS_32, WORDS, ToyBatch, batch_of, words_of
from minisora.zoo.nets.causal import Cache, CausalTransformer, Places, drawn
from minisora.zoo.videogpt import GRID, VQ_STAGE, VQVAE, K, tokenizer

WIDTH, DEPTH, HEADS = 192, 6, 6
STRIDE, CELL = CLIPS_32.num_frames // GRID[0], CLIPS_32.side // GRID[1]  # frames and pixels that a code covers
NO_TEXT = 0.1  # share of the samples that are shown no words


@dataclass(frozen=True, eq=False)
class Task:
    """What is known of a clip.

    frames: the first ones
    seen:   and of these, the cells (rows, columns) of the grid of codes, bool
    """

    frames: int
    seen: Tensor

    def shown(self, x: Tensor) -> Tensor:
        """The clips (B, T, H, W, 3) as far as they are known."""
        pixels = self.seen.repeat_interleave(CELL, 0).repeat_interleave(CELL, 1)
        last = x[:, max(0, self.frames - 1)][:, None].expand(-1, x.shape[1] - self.frames, -1, -1, -1)
        return torch.cat([x[:, : self.frames], last], 1) * pixels[..., None]

    @property
    def prefix(self) -> Tensor:
        """Cells whose codes are given, as places in the clip."""
        return self._cells(math.ceil(self.frames / STRIDE)).nonzero()[:, 0]

    @property
    def written(self) -> Tensor:
        """Cells whose codes are written: those of which not all is known."""
        return (~self._cells(self.frames // STRIDE)).nonzero()[:, 0]

    def _cells(self, steps: int) -> Tensor:
        cells = self.seen.expand(GRID).clone()
        cells[steps:] = False
        return cells.flatten()


ALL = torch.ones(GRID[1:], dtype=torch.bool)
MIDDLE = (torch.arange(8) - 3.5).abs() < 2  # rows or columns
TASKS = {
    "text": Task(0, ALL & False),
    "image": Task(1, ALL),
    "prediction": Task(CLIPS_32.num_frames // 2, ALL),
    "inpainting": Task(CLIPS_32.num_frames, ~(MIDDLE[:, None] & MIDDLE)),
    "outpainting": Task(CLIPS_32.num_frames, ALL & MIDDLE),
}
SHARES = torch.tensor([0.4, 0.15, 0.15, 0.15, 0.15])  # of the steps


class VideoPoet(nn.Module):
    """p(code | codes written before it, prefix); the prefix is task, words and known codes."""

    def __init__(self, vqvae: VQVAE) -> None:
        super().__init__()
        self.tokenize = vqvae.encode  # used, not owned
        self.tasks = nn.Embedding(len(TASKS), WIDTH)
        self.words = nn.Embedding(len(WORDS) + 1, WIDTH)  # the last one: no word
        self.codes = nn.Embedding(K + 1, WIDTH)  # the last one stands before the first that is written
        self.places, self.asked = Places(GRID, WIDTH), nn.Parameter(0.02 * torch.randn(WIDTH))
        self.transformer = CausalTransformer(WIDTH, DEPTH, HEADS)
        self.head = nn.Linear(WIDTH, K, bias=False)
        nn.init.zeros_(self.head.weight)

    def prefix(self, name: str, x: Tensor, labels: Tensor, wordless: Tensor | None = None) -> Tensor:
        """What is known, as vectors (B, P, WIDTH). x: clips, of which the task shows its part"""
        task, words = TASKS[name], words_of(labels)
        if wordless is not None:
            words = torch.where(wordless[:, None], len(WORDS), words)
        number = torch.full((len(x), 1), list(TASKS).index(name))
        known = self.tokenize(task.shown(x))[:, task.prefix]
        return torch.cat([self.tasks(number), self.words(words), self.codes(known) + self.places()[task.prefix]], 1)

    def forward(
        self, before: Tensor, cells: Tensor, *, prefix: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """Logits (B, L, K) of the codes at cells (L,). before: (B, L), the code before each"""
        h = self.codes(before) + self.places()[cells] + self.asked
        known = 0 if prefix is None else prefix.shape[1]
        if prefix is not None:
            h = torch.cat([prefix, h], 1)
        return self.head(self.transformer(h, prefix=known, cache=cache)[:, known:])


def loss(model: VideoPoet, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """-log p of what a task writes. A step has one task, so that nothing is padded; section 4.2."""
    name = list(TASKS)[int(torch.multinomial(SHARES, 1, generator=noise))]
    wordless = torch.rand(len(batch.x), generator=noise) < NO_TEXT
    return {"loss": nats(model, name, batch, wordless)}


def nats(model: VideoPoet, name: str, batch: ToyBatch, wordless: Tensor | None = None) -> Tensor:
    """Mean of -log p over the codes that a task writes."""
    cells = TASKS[name].written
    codes = model.tokenize(batch.x)[:, cells]
    before = F.pad(codes[:, :-1], (1, 0), value=K)
    logits = model(before, cells, prefix=model.prefix(name, batch.x, batch.labels, wordless))
    return F.cross_entropy(logits.float().flatten(0, 1), codes.flatten())


def written(model: VideoPoet, name: str, x: Tensor, ask: Ask, *, temperature: float = 1.0) -> Tensor:
    """Codes (N, LENGTH) of clips of which a task is shown its part of x."""
    task, prefix = TASKS[name], model.prefix(name, x, ask.labels)
    codes, code = model.tokenize(task.shown(x)), torch.full((len(x), 1), K)
    cache = Cache(DEPTH, prefix.shape[1] + len(task.written))
    for n, cell in enumerate(task.written):
        logits = model(code, cell[None], prefix=None if n else prefix, cache=cache)
        code = drawn(logits[:, -1], ask.noise, temperature=temperature)
        codes[:, cell] = code[:, 0]
    return codes


def trained(models: Models) -> VideoPoet:
    model = models[STAGE.name]
    assert isinstance(model, VideoPoet)
    return model


def sample(models: Models, ask: Ask) -> Tensor:
    nothing = torch.zeros(len(ask), *CLIPS_32.shape)
    return tokenizer(models).decode(written(trained(models), "text", nothing, ask))


def figures(models: Models, seed: int) -> dict[str, float]:
    """On held-out clips: bits per written code; the error of the frames that are not known.

    The error is the mean square of a pixel in 0..1, of the likeliest codes; that of the codec is
    below any model, that of copying the last known frame is to be beaten.
    """
    model, vqvae = trained(models), tokenizer(models)
    batch, found = batch_of(CLIPS_32, range(64), split="held_out"), {}
    ask = Ask(batch.labels, torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        for name in TASKS:
            found[f"bits per code, {name}"] = float(nats(model, name, batch)) / math.log(2)
        for name in ("image", "prediction"):
            clips = {
                "written": vqvae.decode(written(model, name, batch.x, ask, temperature=0)),
                "copied": TASKS[name].shown(batch.x),
                "codec": vqvae.decode(vqvae.encode(batch.x)),
            }
            for how, clip in clips.items():
                unknown = ((clip - batch.x) / 2)[:, TASKS[name].frames :]
                found[f"error of {name}, {how}"] = float(unknown.square().mean())
    return found


STAGE = Stage(
    name="videopoet",
    toy=CLIPS_32,
    build=lambda models: VideoPoet(tokenizer(models)),
    loss=loss,
    needs=(VQ_STAGE,),
    batch_size=16,
)

ENTRY = Entry(
    name="videopoet",
    title="VideoPoet",
    paper=Paper(
        authors="Kondratyuk et al.",
        year=2023,
        title="VideoPoet: A Large Language Model for Zero-Shot Video Generation",
        arxiv="2312.14125",
    ),
    family="video",
    new="One language model for text to video, picture to video, prediction, inpainting and outpainting.",
    after=("videogpt",),
    stages=(STAGE,),
    rows=(Row(name="VideoPoet, text to video", sample=sample, stages=(VQ_STAGE, STAGE), toy=CLIPS_32),),
    figures=figures,
)
