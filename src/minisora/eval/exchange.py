"""Public benchmarks: exporting clips under the names they expect, reading their result files.

    VBench           arXiv:2311.17982  github.com/Vchitect/VBench at 45e79ec
    VBench-2.0       arXiv:2503.21755  the same repository
    T2V-CompBench    arXiv:2407.14505  github.com/KaiyueSun98/T2V-CompBench at 116f996
    Physics-IQ       arXiv:2501.09038  github.com/google-deepmind/physics-IQ-benchmark at e457754
    WorldModelBench  arXiv:2502.20694  github.com/WorldModelBench-Team/WorldModelBench at 00b7aa1

Papers: Huang et al. 2023, Zheng et al. 2025, Sun et al. 2024, Motamed et al. 2025, Li et al. 2025.

The prompts come from the benchmark's own files, by path; nothing is fetched. An export skips
existing clips, so the same command resumes; it refuses a clip of other inputs (exported.py). A
clip's seed is a hash of its file name: independent of skipped clips, different for every clip, and
not chosen. Nothing but clips goes into the folders: VBench assumes that all files have the suffix
of the first one.

Here: names, counts, totals. Not here: the benchmarks' networks, which run in their own
installations.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any

from minisora.errors import UsageError
from minisora.eval.exported import ExportLog
from minisora.folders import files_in, is_hidden, natural
from minisora.tables.objects import json_whole
from minisora.tables.records import records
from minisora.tables.text import text_lines
from minisora.video import Video
from minisora.video.files import replacing

Make = Callable[[str, int], Video]  # prompt, seed
MakeFrom = Callable[[str, int, Path], Video]  # prompt, seed, the file that the clip continues

LONGEST_NAME = 230  # bytes of a file name: file systems allow 255, and the name during writing is longer

# Dimension of VBench -> least value, largest value, weight within its group: scripts/constant.py.
QUALITY = {
    "subject consistency": (0.1462, 1.0, 1.0),
    "background consistency": (0.2615, 1.0, 1.0),
    "temporal flickering": (0.6293, 1.0, 1.0),
    "motion smoothness": (0.706, 0.9975, 1.0),
    "aesthetic quality": (0.0, 1.0, 1.0),
    "imaging quality": (0.0, 1.0, 1.0),
    "dynamic degree": (0.0, 1.0, 0.5),
}
SEMANTIC = {
    "object class": (0.0, 1.0, 1.0),
    "multiple objects": (0.0, 1.0, 1.0),
    "human action": (0.0, 1.0, 1.0),
    "color": (0.0, 1.0, 1.0),
    "spatial relationship": (0.0, 1.0, 1.0),
    "scene": (0.0, 0.8222, 1.0),
    "appearance style": (0.0009, 0.2855, 1.0),
    "temporal style": (0.0, 0.364, 1.0),
    "overall consistency": (0.0, 0.364, 1.0),
}
VBENCH2 = {
    "creativity": ("composition", "diversity"),
    "commonsense": ("instance preservation", "motion rationality"),
    "controllability": (
        *("camera motion", "complex landscape", "complex plot", "dynamic attribute"),
        *("dynamic spatial relationship", "human interaction", "motion order understanding"),
    ),
    "human fidelity": ("human anatomy", "human clothes", "human identity"),
    "physics": ("material", "mechanics", "multi-view consistency", "thermotics"),
}
# Name of a prompt file of T2V-CompBench -> the folder for its clips, according to its readme.
COMPBENCH = {
    "1_consistent_attr": "consistent_attr",
    "2_dynamic_attr": "dynamic_attr",
    "3_spatial_relationship": "spatial_relationships",
    "4_motion_binding": "motion_binding",
    "5_action_binding": "action_binding",
    "6_interaction": "interaction",
    "7_numeracy": "generative_numeracy",
}
LAWS = ("newton", "mass", "fluid", "penetration", "gravity")
SENSES = ("framewise", "temporal")
VIEWS = ("perspective-left", "perspective-center", "perspective-right")


def export_vbench(prompts: Path, out: Path, make: Make, by: str = "") -> list[Path]:
    """Write `out/{prompt}-{n}.mp4`: 5 clips of each prompt, 25 if it measures temporal flickering.

    prompts: VBench_full_info.json, or a .txt of prompts/prompts_per_dimension
    by:      identifies the model, a string that differs for another one; "" if there is only one
    returns  the newly written clips

    Raises UsageError for a file that is neither, for a prompt that cannot be a file name, and for
    an existing clip of other inputs.
    """
    clips = [
        _Clip(out / f"{prompt}-{n}.mp4", prompt)
        for prompt, dimensions in _by_dimension(prompts)
        for n in range(25 if "temporal_flickering" in dimensions else 5)
    ]
    return _export(ExportLog(out, by), clips, lambda clip, seed: make(clip.prompt, seed))


def export_vbench2(prompts: Path, out: Path, make: Make, by: str = "") -> list[Path]:
    """Write `out/{dimension}/{first 180 characters of the prompt}-{n}.mp4`.

    There are 3 clips of each prompt, 20 for Diversity. A prompt of several dimensions is generated
    once and copied.

    prompts: VBench2_full_info.json, or a .txt of prompts/prompt, which is named after its dimension
    """
    known = {name for names in VBENCH2.values() for name in names}

    clips = []
    for prompt, dimensions in _by_dimension(prompts):
        for dimension in dimensions:
            if _plain(dimension) not in known:
                raise UsageError(
                    f"{prompts}: VBench-2.0 has no dimension {dimension!r}. Give VBench2_full_info.json, or one of the "
                    "files in prompts/prompt, such as Camera_Motion.txt."
                )
            for n in range(20 if dimension == "Diversity" else 3):
                clips.append(_Clip(out / dimension / f"{prompt[:180]}-{n}.mp4", prompt))
    return _export(ExportLog(out, by), clips, lambda clip, seed: make(clip.prompt, seed))


def export_compbench(prompts: Path, out: Path, make: Make, by: str = "") -> list[Path]:
    """Write `out/{category}/{number of the prompt, from 0001}.mp4`.

    The benchmark pairs clips and prompts by their order: run it only on a complete export.

    prompts: one of the files in prompts/, under its own name
    """
    if prompts.stem not in COMPBENCH:
        raise UsageError(f"{prompts}: T2V-CompBench names its prompt files {', '.join(COMPBENCH)} (.txt).")
    folder = out / COMPBENCH[prompts.stem]
    clips = [_Clip(folder / f"{n:04d}.mp4", prompt) for n, prompt in enumerate(text_lines(prompts), 1)]
    return _export(ExportLog(out, by), clips, lambda clip, seed: make(clip.prompt, seed))


def export_physics_iq(prompts: Path, out: Path, make: MakeFrom, by: str = "", *, given: Path) -> list[Path]:
    """Write `out/{ID}_{view}_{scenario}.mp4`: the five seconds after the conditioning.

    Name `out` after the model.

    prompts: descriptions.csv; only the first of the two takes of each scene is used
    make:    returns a clip from right after the conditioning on; all but five seconds is cut
    given:   the folder switch-frames, or one of split-videos/conditioning-videos
    """
    rows = [row for _, row in records(prompts) if "_take-1_" in row.get("scenario", "")]
    if not rows or not {"description", "generated_video_name"} <= rows[0].keys():
        raise UsageError(f"{prompts} is not the descriptions.csv of Physics-IQ: it names no first take.")
    clips = []
    for row in rows:
        number = row["scenario"][:4]
        found = [path for path in files_in(given) if path.name.startswith(f"{number}_")]
        if len(found) != 1:
            raise UsageError(
                f"{given} holds {len(found)} files that begin with {number}_. Give the folder switch-frames of "
                "Physics-IQ, or that of its conditioning videos at one frame rate."
            )
        clips.append(_Clip(out / row["generated_video_name"], row["description"], found[0]))

    def five_seconds(clip: _Clip, seed: int) -> Video:
        video = make(clip.prompt, seed, clip.given)
        count = round(5 * video.fps)
        if video.fps != round(video.fps) or len(video.frames) < count:
            raise UsageError(
                f"Physics-IQ takes clips of exactly 5 s at a whole number of frames per second, not "
                f"{video.seconds:g} s at {video.fps:g}. Make at least 5 s, at 8, 16, 24 or 30."
            )
        return Video(video.frames[:count], video.fps)

    return _export(ExportLog(out, by), clips, five_seconds)


def export_worldmodelbench(prompts: Path, out: Path, make: Make, by: str = "") -> list[Path]:
    """Write `out/{name of the first frame}.mp4`, from text alone. prompts: worldmodelbench.json"""
    clips = [
        replace(clip, given=Path()) for clip in _worldmodelbench(prompts, out, ("text_first_frame", "text_instruction"))
    ]
    return _export(ExportLog(out, by), clips, lambda clip, seed: make(clip.prompt, seed))


def export_worldmodelbench_images(prompts: Path, out: Path, make: MakeFrom, by: str = "") -> list[Path]:
    """Like `export_worldmodelbench`, but from the first frames, in `images` next to the prompts."""
    clips = _worldmodelbench(prompts, out, ("text_instruction",))
    return _export(ExportLog(out, by), clips, lambda clip, seed: make(clip.prompt, seed, clip.given))


def read_vbench(path: Path) -> dict[str, float]:
    """Read the scores of VBench or VBench-2.0, by dimension in lower case with spaces.

    path: an `*_eval_results.json`, or a folder with one for each dimension, at any depth
    """
    found = path.rglob("*_eval_results.json") if path.is_dir() else [path]
    files = sorted((file for file in found if not is_hidden(file.name)), key=natural)
    scores: dict[str, float] = {}
    for file in files:
        for key, value in _json(file, dict).items():
            name = _plain(key)
            if not (isinstance(value, list) and value and isinstance(value[0], int | float)):
                raise UsageError(f"{file}: {key} is not [score, results of each clip]. Is it a result of VBench?")
            if scores.setdefault(name, float(value[0])) != float(value[0]):
                raise UsageError(f"{path}: two files give {name} another score. Leave the results of one run there.")
    if not scores:
        raise UsageError(f"{path} holds no *_eval_results.json. Run VBench's evaluate.py first.")
    return scores


@dataclass(frozen=True)
class VBenchTotal:
    """VBench's scores by group and in all, in 0..1; the leaderboard shows percent."""

    quality: float
    semantic: float
    total: float


