"""Runs of a tiny transformer and a tiny VAE, and their steps on one process or on many."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from minisora.data.frames import FrameBatch
from minisora.data.latents import LatentBatch
from minisora.data.pack import Pack
from minisora.data.patch import grid_positions
from minisora.dit.model import DiT, DiTConfig
from minisora.train.config import OptimConfig, RunConfig
from minisora.train.hints import HintedDiT, hinted_loss
from minisora.train.parallel import Layout, joined, prepare, whole
from minisora.train.velocity import dit_loss
from minisora.vae.loss import VAELoss
from minisora.vae.model import VAEConfig, VideoVAE
from minisora.worlds.playroom.hints import HINTS, NOTHING

ROOT = Path(__file__).parents[2]
PACKS = 4
TINY = DiTConfig(width=32, depth=2, num_heads=4, mlp_width=48, text_width=12, latent_channels=4, time_width=16)


def network(kind: type[DiT] = DiT) -> DiT:
    """With every branch open: at its own start most gradients are zero."""
    dit = kind(TINY)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in dit.parameters():
            p.copy_(0.15 * torch.randn(p.shape, generator=generator))
    return dit


def batch(number: int) -> LatentBatch:
    """Three clips, two of one size, whose tokens do not split evenly; texts of unequal length."""
    draw = torch.Generator().manual_seed(100 + number)
    shapes, text_lengths = ((1, 3, 3), (2, 3, 2), (2, 3, 2)), (3, 1, 5)
    lengths = tuple(t * h * w for t, h, w in shapes)
    total = sum(lengths)
    pack = Pack(
        tokens=torch.randn(total, TINY.token_channels, generator=draw),
        times=torch.rand(5, generator=draw),
        time_index=torch.randint(5, (total,), generator=draw),
        positions=torch.cat([grid_positions(torch.arange(t).float(), h, w) for t, h, w in shapes]),
        single=torch.rand(total, generator=draw) < 0.3,
        lengths=lengths,
        text=torch.randn(sum(text_lengths), TINY.text_width, generator=draw),
        text_lengths=text_lengths,
    )
    return LatentBatch(pack, torch.rand(total, generator=draw) < 0.8, 1e6)


def hinted(number: int) -> LatentBatch:
    """The same with hints of every token."""
    draw, plain = torch.Generator().manual_seed(number), batch(number)
    hints = [torch.randint(NOTHING, len(answers), (plain.tokens,), generator=draw) for answers in HINTS.values()]
    return replace(plain, hints=torch.stack(hints, 1))


def gradients(layout: Layout, *, float8: bool = False) -> dict[str, Tensor]:
    with joined(layout) as ranks:
        dit = network(HintedDiT)
        prepare(dit, ranks, float8=float8)
        if dit.across is not None:  # what must be decided alike, by the first of those that share a pack
            mine = torch.tensor([ranks.rank])
            assert dit.across.of_first(mine).item() == ranks.rank // layout.context * layout.context
            assert mine.item() == ranks.rank
        own = ranks.share(PACKS)
        total = 0.0
        for n in own:
            loss = hinted_loss(dit, hinted(n), torch.Generator().manual_seed(n))["loss"]
            (loss * layout.context / len(own)).backward()
            total += float(loss.detach()) / PACKS
        grads = {name: whole(p.grad) for name, p in dit.named_parameters() if p.grad is not None}
        (summed,) = ranks.total(total)
        return {**grads, "loss": torch.tensor(summed / layout.context)}


def publish(model: torch.nn.Module, folder: Path, taken: int) -> None:
    torch.save(model.state_dict(), folder / "published.pt")


CONFIG = RunConfig(
    name="shared",
    steps=20,
    build=network,
    batch=batch,
    loss=dit_loss,
    publish=publish,
    optim=OptimConfig(lr=1e-3, warmup_steps=4),
    ema_decay=0.9,
    bf16=False,
    log_every=1,
    packs=PACKS,
    prefetch=0,
)

VAE = VAEConfig(
    latent_channels=4, widths=(16, 16, 16), latent_width=16, encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1, 1)
)


def crops(number: int) -> FrameBatch:
    draw = torch.Generator().manual_seed(number)
    return FrameBatch(torch.randint(0, 256, (1, 5, 16, 16, 3), generator=draw, dtype=torch.uint8), 1e6)


VAE_RUN = replace(
    CONFIG,
    name="vae",
    steps=4,
    build=lambda: VideoVAE(VAE),
    batch=crops,
    loss=VAELoss(latent_noise=0.1),
    optim=OptimConfig(lr=1e-3, muon_lr=0.01, warmup_steps=2),
    packs=2,
)

SCRIPT = """
import importlib.util, os, sys
from dataclasses import replace
from pathlib import Path
import torch
from minisora.train import loop
from minisora.train.parallel import leave

spec = importlib.util.spec_from_file_location("shared", sys.argv[1])
shared = importlib.util.module_from_spec(spec)
sys.modules["shared"] = shared
spec.loader.exec_module(shared)
folder, what, replicate, context, stop = Path(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:])
layout = shared.Layout(replicate=replicate, context=context)
if what in ("gradients", "float8"):
    told = shared.gradients(layout, float8=what == "float8")
    if os.environ["RANK"] == "0":
        torch.save(told, folder / "gradients.pt")
elif what == "vae":
    loop.matmul_peak = lambda *_: 1e15
    loop.run(replace(shared.VAE_RUN, layout=layout), folder)
else:
    if what == "killed" and os.environ["RANK"] == "1":
        def batch(number, made=shared.batch):
            return os.kill(os.getpid(), 9) if number > 12 else made(number)
        shared.CONFIG = replace(shared.CONFIG, batch=batch)
    def prepare(run):
        assert os.environ["RANK"] == "0" or (folder / "data").exists(), "the first process makes it"
        (folder / "data").touch()
        return run
    loop.matmul_peak = lambda *_: 1e15
    loop.run(replace(shared.CONFIG, layout=layout, prepare=prepare), folder, stop_at=stop)
leave()
"""


def start(
    folder: Path,
    processes: int,
    what: str,
    *,
    replicate: int = 1,
    context: int = 1,
    stop: int = 20,
    fails: bool = False,
) -> str:
    """What torchrun said of these processes."""
    (folder / "script.py").write_text(SCRIPT)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    asked = [__file__, str(folder), what, str(replicate), str(context), str(stop)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, *launch, str(folder / "script.py"), *asked], env=environment, capture_output=True, text=True
    )
    assert (ended.returncode != 0) == fails, ended.stderr[-4000:]
    return ended.stderr
