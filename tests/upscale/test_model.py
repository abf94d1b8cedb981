"""The upscaler: starts at bicubic, sees a fixed span of time, streams to the same video."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from minisora.errors import UsageError, WeightsError
from minisora.upscale.files import ABOUT, WEIGHTS, load_upscaler, save_upscaler, upscaler_folder
from minisora.upscale.model import PIXELS_AT_ONCE, Upscaler, UpscalerConfig, bicubic
from tests.helpers.tiny import UPSCALER as TINY


def shaken(config: UpscalerConfig = TINY) -> Upscaler:
    """Random everywhere: branches that start closed would hide what flows through them."""
    torch.manual_seed(0)
    upscaler = Upscaler(config).eval().requires_grad_(False)
    for parameter in upscaler.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    return upscaler


def pixels(num_frames: int, height: int = 12, width: int = 20) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (num_frames, height, width, 3), generator=generator, dtype=torch.uint8)


def test_bicubic_is_that_of_pillow_and_keeps_ramps():
    picture = torch.rand(10, 14, generator=torch.Generator().manual_seed(0)) * 255
    ours = bicubic(picture[None, :, :, None], 4)[0, :, :, 0]
    pillow = np.array(Image.fromarray(picture.numpy()).resize((56, 40), Image.Resampling.BICUBIC))
    torch.testing.assert_close(ours, torch.from_numpy(pillow), atol=1e-2, rtol=0)
    ramp = torch.arange(14.0).expand(1, 3, -1)[..., None]
    middles = (torch.arange(56) + 0.5) / 4 - 0.5  # of large pixels, counted in small ones
    torch.testing.assert_close(bicubic(ramp, 4)[0, 6, 8:-8, 0], middles[8:-8], atol=1e-4, rtol=0)


def test_it_starts_as_bicubic_enlargement():
    frames = pixels(3)
    plain = bicubic(frames.float(), 4).round().clamp(0, 255)
    assert (Upscaler(TINY).upscale(frames).float() - plain).abs().max() <= 1  # of rounding


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_sizes_that_no_cell_divides_are_enlarged_too(stride):
    """As if the last row and column went on, and cut there."""
    upscaler = shaken(UpscalerConfig(width=8, blocks=1, neighbours=1, stride=stride))
    frames = torch.rand(1, 3, 7, 10, 3)
    cells = [stride * -(-side // stride) for side in (7, 10)]
    rows, columns = torch.arange(cells[0]).clamp(max=6), torch.arange(cells[1]).clamp(max=9)
    on_cells = upscaler(frames[:, :, rows][:, :, :, columns])
    assert upscaler(frames).shape == (1, 3, 28, 40, 3)
    inside = (upscaler(frames) - on_cells[:, :, :28, :40]).abs()[:, :, :20, :32]  # elsewhere bicubic sees further
    assert inside.max() < 1e-5


@pytest.mark.parametrize("neighbours", [0, 1, 2])
def test_a_frame_depends_on_its_neighbours_and_no_other(neighbours):
    upscaler = shaken(UpscalerConfig(width=8, blocks=1, neighbours=neighbours))
    frames = torch.rand(1, 9, 6, 8, 3)
    other = frames.clone()
    other[:, 4] = -other[:, 4]
    differs = (upscaler(frames) != upscaler(other)).flatten(2).any(-1)[0].tolist()
    assert differs == [abs(n - 4) <= neighbours for n in range(9)]


@pytest.mark.parametrize("lengths", [(23,), (1, 4, 4, 4, 4, 4, 2), (1,) * 23, (22, 1)], ids=str)
def test_pieces_of_any_length_give_the_same_video(lengths):
    side = round((PIXELS_AT_ONCE / 4) ** 0.5)
    frames, upscaler = pixels(23, side, side), shaken(UpscalerConfig(width=4, blocks=1))
    pieces = list(upscaler.stream(frames.split(lengths)))
    assert {len(piece) for piece in pieces} == {4, 3}
    assert torch.equal(torch.cat(pieces), upscaler.upscale(frames))


def test_a_stream_is_the_whole_network_at_once():
    frames, upscaler = pixels(11, 64, 96), shaken()
    whole = ((upscaler(frames[None].float() / 127.5 - 1)[0] + 1) * 127.5).round().clamp(0, 255)
    assert (upscaler.upscale(frames).float() - whole).abs().max() <= 1
    assert upscaler.upscale(frames[:1]).shape == (1, 256, 384, 3)


def test_a_stream_holds_no_more_than_it_needs():
    """Input is read only as results are asked for, so memory does not grow with the length."""
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield pixels(1, 64, 64)

    results = shaken().stream(endless())
    for n in range(1, 4):
        assert len(next(results)) == 4 and taken == 4 * n + TINY.neighbours


def test_flops_are_those_torch_counts():
    upscaler, frames = Upscaler(TINY), torch.rand(1, 3, 16, 8, 3)
    with FlopCounterMode(display=False) as counter:
        upscaler(frames)
    assert counter.get_total_flops() == Upscaler.flops_per_pixel(TINY) * 3 * 16 * 8


def test_every_weight_between_features_is_muons_and_no_other():
    upscaler = Upscaler(TINY)
    assert [tuple(p.shape) for p in upscaler.muon_params()] == [(8, 8, 3, 3)] * 4


def test_the_default_is_small_on_disk(tmp_path):
    save_upscaler(Upscaler(UpscalerConfig()), tmp_path, {})
    assert (tmp_path / WEIGHTS).stat().st_size < 6e6


def test_what_is_saved_is_loaded_again(tmp_path):
    upscaler = shaken().to(torch.bfloat16).float()
    save_upscaler(upscaler, tmp_path, {"steps": 3})
    frames = pixels(2)
    assert torch.equal(load_upscaler(upscaler_folder(str(tmp_path))).upscale(frames), upscaler.upscale(frames))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / WEIGHTS).write_bytes(b"cut short"), "not the file that upscaler.json"),
        (lambda folder: (folder / ABOUT).write_text('{"format": 9}'), "Update minisora"),
        (lambda folder: (folder / ABOUT).write_text("{}"), "cannot be read"),
        (lambda folder: (folder / ABOUT).unlink(), "minisora train toybox-upscale"),
    ],
)
def test_damaged_files_are_refused_in_one_line(tmp_path, change, says):
    save_upscaler(Upscaler(TINY), tmp_path, {})
    change(tmp_path)
    with pytest.raises(WeightsError, match=says) as refused:
        load_upscaler(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_name_that_means_nothing_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no upscaler 'nothing'"):
        upscaler_folder("nothing")
    with pytest.raises(UsageError, match="cannot be"):
        UpscalerConfig(blocks=0)