def vbench_total(scores: Mapping[str, float]) -> VBenchTotal:
    """The leaderboard's total: dimensions rescaled, group means weighted, quality 4 : semantic 1.

    scores: of all 16 dimensions, in 0..1, as from `read_vbench`

    Raises UsageError if one is missing, which VBench's own script counts as 0.
    """
    scores = _complete(scores, [*QUALITY, *SEMANTIC], "VBench")

    def mean(group: Mapping[str, tuple[float, float, float]]) -> float:
        parts = [weight * (scores[name] - low) / (high - low) for name, (low, high, weight) in group.items()]
        return sum(parts) / sum(weight for _, _, weight in group.values())

    quality, semantic = mean(QUALITY), mean(SEMANTIC)
    return VBenchTotal(quality, semantic, (4 * quality + semantic) / 5)


def vbench2_total(scores: Mapping[str, float]) -> dict[str, float]:
    """The five means of VBench-2.0 and their mean, "total". scores: all 18, in 0..1"""
    scores = _complete(scores, [name for names in VBENCH2.values() for name in names], "VBench-2.0")
    means = {group: fmean(scores[name] for name in names) for group, names in VBENCH2.items()}
    return {**means, "total": fmean(means.values())}


def read_compbench(path: Path) -> float:
    """Read a category's score in 0..1, from the last line of the .csv that its script writes."""
    last = list(csv.reader(text_lines(path)[-1:]))
    if not last or not last[0][0].startswith("score"):
        raise UsageError(f"{path} does not end with a line `score: `. Let T2V-CompBench's script finish first.")
    return float(last[0][1])


