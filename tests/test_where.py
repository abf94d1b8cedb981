"""docs/where.md is true: each change it names is a small patch to the files it names, and works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "minisora"
ROWS = dict(re.findall(r"^\| ([^|]+?) \| (`[^|]+) \|$", (ROOT / "docs" / "where.md").read_text(encoding="utf-8"), re.M))


@dataclass(frozen=True)
class Change:
    """Patches and a program that shows that they work.

    patches: file, the text that stands there, the text in its place (after it, where that begins
    with +)
    """

    patches: tuple[tuple[str, str, str], ...]
    works: str  # a program


JOBS = "JOBS: dict[str, tuple[Clips, int, int, int, int]] = {  # name -> clips, height, width, frames, how many"
STRENGTH = '    strength: Annotated[Strength, option("How far a preview is regenerated: 0.6 to 0.8.")] = 0.7'
CHANGES = {
    "a sampler": Change(
        (
            (
                "diffusion/samplers.py",
                "SAMPLERS: dict[str, Sampler] = {",
                '''def midpoint(denoise: Denoiser, x: Tensor, times: Sequence[float]) -> Tensor:
    """Second order, by the slope in the middle of each step."""
    for t, s in pairwise(times):
        middle = (t + s) / 2
        x = x + (s - t) * _slope(denoise, x + (middle - t) * _slope(denoise, x, t), middle)
    return x


SAMPLERS: dict[str, Sampler] = {"midpoint": midpoint, ''',
            ),
        ),
        """
import math, torch
from minisora.diffusion import SAMPLERS
mean, std, noise = 0.7, 0.3, torch.linspace(-2, 2, 9, dtype=torch.float64)
def denoise(x, t):
    return mean + (1 - t) * std**2 / ((1 - t) ** 2 * std**2 + t**2) * (x - (1 - t) * mean)
def error(steps):
    times = torch.linspace(1, 0, steps + 1, dtype=torch.float64).tolist()
    return (SAMPLERS["midpoint"](denoise, noise, times) - mean - std * noise).abs().max().item()
assert math.log2(error(64) / error(128)) > 1.9, (error(64), error(128))
import minisora
minisora.load(upscale="none").generate("a red ball", seconds=0.5, steps=2, sampler="midpoint")
""",
    ),
    "a colour of the playroom": Change(
        (
            (
                "worlds/playroom/scene.py",
                "COLOURS: dict[str, tuple[float, float, float]] = {",
                '+\n    "pink": (0.98, 0.45, 0.70),',
            ),
            ("worlds/playroom/scene.py", "WORLD_VERSION = 2", "WORLD_VERSION = 3"),
        ),
        """
from minisora.errors import WeightsError
from minisora.video import Shape
from minisora.worlds import playroom
seeds = [n for n in range(60) if any(thing.colour == "pink" for thing in playroom.draw(n).things)]
clip = playroom.clips(seeds[:1], Shape(num_frames=5, height=32, width=32, fps=8.0))[0]
assert clip.frames.shape == (5, 32, 32, 3) and any("pink" in caption.text for caption in clip.captions)
from minisora.judge.network import load_judge
from minisora.judge.playroom import PlayroomJudge
try:
    load_judge(PlayroomJudge)
except WeightsError as error:
    assert "world 3" in str(error), error
else:
    raise AssertionError("the judge does not know this world")
""",
    ),
    "a score of curation": Change(
        (
            ("curate/scores.py", "SCORES: dict[str, tuple[int, str]] = {", '+\n    "pixels": (1, "of all frames"),'),
            (
                "curate/scores.py",
                '            "frames": len(inside),',
                '+\n            "pixels": len(inside) * media.width * media.height,',
            ),
        ),
        """
