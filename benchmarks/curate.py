"""Curation against others, on the same files in one run.

Run: python benchmarks/curate.py [FILE ...] [--rounds 3]

Without files it makes films of its own: several sizes, a few shots each, things that move.

  minisora         analyse(): shots and every score, files side by side in as many processes as
                   there are cores, which are started before
  scenedetect      PySceneDetect's own command line, a call for each file as its users run it: shots
                   alone
  scenedetect lib  the same through its library in one process, without the start of Python
  data-juicer      py-data-juicer's video filters of duration, aspect, resolution and motion, in one
                   process that is started before; where --juicer names a Python that has it, as it
                   needs an older PyAV than ours

Each round runs all of them, one after the other. Given are files/s, clips/s (shots), seconds of CPU
a file, and the median over rounds of how many times faster minisora is, with the least and the
greatest. Shots must be the same; the rank correlation is that of our motion with data-juicer's over
whole files.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from statistics import median

import av
import cv2
import numpy as np

from minisora.curate.analyse import Analysis, analyse

WORKERS = os.cpu_count() or 1
SIZES = ((360, 640), (480, 854), (720, 1280))


@dataclass
class Timed:
    wall: float
    cpu: float
    told: dict[str, list[float]]  # file to the starts of its shots, or to a score
    motion: dict[str, float] = field(default_factory=dict)  # file to ours


def make_film(path: Path, seed: int, seconds: float) -> None:
    """Shots of a picture that glides and a disc that crosses it, so many seconds in all."""
    rng = np.random.default_rng(seed)
    height, width = SIZES[seed % len(SIZES)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(24), options={"preset": "veryfast", "crf": "21"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        made = 0
        while made < seconds * 24:
            noise = cv2.GaussianBlur(rng.normal(0, 1, (height + 128, width + 256, 3)), (0, 0), float(rng.uniform(3, 9)))
            ground = np.clip(rng.uniform(50, 200, 3) + noise / noise.std() * 40, 0, 255).astype(np.uint8)
            speed, patch = rng.uniform(0, 3), rng.integers(0, 255, 3)
            for number in range(int(rng.integers(36, 120))):
                x = int(speed * number) % 256
                picture = ground[64 : 64 + height, x : x + width].copy()
                cv2.circle(picture, (width * number // 120, height // 2), height // 8, patch.tolist(), -1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
                made += 1
        container.mux(stream.encode())


def start_worker() -> None:
    cv2.setNumThreads(1)


def ours_of(path: Path) -> tuple[list[float], float, float]:
    """Starts of its shots, its motion, seconds of CPU."""
    used = time.process_time()
    clips = analyse(path, None, Analysis())
    moved = np.average([clip["motion"] or 0 for clip in clips], weights=[clip["duration"] for clip in clips])
    return [clip["start"] for clip in clips], float(moved), time.process_time() - used


def theirs_of(path: Path) -> list[float]:
    import scenedetect

    video = scenedetect.open_video(str(path))
    manager = scenedetect.SceneManager()
    manager.add_detector(scenedetect.AdaptiveDetector(min_scene_len=(video.base_timecode + "0.6s").frame_num))
    manager.detect_scenes(video)
    return [start.seconds for start, _ in manager.get_scene_list(start_in_scene=True)]


def command_of(path: Path, folder: Path) -> list[float]:
    command = [sys.executable, "-m", "scenedetect", "-q", "-i", str(path), "-o", str(folder), "list-scenes", "-s", "-q"]
    subprocess.run(command, check=True, capture_output=True)
    with (folder / f"{path.stem}-Scenes.csv").open(newline="") as file:
        return [float(row["Start Time (seconds)"]) for row in csv.DictReader(file)]


class Juicer:
    """Its filters in a process of their own, as a function of a file.

    The result is its motion score.
    """

    PROGRAM = """
import sys, time
import numpy as np
from data_juicer.ops import filter as filters
from data_juicer.utils.constant import Fields
ops = [filters.VideoDurationFilter(video_backend="av"), filters.VideoAspectRatioFilter(),
       filters.VideoResolutionFilter(), filters.VideoMotionScoreFilter(relative=True)]
print("ready", flush=True)
for line in sys.stdin:
    used = time.process_time()
    sample = {"videos": [line.rstrip()], "text": "", Fields.stats: {}, Fields.context: {}}
    for op in ops:
        sample = op.compute_stats_single(sample)
    print(np.mean(sample[Fields.stats]["video_motion_score"]), time.process_time() - used, flush=True)