@dataclass(frozen=True)
class PhysicsIQ:
    """Physics-IQ score in 0..100, its parts, and the number of its 66 scenarios that it covers."""

    score: float
    spatial_iou: float
    spatiotemporal_iou: float
    weighted_spatial_iou: float
    mse: float
    scenarios: int


def read_physics_iq(path: Path) -> PhysicsIQ:
    """Compute the score from a model's .csv as code/calculate_iq_score.py does, rounding included.

    The three IoUs are divided by those of the two real takes; excess MSE is subtracted.
    """
    rows = [row for _, row in records(path)]

    def values(name: str) -> list[list[float]]:
        """Values of each scenario and view: one for each frame, or one."""
        cells = [row.get(f"{name}_{view}") or "" for row in rows for view in VIEWS]
        found = [re.findall(r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?", cell) for cell in cells]
        if not found or not all(found):
            raise UsageError(f"{path} lacks a value of {name}. Give the .csv that run_physics_iq.py wrote.")
        return [[float(text) for text in one] for one in found]

    def over_frames(name: str) -> float:
        return fmean(fmean(round(value, 4) for value in one) for one in values(name))

    def over_views(name: str) -> float:
        return fmean(one[0] for one in values(name))

    spatial, weighted = over_views("spatial_iou_v1"), over_views("weighted_spatial_iou_v1")
    moments, mse = over_frames("spatiotemporal_iou_v1"), over_frames("v1_mse")
    ratios = (
        moments / round(over_frames("variance_spatiotemporal_iou"), 4),
        spatial / round(over_views("variance_spatial"), 5),
        weighted / round(over_views("variance_weighted_spatial"), 4),
    )
    score = 100 * (fmean(ratios) - (mse - round(over_frames("variance_mse"), 4)))
    return PhysicsIQ(round(max(min(score, 100.0), 0.0), 2), spatial, moments, weighted, mse, len(rows))


def read_worldmodelbench(path: Path) -> dict[str, float]:
    """Read worldmodelbench_results.json.

    Each law and kind of common sense in 0..1, and the four reported scores: instruction 0..3,
    physical_laws 0..5 and common_sense 0..2, the sums of the single ones; total 0..10.
    """
    data = _json(path, dict)
    try:
        count, accs = len(data["preds"]), data["accs"]
        means = {"instruction": fmean(accs["instruction"])}
        for group, names in (("physical_laws", LAWS), ("common_sense", SENSES)):
            if len(accs[group]) != count * len(names):
                raise UsageError(
                    f"{path}: {len(accs[group])} answers on {group} of {count} clips. Run its judge again."
                )
            parts = {name: fmean(accs[group][n :: len(names)]) for n, name in enumerate(names)}
            means |= {**parts, group: sum(parts.values())}
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is not what WorldModelBench's evaluation.py writes: {error!r}.") from error
    return {**means, "total": means["instruction"] + means["physical_laws"] + means["common_sense"]}


@dataclass(frozen=True)
class _Clip:
    path: Path
    prompt: str
    given: Path = Path()  # the file that it continues, if any


def _export(known: ExportLog, clips: list[_Clip], make: Callable[[_Clip, int], Video]) -> list[Path]:
    firsts: dict[str, _Clip] = {}  # by name: a prompt of several dimensions has a clip in several folders
    wanted: dict[_Clip, str] = {}  # clip -> digest of its inputs
    for clip in clips:  # check all before generating the first
        name = clip.path.name
        if len(name.encode()) > LONGEST_NAME:
            raise UsageError(f"{name!r} is too long for a file's name. Shorten the prompt.")
        if firsts.setdefault(name, clip).prompt != clip.prompt:
            raise UsageError(f"two prompts would share the name {name!r}: {firsts[name].prompt!r} and {clip.prompt!r}.")
        digest = known.digest(clip.prompt, clip.given)
        if not known.holds(clip.path, digest):
            wanted[clip] = digest
    made = []
    for clip, digest in wanted.items():
        known.note(clip.path, digest)
        clip.path.parent.mkdir(parents=True, exist_ok=True)
        first = firsts[clip.path.name]
        if first.path != clip.path:
            with replacing(clip.path) as temporary:
                shutil.copyfile(first.path, temporary)
        else:
            seed = int.from_bytes(sha256(clip.path.name.encode()).digest()[:4], "big") >> 1
            make(clip, seed).save(clip.path)
        made.append(clip.path)
    return made


def _by_dimension(prompts: Path) -> list[tuple[str, list[str]]]:
    """Prompts, each with its dimensions."""
    if prompts.suffix != ".json":
        pairs = [(prompt, [prompts.stem]) for prompt in text_lines(prompts)]
    else:
        try:
            pairs = [(item["prompt_en"], list(item["dimension"])) for item in _json(prompts, list)]
        except (KeyError, TypeError) as error:
            raise UsageError(f"{prompts} is not a full_info.json of VBench: no {error}.") from error
    if slashed := next((prompt for prompt, _ in pairs if "/" in prompt), None):
        raise UsageError(f"{prompts}: a file cannot be named after {slashed!r}. Take the / out of the prompt.")
    return pairs


def _worldmodelbench(prompts: Path, out: Path, texts: tuple[str, ...]) -> list[_Clip]:
    clips = []
    for item in _json(prompts, list):
        if not isinstance(item, dict) or not {*texts, "first_frame"} <= item.keys():
            raise UsageError(f"{prompts} is not worldmodelbench.json: an item lacks its first_frame or a text.")
        first_frame = prompts.parent / item["first_frame"]
        prompt = " ".join(item[text] for text in texts)
        clips.append(_Clip(out / f"{first_frame.stem}.mp4", prompt, first_frame))  # 1.6.jpg becomes 1.6.mp4
    return clips


def _complete(scores: Mapping[str, float], names: list[str], benchmark: str) -> dict[str, float]:
    by_name = {_plain(name): value for name, value in scores.items()}
    if missing := [name for name in names if name not in by_name]:
        raise UsageError(f"{benchmark}'s total needs every dimension; these are missing: {', '.join(missing)}.")
    if wrong := [
        name for name in names if not abs(by_name[name]) <= 1
    ]:  # a similarity can be below 0; NaN is wrong too
        raise UsageError(f"scores are at most 1, and these are not: {', '.join(wrong)}. Divide percent by 100.")
    return by_name


def _plain(name: str) -> str:
    return name.replace("_", " ").lower()


def _json(path: Path, kind: type[Any]) -> Any:
    data = json_whole(path)
    if not isinstance(data, kind):
        raise UsageError(f"{path} holds a {type(data).__name__}, not a {kind.__name__}. Is it the right file?")
    return data
