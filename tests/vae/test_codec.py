"""Strides tile a video without gaps; users of a codec ask it for strides and abilities."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from minisora.bundle import Bundle
from minisora.generate.canvas import Condition, Shape, build
from minisora.vae.codec import Strides, encode_latent, round_trip
from minisora.video import to_float
from tests.helpers.tiny import bundle, picture

__all__ = ["bundle"]  # a fixture


class Means:
    """A latent is the mean colour of its cell and group; with `causal`, of all frames so far."""

    strides = Strides(frames=2, pixels=4)
    channels, dtype = 3, torch.float32
    latent_mean, latent_std = torch.zeros(3), torch.ones(3)

    def __init__(self, *, causal: bool = False) -> None:
        self.groups_alone = not causal

    def state_dict(self) -> dict[str, Tensor]:
        return {"mean": self.latent_mean}

    def encode(self, frames: Tensor, *, first_alone: bool = True) -> Tensor:
        cells = frames.unflatten(3, (-1, 4)).unflatten(2, (-1, 4)).mean((3, 5))  # (B, T, Hz, Wz, 3)
        parts = [cells[:, :1]] if first_alone else []
        groups = [*parts, *cells[:, len(parts) :].split(2, 1)]
        if self.groups_alone:
            return torch.stack([group.mean(1) for group in groups], 1)
        return torch.stack([torch.cat(groups[: n + 1], 1).mean(1) for n in range(len(groups))], 1)

    def decode_next(self, z: Tensor, past: int | None, *, first_alone: bool = True) -> tuple[Tensor, int]:
        large = z.repeat_interleave(4, 2).repeat_interleave(4, 3)
        counts = torch.full((z.shape[1],), 2)
        if first_alone and past is None:
            counts[0] = 1
        return large.repeat_interleave(counts, 1), (past or 0) + z.shape[1]


@pytest.mark.parametrize("group", [1, 2, 4])
def test_spans_of_latents_tile_a_video(group):
    strides = Strides(frames=group, pixels=8)
    for num_frames in range(1, 20):
        count = strides.num_latents(num_frames)
        covered = [frame for n in range(count) for frame in strides.span(n)]
        assert covered == list(range(strides.num_frames(count)))
        assert num_frames <= len(covered) < num_frames + group
        assert len(covered) == num_frames + strides.missing(num_frames)
        assert all(strides.latent_of(frame) == n for n in range(count) for frame in strides.span(n))
    assert [len(strides.span(n)) for n in range(3)] == [1, group, group]


@pytest.mark.parametrize("causal", [False, True])
def test_a_group_out_of_a_clip_is_encoded_as_the_codec_can(causal):
    """A causal codec needs context before the group: its repeated first frame, an approximation."""
    frames = to_float(picture(5, 8, 8))
    codec = Means(causal=causal)
    group, alone = frames[3:5], frames[:1]
    wanted = torch.cat([group[:1], group] if causal else [group]).unflatten(2, (-1, 4)).unflatten(1, (-1, 4))
    torch.testing.assert_close(encode_latent(codec, group)[0], wanted.mean((0, 2, 4)))
    torch.testing.assert_close(encode_latent(codec, alone), codec.encode(alone[None])[:, 0])
    whole = codec.encode(frames[None])[:, 2]
    assert torch.allclose(encode_latent(codec, group), whole, atol=1e-6) != causal


def test_what_is_constant_in_a_cell_and_group_comes_back_through_the_stream():
    frames = picture(3, 2, 2).repeat_interleave(4, 1).repeat_interleave(4, 2).repeat_interleave(2, 0)[1:]
    assert torch.equal(round_trip(Means(), frames), frames)


def test_a_canvas_is_laid_out_by_the_codec_s_strides(bundle: Bundle):
    coded = Bundle(name="means", vae=Means(), dit=bundle.dit, text=bundle.text, sampling=bundle.sampling)
    shape = Shape(num_frames=5, height=16, width=24, fps=8.0)
    given = picture(2, 16, 24)
    canvas = build(coded, shape, [Condition(given, at=3)])
    patch = canvas.patch
    assert canvas.grid == (3, 16 // (4 * patch[1]), 24 // (4 * patch[2]))
    assert canvas.held() == [False, False, True]
    known = canvas.latents(canvas.known)[:, 2]
    torch.testing.assert_close(known, encode_latent(coded.vae, to_float(given)))
