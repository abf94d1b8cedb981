"""A folder of small videos, its recipe, and what curation leaves, as digests."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import torch

from minisora.curate.ledger import Ledger
from minisora.curate.recipe import Recipe, read_recipe
from minisora.curate.runner import local_engine, run
from minisora.video import write_video

RECIPE = """
out: out
input: {media: videos}
thresholds: {duration: [0.6, 5], motion: [0.0001, null]}
clips: {longest_side: 48, fps: 12, shard_mb: 1}
export: [datajuicer]
"""


def moving(seed: int, num_frames: int = 48) -> torch.Tensor:
    """A textured field that slides, dark for even seeds, light for odd: (T, 48, 64, 3) uint8."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(20, 120, (1, 3, 10, 40), generator=generator).float() + seed % 2 * 110
    wide = torch.nn.functional.interpolate(coarse, (48, 256), mode="bilinear")[0]
    frames = [wide[:, :, i : i + 64] for i in range(num_frames)]
    return torch.stack(frames).permute(0, 2, 3, 1).round().to(torch.uint8)


def film(path: Path, *scenes: torch.Tensor) -> None:
    write_video(path, torch.cat(scenes), fps=24, crf=10)


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("media") / "videos"
    folder.mkdir()
    film(folder / "a_two_shots.mp4", moving(1), moving(2, 40))
    film(folder / "b_captioned.mp4", moving(3))
    (folder / "b_captioned.txt").write_text("The video shows a field that slides to the left.")
    film(folder / "c_still.mp4", moving(4)[:1].expand(48, -1, -1, -1))
    shutil.copy(folder / "b_captioned.mp4", folder / "d_again.mp4")
    (folder / "e_empty.mp4").write_bytes(b"")
    (folder / "f_text.mp4").write_text("this is no video\n" * 50)
    film(folder / "g_last.mp4", moving(5))
    return folder


@pytest.fixture
def recipe(tmp_path, videos) -> Recipe:
    """In a folder of its own, with its own copy of the videos, times of change and all."""
    shutil.copytree(videos, tmp_path / "videos")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return read_recipe(tmp_path / "recipe.yaml")


def curate(recipe: Recipe, workers: int = 2, **options: bool) -> Ledger:
    return run(recipe, local_engine(workers, 300.0), **options)


def bytes_of(folder: Path) -> dict[str, str]:
    """A digest of each file, but for the log of when it happened."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in ("events.jsonl", ".lock"))
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
