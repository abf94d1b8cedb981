"""What the upscaler is trained on and how it learns."""

from __future__ import annotations

import pickle
from dataclasses import replace

import torch

from minisora.train.config import OptimConfig, RunConfig
from minisora.train.loop import run as train
from minisora.upscale import train as upscale_train
from minisora.upscale.files import load_upscaler, save_upscaler
from minisora.upscale.model import Upscaler, UpscalerConfig, bicubic
from minisora.upscale.train import PairBatch, PairBatches, UpscaleLoss, footage_pairs, playroom_pairs
from minisora.vae.codec import round_trip
from minisora.vae.model import VideoVAE
from minisora.video import resize
from minisora.worlds import footage
from minisora.worlds.seeds import UPSCALER
from tests.helpers.tiny import DEEPER_VAE as TINY_VAE
from tests.helpers.tiny import UPSCALER as TINY

PLAYROOM = {"playroom": (1.0, playroom_pairs)}
BATCHES = PairBatches(vae=VideoVAE(TINY_VAE).eval(), sources=PLAYROOM, batch_size=2, side=24, sides={"playroom": (32,)})


def test_a_batch_is_a_function_of_its_step():
    one, again, other = BATCHES(3), pickle.loads(pickle.dumps(BATCHES))(3), BATCHES(4)
    assert torch.equal(one.small, again.small) and torch.equal(one.large, again.large)
    assert not torch.equal(one.large, other.large)
    assert one.small.shape == (2, 5, 24, 24, 3) and one.large.shape == (2, 5, 96, 96, 3)
    assert one.small.dtype == one.large.dtype == torch.uint8 and one.tokens == 2 * 5 * 96 * 96


def test_both_sizes_show_the_same_moments_and_places():
    """Without the VAE the reduced large frames match the small ones best without a shift."""
    batches = replace(BATCHES, vae=None, batch_size=8, still=0.0, rates=(8.0,))

    def apart(one, other):
        return float((one.float() - other.float()).abs().mean())

    here, aside, later = 0.0, 0.0, 0.0
    for step in range(3):
        batch = batches(step)
        reduced = resize(batch.large, 24, 24)
        here += apart(reduced, batch.small)
        aside += apart(reduced[..., :-1, :], batch.small[..., 1:, :])
        later += apart(reduced[:, :-1], batch.small[:, 1:])
    assert 2.5 * here < aside and here < later


def test_a_picture_is_one_frame_again_and_again_and_has_no_change():
    batch = replace(BATCHES, still=1.0)(0)
    assert (batch.small == batch.small[:, :1]).all() and (batch.large == batch.large[:, :1]).all()
    assert UpscaleLoss()(Upscaler(TINY), batch, torch.Generator())["change"] == 0


def test_noise_on_latents_reaches_the_small_frames_alone():
    clean, noised = replace(BATCHES, latent_noise=0.0)(0), replace(BATCHES, latent_noise=0.5)(0)
    assert torch.equal(clean.large, noised.large) and not torch.equal(clean.small, noised.small)
    frames, vae = playroom_pairs(0, 8.0, 5, range(2), 16, 4)[0], BATCHES.vae
    assert vae is not None
    through = round_trip(vae, frames, generator=torch.Generator())
    plain = (vae.decode(vae.encode(frames[None].float() / 127.5 - 1))[0] + 1) * 127.5
    assert (through - plain.clamp(0, 255)).abs().max() <= 0.51


def test_footage_is_reduced_to_the_small_size(tmp_path, monkeypatch):
    large = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    clip = type("Clip", (), {"frames": large})
    monkeypatch.setattr(footage, "train_clips", lambda shape, seed: iter([clip]))
    small, chosen = footage_pairs(0, 8.0, 3, range(1, 3), 16, 4)
    assert torch.equal(chosen, large[1:]) and torch.equal(small, resize(large, 16, 16))


def test_parts_add_up_reach_every_weight_and_are_what_they_say():
    torch.manual_seed(0)
    upscaler = Upscaler(TINY)
    small, large = (torch.randint(0, 256, (2, 3, side, side, 3), dtype=torch.uint8) for side in (8, 32))
    parts = UpscaleLoss(edge=0.7, change=0.3)(upscaler, PairBatch(small, large, 1.0), torch.Generator())
    expected = parts["pixel"] + 0.7 * parts["edge"] + 0.3 * parts["change"]
    torch.testing.assert_close(parts["loss"], expected)
    error = (bicubic(small.flatten(0, 1).double(), 4).unflatten(0, (2, 3)) - large.double()) / 127.5
    torch.testing.assert_close(parts["pixel"].double(), error.abs().mean(), atol=1e-5, rtol=1e-5)
    change = (error[:, 1:] - error[:, :-1]).abs().mean()
    torch.testing.assert_close(parts["change"].double(), change, atol=1e-5, rtol=1e-5)
    parts["loss"].backward()
    reached = [p.grad is not None and p.grad.isfinite().all() for p in upscaler.parameters()]
    assert all(reached) and (upscaler.network[-1].weight.grad != 0).any()


def test_it_learns_where_edges_are():
    """Large frames of plain 4x4 blocks follow from the small ones; bicubic blurs them."""
    torch.manual_seed(0)
    upscaler, loss = Upscaler(UpscalerConfig(width=32, blocks=1, neighbours=0)), UpscaleLoss()
    small = torch.randint(0, 256, (4, 1, 12, 12, 3), dtype=torch.uint8)
    batch = PairBatch(small, small.repeat_interleave(4, 2).repeat_interleave(4, 3), 1.0)
    optimizer = torch.optim.AdamW(upscaler.parameters(), lr=3e-3)
    gains = []
    for _ in range(150):
        parts = loss(upscaler, batch, torch.Generator())
        gains.append(float(parts["gain"]))
        optimizer.zero_grad()
        (parts["pixel"] + parts["edge"]).backward()
        optimizer.step()
    assert abs(gains[0]) < 1e-3 and gains[-1] > 7


def test_the_one_loop_trains_it(tmp_path, monkeypatch):
    shown, pairs = [], upscale_train.playroom_pairs

    def watched(seed, *rest):
        shown.append(seed)
        return pairs(seed, *rest)

    config = RunConfig(
        name="upscaler",
        steps=2,
        build=lambda: Upscaler(TINY),
        batch=replace(BATCHES, sources={"playroom": (1.0, watched)}),
        loss=UpscaleLoss(),
        publish=lambda upscaler, folder, taken: save_upscaler(upscaler, folder / "upscaler", {}),
        optim=OptimConfig(lr=1e-3, muon_lr=0.01, warmup_steps=1),
        prefetch=0,
        bf16=False,
    )
    train(config, tmp_path)
    assert load_upscaler(tmp_path / "upscaler").config == TINY
    assert shown == list(UPSCALER[:4])  # no scene twice