from pathlib import Path
import pyarrow.parquet as pq, torch
from minisora.cli.curate import curate
from minisora.video import Video
Path("videos").mkdir()
noise = torch.randint(0, 256, (17, 48, 64, 3), dtype=torch.uint8)
Video(noise, 8.0).save("videos/a.mkv")
Path("recipe.yaml").write_text("out: out\\ninput: {media: videos}\\nthresholds: {pixels: [10, null]}\\n")
curate(Path("recipe.yaml"), "local", 1, None, False, False)
assert pq.read_table("out/table.parquet").column("pixels").to_pylist() == [17 * 48 * 64]
""",
    ),
    "another size to train on": Change(
        (
            ("sources.py", JOBS, '+\n    "playroom-tiny": (PLAYROOM, 32, 32, 9, 4),'),
            (
                "sources.py",
                "ALL_SIZES = {  # shards and how often a sample is drawn from them",
                '+\n    "playroom-tiny": 0.1,',
            ),
            (
                "worlds/seeds.py",
                "TRAINING = {  # of latents (sources.JOBS), by the name of the job",
                '+\n    "playroom-tiny": range(16 * MILLION, 17 * MILLION),',
            ),
        ),
        """
from minisora.sources import ALL_SIZES, latent_jobs
(job,) = latent_jobs(["playroom-tiny"])
assert job(job.seeds)[0].frames.shape == (9, 32, 32, 3) and "playroom-tiny" in ALL_SIZES
""",
    ),
    "a verb, such as `reverse`": Change(
        (
            (
                "generate/verbs.py",
                "VERBS: dict[str, type[Request]] = {",
                '''@verb
class Mirror(Request):
    """A clip with left and right exchanged."""

    needs_model: ClassVar[bool] = False
    clip: Annotated[Clip, option("A video.")]

    def opened(self) -> Self:
        return replace(self, clip=media.clip(self.clip))

    def plan(self, bundle: Bundle) -> Plan:
        video = media.clip(self.clip)
        clip, fps = video.read()
        count, height, width, _ = clip.shape
        shape = canvas.Shape(num_frames=count, height=height, width=width, fps=fps)
        mirrored = sizes.derived(clip, (height, width), lambda some: some.flip(2))
        return Plan(shape=shape, frames=lambda watch: sizes.in_pieces(mirrored), sound=video.sound)


VERBS: dict[str, type[Request]] = {''',
            ),
            ("generate/verbs.py", "*(Storyboard, Reverse", "*(Storyboard, Reverse, Mirror"),
            ("generate/model.py", "    reverse = verb(verbs.Reverse)", "+\n    mirror = verb(verbs.Mirror)"),
        ),
        """
import torch
from typer.testing import CliRunner
import minisora
from minisora.cli import app
from minisora.video import Video, read_video
clip = torch.randint(0, 256, (3, 16, 24, 3), dtype=torch.uint8)
Video(clip, 8.0).save("clip.mkv")
assert CliRunner().invoke(app, ["mirror", "clip.mkv", "-o", "out.mkv"]).exit_code == 0
assert torch.equal(read_video("out.mkv").frames, clip.flip(2))
assert CliRunner().invoke(app, ["run", "out.mkv", "-o", "again.mkv"]).exit_code == 0
assert torch.equal(read_video("again.mkv").frames, clip.flip(2))
assert torch.equal(minisora.load(upscale="none").mirror("clip.mkv").frames, clip.flip(2))
""",
    ),
    "a data set": Change(
        (
            (
                "curate/importers/mine.py",
                "",
                '''"""A data set of lines: a file's name, a tab, a caption."""

from collections.abc import Iterator
from pathlib import Path

from minisora.curate.table import Row, annotation
from minisora.tables.entry import STRICT, Skipped
from minisora.tables.text import text_lines


def rows(path: Path, skipped: Skipped = STRICT) -> Iterator[Row]:
    for line in text_lines(path):
        name, _, caption = line.partition("\\t")
        yield annotation(name, captions=[caption])