"""

    def __init__(self, python: str) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([python, "-c", self.PROGRAM], stdin=pipe, stdout=pipe, text=True)
        self.cpu = 0.0
        while self._line() != "ready":
            pass

    def __call__(self, path: Path) -> list[float]:
        assert self.process.stdin is not None
        print(path, file=self.process.stdin, flush=True)
        score, used = map(float, self._line().split())
        self.cpu += used
        return [score]

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"py-data-juicer ended with status {self.process.wait()}")
        return line.strip()


def timed(work: Callable[[Path], list[float]], paths: list[Path]) -> Timed:
    def cpu() -> float:
        times = os.times()
        own = times.user + times.system + times.children_user + times.children_system
        return own + (work.cpu if isinstance(work, Juicer) else 0.0)

    began, used = time.perf_counter(), cpu()
    told = {path.name: work(path) for path in paths}
    return Timed(time.perf_counter() - began, cpu() - used, told)


def timed_ours(pool: ProcessPoolExecutor, paths: list[Path]) -> Timed:
    began = time.perf_counter()
    found = {path.name: of_file for path, of_file in zip(paths, pool.map(ours_of, paths), strict=True)}
    wall = time.perf_counter() - began
    return Timed(
        wall,
        sum(cpu for _, _, cpu in found.values()),
        {name: starts for name, (starts, _, _) in found.items()},
        {name: moved for name, (_, moved, _) in found.items()},
    )


def rank_correlation(one: list[float], other: list[float]) -> float:
    ranks = [np.argsort(np.argsort(values)) for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--films", type=int, default=12, help="made where no files are given")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each of these")
    parser.add_argument("--juicer", metavar="PYTHON", help="one that has py-data-juicer")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths: list[Path] = options.files or [folder / f"{number:03d}.mp4" for number in range(options.films)]
        for number, path in enumerate(paths if not options.files else []):
            make_film(path, number, options.seconds)
        others: dict[str, Callable[[Path], list[float]]] = {
            "scenedetect": lambda path: command_of(path, folder),
            "scenedetect lib": theirs_of,
        }
        if options.juicer:
            others["data-juicer"] = Juicer(options.juicer)
        context = multiprocessing.get_context("forkserver")  # a fork would copy the locks of OpenCV's threads
        context.set_forkserver_preload(["minisora.curate.analyse"])
        with ProcessPoolExecutor(WORKERS, mp_context=context, initializer=start_worker) as pool:
            list(pool.map(ours_of, paths[:1] * WORKERS))  # the processes of a run start once
            rounds = [
                {"minisora": timed_ours(pool, paths)} | {who: timed(work, paths) for who, work in others.items()}
                for _ in range(options.rounds)
            ]
    report(paths, rounds)


def report(paths: list[Path], rounds: list[dict[str, Timed]]) -> None:
    last = rounds[-1]
    clips = sum(map(len, last["minisora"].told.values()))
    print(f"{len(paths)} files, {clips} shots, {WORKERS} processes, {len(rounds)} rounds\n")
    print(
        "| | files/s | clips/s | CPU s/file | minisora is faster, wall | CPU |\n| --- | --- | --- | --- | --- | --- |"
    )
    for who in last:
        cells = []
        for what in ("wall", "cpu"):
            times = sorted(getattr(one[who], what) / getattr(one["minisora"], what) for one in rounds)
            cells.append(f"{median(times):.2f}x ({times[0]:.2f} to {times[-1]:.2f})")
        wall, cpu = median(one[who].wall for one in rounds), median(one[who].cpu for one in rounds)
        rates = f"{len(paths) / wall:.2f} | {clips / wall:.2f} | {cpu / len(paths):.2f}"
        print(f"| {who} | {rates} | {' | '.join(cells)} |")
    print()
    for who in ("scenedetect", "scenedetect lib"):
        found = last["minisora"].told
        same = sum(
            len(starts) == len(found[name]) and bool(np.allclose(starts, found[name], atol=2e-3))
            for name, starts in last[who].told.items()
        )
        print(f"the same shots as {who}: {same} of {len(paths)} files")
    if "data-juicer" in last:
        motion = last["minisora"].motion
        scores = [last["data-juicer"].told[name][0] for name in motion]
        print(f"rank correlation of motion with data-juicer's: {rank_correlation(list(motion.values()), scores):.3f}")


if __name__ == "__main__":
    main()
