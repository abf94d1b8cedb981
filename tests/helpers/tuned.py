"""A tiny bundle in a folder and a few curated clips, to train it on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from minisora.bundle import Bundle, Sampling, load, save
from minisora.curate.write import encode
from minisora.data.shards import ShardWriter
from minisora.dit.model import DiT
from minisora.vae.model import VideoVAE
from minisora.video import Shape
from minisora.worlds import playroom
from tests.helpers.tiny import DIT, VAE, Words

DIT_384 = replace(DIT, text_width=384)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    vae, dit = VideoVAE(VAE), DiT(DIT_384)
    with torch.no_grad():
        for parameter in dit.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    sampling = Sampling(size=(32, 32), seconds=0.5)
    trained = {"recipe": "none", "captioner": "playroom", "upscaler": "toybox"}
    save(tmp_path / "base", Bundle("tiny", vae, dit, Words(), sampling, trained=trained))
    return tmp_path / "base"


def curated(folder: Path, *sizes: tuple[int, int, int]) -> Path:
    """Clips of these heights, widths and numbers of frames, as `minisora curate` keeps them."""
    with ShardWriter(folder) as writer:
        for n, (height, width, num_frames) in enumerate(sizes):
            clip = playroom.clips([n], Shape(num_frames=num_frames, height=height, width=width, fps=8.0))[0]
            video = encode(iter([clip.frames]), fps=clip.fps, codec="lossless", crf=0)
            about = {
                "captions": [{"text": "a red ball", "start": 0.0, "stop": (num_frames - 1) / clip.fps}],
                "fps": clip.fps,
            }
            members = {"mp4": video if n < 2 else video[:900], "json": json.dumps(about).encode()}
            columns = {"height": height, "width": width, "num_frames": num_frames}
            writer.add(f"clip-{n}", members, columns=columns)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Clips of two sizes and lengths, and one whose video is cut short."""
    return curated(tmp_path / "mine", (32, 48, 9), (44, 36, 11), (32, 32, 5))


def weights(bundle: Bundle) -> dict[str, torch.Tensor]:
    return bundle.dit.state_dict()


def opened(folder: Path) -> Bundle:
    return load(folder, device=torch.device("cpu"), dtype=torch.float32)