''',
            ),
            (
                "curate/importers/__init__.py",
                "from minisora.curate.importers import internvid,",
                "from minisora.curate.importers import internvid, mine,",
            ),
            ("curate/importers/__init__.py", "IMPORTERS: dict[str, Importer] = {", '+\n    "mine": mine.rows,'),
        ),
        """
from pathlib import Path
import torch
from minisora.cli.curate import curate
from minisora.data.shards import Shards
from minisora.video import Video
Path("videos").mkdir()
Video(torch.randint(0, 256, (17, 48, 64, 3), dtype=torch.uint8), 8.0).save("videos/a.mkv")
Path("mine.tsv").write_text("a.mkv\\tnoise\\n")
Path("recipe.yaml").write_text("out: out\\ninput: {importer: mine, annotations: mine.tsv, media: videos}\\n")
curate(Path("recipe.yaml"), "local", 1, None, False, False)
assert b"noise" in Shards(Path("out/clips")).read(0)["json"]
""",
    ),
    "an option of `generate`": Change(
        (
            ("generate/verbs.py", STRENGTH, '+\n    twice: Annotated[bool, option("Twice as long.")] = False'),
            (
                "generate/verbs.py",
                "self.seconds, self.size, self.fps), Schedule",
                "(1 + self.twice) * (self.seconds or 2.0), self.size, self.fps), Schedule",
            ),
        ),
        """
from typer.testing import CliRunner
import minisora
from minisora.cli import app
assert "--twice" in CliRunner().invoke(app, ["generate", "--help"]).stdout
video = minisora.load(upscale="none").generate("a red ball", seconds=0.5, steps=2, twice=True)
assert len(video.frames) == 9 and '"twice": true' in video.request
""",
    ),
    "how progress shows": Change(
        (
            (
                "cli/console.py",
                "        self._what, self._task = what, self._bars.add_task(what, total=total)",
                "        self._what, self._task = what, self._bars.add_task(f'[{what}]', total=total)",
            ),
        ),
        """
from rich.progress import Progress
from minisora.cli.console import Bar
from minisora.progress import Event
with Progress(disable=True) as bars:
    Bar(bars).step(Event("denoise", 1, 3))
    assert bars.tasks[0].description == "[denoise]" and bars.tasks[0].completed == 1
""",
    ),
    "a metric of frames": Change(
        (
            (
                "eval/no_reference.py",
                "def dis_flow() -> Flow:",
                '''def brightness(frames: Tensor) -> float:
    """Mean over all pixels, of 255."""
    return float(frames.float().mean()) / 255


def dis_flow() -> Flow:''',
            ),
            ("eval/quality.py", "import dis_flow, ", "import brightness, dis_flow, "),
            (
                "eval/quality.py",
                '        "flicker": flicker(video.frames),',
                '+\n        "brightness": brightness(video.frames),',
            ),
        ),
        """
import torch
from minisora.eval.quality import quality_figures
clips = [torch.randint(0, 256, (9, 64, 64, 3), dtype=torch.uint8) for _ in range(1)]
found = [figure for figure in quality_figures({"model": clips}, clips, clips) if figure.name == "brightness"]
assert len(found) == 1
""",
    ),
    "a family of weights to plan for": Change(
        (
            (
                "runs/known.py",
                '        _wan("wan-14b", 40, 40, 13824, 16),',
                '+\n        _wan("wan-tiny", 2, 2, 512, 16),',
            ),
        ),
        """
from typer.testing import CliRunner
from minisora.cli import app
told = CliRunner().invoke(app, ["plan", "wan-tiny", "--gpus", "8xH100"])
assert told.exit_code == 0 and "wan-tiny" in told.stdout, told.output
""",
    ),
}


def test_every_change_of_the_page_is_here():
    assert set(ROWS) == set(CHANGES)


@pytest.mark.parametrize("name", CHANGES)
def test_the_page_names_the_files(name):
    files = {file for file, _, _ in CHANGES[name].patches}
    named = set(re.findall(r"`([\w/]+\.py)`", ROWS[name].replace("NAME.py", "mine.py")))
    assert files == named and len(files) <= 2


@pytest.mark.long
@pytest.mark.parametrize("name", CHANGES)
def test_a_patch_of_just_these_files_works(name, tmp_path, toybox):
    package = tmp_path / "minisora"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__", "weights"))
    (package / "weights").symlink_to(SOURCE / "weights")
    for file, there, instead in CHANGES[name].patches:
        path = package / file
        text = path.read_text(encoding="utf-8") if there else ""
        assert text.count(there) == 1 or not there, f"{file}: {there!r} stands there {text.count(there)} times"
        instead = there + instead[1:] if instead.startswith("+") else instead
        path.write_text(text.replace(there, instead) if there else instead, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", CHANGES[name].works], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
