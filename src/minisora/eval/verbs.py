"""The verbs on the playroom, against its truth: exact conditioning frames, invisible joins.

Every figure has a floor, the result without a model (a hard cut, a frozen frame, linear
extrapolation, a blend), and a ceiling, the real renders. Scenes are held out, without cuts, and
something moves in each.

    join     second difference of frames where conditioning and generated frames meet, over its 95th
             percentile inside the real clip: invisible if 1 or less
    motion   mean difference of neighbouring generated frames, over that of the real ones
    way      distance of things from their true positions, in halves of the frame's smaller side

Here: verbs of one or two clips. Not here: prompt following (report.py), the judge
(judge/playroom.py).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from minisora.eval.metrics import motion_energy, psnr
from minisora.eval.rows import NAN, Figure, Findings, Marks, figures_of, write_rows
from minisora.eval.scenes import drawn, prompt_of, rendered
from minisora.generate.model import Model
from minisora.generate.storyboard import Board, Shot
from minisora.judge.network import load_judge
from minisora.judge.playroom import FPS, Found, PlayroomJudge
from minisora.judge.segment import colour_mask, places
from minisora.judge.tracks import first_cut
from minisora.progress import Event, OnEvent, no_listener
from minisora.video import Video, contact_sheet
from minisora.video.write import write_picture
from minisora.worlds import playroom, seeds
from minisora.worlds.playroom import COLOURS

SECONDS = 2.0
FRAMES = round(SECONDS * FPS) + 1
GIVEN = 9  # conditioning frames
LEAST_MOTION = 0.3  # least motion energy of a real clip, in 0..255: figures are shares of it


@dataclass(frozen=True, eq=False)
class Case:
    """A held-out scene: its prompt for SECONDS, and its real frames."""

    scene: playroom.Scene
    prompt: str
    real: Tensor  # (FRAMES, H, W, 3) uint8
    fast: Tensor  # the same seconds at twice the fps

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.real.shape[1], self.real.shape[2]


Verb = Callable[[Model, Case, Case, PlayroomJudge, int], tuple[Marks, Tensor]]  # -> marks, and frames for the sheet


def run(model: Model, out: Path, *, count: int, on_event: OnEvent = no_listener) -> Findings:
    """Measure every verb on `count` held-out scenes; write verbs.json, .md and .png to `out`."""
    judge, cases = load_judge(PlayroomJudge), _cases(count, model.bundle.sampling.size)
    figures, rows = list[Figure](), []
    for number, (name, verb) in enumerate(VERBS.items()):
        found: list[Marks] = []
        for n, case in enumerate(cases):
            on_event(Event(name, number * count + n, len(VERBS) * count))
            marks, frames = verb(model, case, cases[(n + 1) % count], judge, n)
            found.append(marks)
            if n < 2:
                rows.append((f"{name}: {case.prompt}", frames, FPS))
        figures += figures_of(name, found)
    findings = write_rows(figures, out, "verbs")
    write_picture(out / "verbs.png", contact_sheet(rows, columns=9, tile=96))
    return findings


def _cases(count: int, size: tuple[int, int]) -> list[Case]:
    cases = list[Case]()
    for seed in seeds.VERBS:
        if len(cases) == count:
            break
        scene = playroom.draw(seed, split="held_out")
        if scene.cut is not None:
            continue
        fast = rendered(scene, size, num_frames=2 * FRAMES - 1, fps=2 * FPS)
        case = Case(scene, prompt_of(scene, SECONDS, size), fast[::2], fast)
        if motion_energy(case.real) >= LEAST_MOTION:
            cases.append(case)
    return cases


def _animate(model: Model, case: Case, other: Case, judge: PlayroomJudge, seed: int) -> tuple[Marks, Tensor]:
    frames = model.animate(case.real[0], case.prompt, seconds=SECONDS, seed=seed).frames
    return {
        "first frame exact": _exact(frames[:1], case.real[:1]),
        "motion": ("higher", _motion(frames, case.real), 0.0, 1.0),
        "way": _trajectory(frames, case, judge, first=1, known=1),
    }, frames


def _extend(model: Model, case: Case, other: Case, judge: PlayroomJudge, seed: int) -> tuple[Marks, Tensor]:
    given = case.real[:GIVEN]
    frames = model.extend(Video(given, FPS), case.prompt, after=(FRAMES - GIVEN) / FPS, seed=seed).frames
    return {
        "clip exact": _exact(frames[:GIVEN], given),
        "join": _join(frames, case, other, GIVEN),
        "motion": ("higher", _motion(frames[GIVEN - 1 :], case.real[GIVEN - 1 :]), 0.0, 1.0),
        "way": _trajectory(frames, case, judge, first=GIVEN, known=GIVEN),
    }, frames


def _extend_back(model: Model, case: Case, other: Case, judge: PlayroomJudge, seed: int) -> tuple[Marks, Tensor]:
    given = case.real[-GIVEN + 1 :]
    at = FRAMES - len(given)
    frames = model.extend(Video(given, FPS), case.prompt, before=at / FPS, seed=seed).frames
    return {
        "clip exact": _exact(frames[at:], given),
        "join": _join(frames, case, other, at),
        "motion": ("higher", _motion(frames[: at + 1], case.real[: at + 1]), 0.0, 1.0),
    }, frames


def _connect(model: Model, case: Case, other: Case, judge: PlayroomJudge, seed: int) -> tuple[Marks, Tensor]:
    one, two = case.real[:5], case.real[-4:]
    gap = FRAMES - len(one) - len(two)
    frames = model.connect(Video(one, FPS), Video(two, FPS), case.prompt, seconds=gap / FPS, seed=seed).frames
    blend = _blended(case.real[4], case.real[-4], gap)
    middle = slice(5, FRAMES - 4)
    real, made, elsewhere = (clip.things for clip in judge.describe([case.real, frames, other.real]))
    kept = _kept(real, made, "shape"), _kept(real, elsewhere, "shape")
    return {
        "clips exact": _exact(torch.cat([frames[:5], frames[-4:]]), torch.cat([one, two])),
        "join after the first": _join(frames, case, other, 5),
        "join before the second": _join(frames, case, other, FRAMES - 4),
        "PSNR of the gap, dB": (
            "higher",
            psnr(frames[middle], case.real[middle]),
            psnr(blend, case.real[middle]),
            50.0,
        ),
        "shape kept": ("higher", kept[0], kept[1], 1.0),
    }, frames


def _loop(model: Model, case: Case, other: Case, judge: PlayroomJudge, seed: int) -> tuple[Marks, Tensor]:
    frames = model.loop(case.prompt, seconds=SECONDS, seed=seed).frames
    rolled = frames.roll(len(frames) // 2, 0)
    seam = _roughness(rolled, len(frames) // 2) / _inside(frames)
    cut = _roughness(case.real[:16].roll(8, 0), 8) / _inside(case.real)
    return {
        "seam": ("lower", seam, cut, 1.0),
        "motion": ("higher", _motion(frames, case.real), 0.0, 1.0),
    }, frames


def _loop_back(model: Model, case: Case, other: Case, judge: PlayroomJudge, seed: int) -> tuple[Marks, Tensor]:
    clip = case.real[:GIVEN]
    frames = model.loop(case.prompt, clip=Video(clip, FPS), seconds=1.0, seed=seed).frames
    rolled = frames.roll(len(frames) - GIVEN, 0)  # puts the seam between two rounds inside the clip
    cut = _roughness(torch.cat([clip, clip]), GIVEN) / _inside(case.real)
    return {
        "clip exact": _exact(frames[:GIVEN], clip),
        "join": _join(frames, case, other, GIVEN),
        "seam": ("lower", _roughness(rolled, len(frames) - GIVEN) / _inside(case.real), cut, 1.0),
    }, frames


def _edit(model: Model, case: Case, other: Case, judge: PlayroomJudge, seed: int) -> tuple[Marks, Tensor]:
    thing = case.scene.things[0]
    new = _new_colour(case, seed)
    if thing.colour not in case.prompt:
        return {name: ("higher", NAN, 0.0, 1.0) for name in ("new colour", "mask IoU", "mask IoU, SDEdit")}, case.real
    prompt = case.prompt.replace(thing.colour, new)
    clip = Video(case.real, FPS)
    made = model.edit(clip, prompt, source=case.prompt, strength=0.8, seed=seed).frames
    from_noise = model.edit(clip, prompt, strength=0.8, seed=seed).frames
    truth = _recoloured(case, new)
    was = colour_mask(case.real, thing.colour, judge.segmenter)

    def found(frames: Tensor) -> float:
        return float(new in _colours(frames, judge))

    def overlap(frames: Tensor) -> float:
        now = colour_mask(frames, new, judge.segmenter)
        return float((was & now).sum() / (was | now).sum().clamp(min=1))

    return {
        "new colour": ("higher", found(made), found(case.real), found(truth)),
        "mask IoU": ("higher", overlap(made), overlap(other.real), overlap(truth)),
        "mask IoU, SDEdit": ("higher", overlap(from_noise), overlap(other.real), overlap(truth)),
    }, made


def _inpaint(model: Model, case: Case, other: Case, judge: PlayroomJudge, seed: int) -> tuple[Marks, Tensor]:
    """Regenerate a thing in a colour that does not occur in the clip."""
    thing = case.scene.things[0]
    height, width = case.real.shape[1:3]
    new = _new_colour(case, seed)
    seen = colour_mask(case.real, thing.colour, judge.segmenter).any(0)
    if thing.colour not in case.prompt or not seen.any():
        return {name: ("higher", NAN, NAN, NAN) for name in ("outside exact", "new colour in the hole")}, case.real
    rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
    unit = height / seen.shape[0]
    hole = torch.zeros(height, width, dtype=torch.bool)
    hole[
        max(0, int((rows[0] - 1) * unit)) : int((rows[-1] + 2) * unit),
        max(0, int((columns[0] - 1) * unit)) : int((columns[-1] + 2) * unit),
    ] = True
    prompt = case.prompt.replace(thing.colour, new)
    frames = model.inpaint(Video(case.real, FPS), prompt, mask=hole, seed=seed).frames
    truth = _recoloured(case, new)

    def found(clip: Tensor) -> float:
        return float(new in _colours(clip, judge))

    return {
        "outside exact": _exact(frames[:, ~hole], case.real[:, ~hole]),
        "new colour in the hole": ("higher", found(frames), found(case.real), found(truth)),
    }, frames


def _new_colour(case: Case, seed: int) -> str:
    used = {each.colour for each in case.scene.things}
    return next(colour for colour in list(COLOURS)[seed % len(COLOURS) :] + list(COLOURS) if colour not in used)


def _recoloured(case: Case, new: str) -> Tensor:
    """Real frames of the scene with its first thing in another colour."""
    first, *others = case.scene.things
    scene = replace(case.scene, things=(replace(first, colour=new), *others))
    return rendered(scene, case.size, num_frames=FRAMES, fps=FPS)


def _colours(frames: Tensor, judge: PlayroomJudge) -> set[str]:
    """Colours of the things in a clip."""
    return {one.colour for one in judge.describe([frames])[0].things}


def _outpaint(model: Model, case: Case, other: Case, judge: PlayroomJudge, seed: int) -> tuple[Marks, Tensor]:
    """Regenerate a wide clip from its middle columns."""
    height, width = case.real.shape[1:3]
    side = 3 * width // 8
    size = height, width + 2 * side
    truth, elsewhere = (rendered(one.scene, size, num_frames=FRAMES, fps=FPS) for one in (case, other))
    middle = slice(side, side + width)
    pasted = elsewhere.clone()
    pasted[:, :, middle] = truth[:, :, middle]
    prompt = prompt_of(case.scene, SECONDS, size)
    clip = Video(truth[:, :, middle].contiguous(), FPS)
    frames = model.outpaint(clip, prompt, to=size, corner=(side, 0), seed=seed).frames
    usual = max(0.5, _edge(truth, middle))
    wanted = {thing.colour for thing in case.scene.things}

    def around(frames: Tensor) -> float:
        return psnr(*(torch.cat([x[:, :, :side], x[:, :, side + width :]], 2) for x in (frames, truth)))

    def found(frames: Tensor) -> float:
        return len(wanted & _colours(frames, judge)) / len(wanted)

    return {
        "clip exact": _exact(frames[:, :, middle], clip.frames),
        "edge": ("lower", _edge(frames, middle) / usual, _edge(pasted, middle) / usual, _edge(truth, middle) / usual),
        "colours": ("higher", found(frames), found(pasted), found(truth)),
        "PSNR around it, dB": ("higher", around(frames), around(pasted), 50.0),
    }, frames


def _edge(frames: Tensor, columns: slice) -> float:
    """Mean absolute difference across both edges of a range of columns, in 0..255."""
    x = frames.float()
    return float(sum((x[:, :, at] - x[:, :, at - 1]).abs().mean() for at in (columns.start, columns.stop)) / 2)


def _storyboard(model: Model, case: Case, other: Case, judge: PlayroomJudge, seed: int) -> tuple[Marks, Tensor]:
    """Generate two shots of one scene, the first from a keyframe."""
    with tempfile.TemporaryDirectory() as folder:
        keyframe = Path(folder) / "keyframe.png"
        Video(case.real[:1], FPS).save(keyframe)
        first = Shot(prompt=case.prompt, seconds=SECONDS, keyframes={0.0: keyframe})
        second = Shot(prompt=f"cut to a different view: {case.prompt}", seconds=SECONDS, same_scene=True)
        frames = model.storyboard(Board((first, second), fps=FPS), seed=seed).frames
    real = rendered(case.scene, case.size, num_frames=2 * FRAMES - 1, fps=FPS)
    shots = [frames[:FRAMES], frames[FRAMES:], case.real, other.real, real[FRAMES:]]
    one, two, truth, elsewhere, later = (shot.things for shot in judge.describe(shots))
    marks: Marks = {"keyframe exact": _exact(frames[:1], case.real[:1])}
    for field in ("colour", "shape", "size"):
        kept = [_kept(*pair, field) for pair in ((one, two), (truth, elsewhere), (truth, later))]
        marks[f"{field} kept"] = ("higher", kept[0], kept[1], kept[2])
    return marks, frames[:: 2 * (FRAMES - 1) // 8]


def _cut(model: Model, case: Case, other: Case, judge: PlayroomJudge, seed: int) -> tuple[Marks, Tensor]:
    """Generate a scene that the camera sees from two places, of its prompt alone."""
    scene, another = _with_cut(seed), _with_cut(seed + 1)
    frames = model.generate(prompt_of(scene, SECONDS, case.size), seconds=SECONDS, seed=seed).frames
    real, elsewhere = (rendered(each, case.size, num_frames=FRAMES, fps=FPS) for each in (scene, another))
    cuts = [first_cut(each) for each in (frames, real, elsewhere)]
    marks: Marks = {"cut made": ("higher", float(cuts[0] < FRAMES), 0.0, float(cuts[1] < FRAMES))}
    clips = zip((frames, real, elsewhere), cuts, strict=True)
    halves = [half for clip, at in clips for half in ((clip[:at], clip[at:]) if max(cuts) < FRAMES else (clip, clip))]
    one, two, truth, later, _, stranger = (shot.things for shot in judge.describe(halves))
    for field in ("colour", "shape", "size"):
        kept = [_kept(*pair, field) for pair in ((one, two), (truth, stranger), (truth, later))]
        marks[f"{field} kept"] = ("higher", kept[0] if max(cuts) < FRAMES else NAN, kept[1], kept[2])
    return marks, frames


def _with_cut(n: int) -> playroom.Scene:
    """The n-th held-out scene with a cut that leaves some frames of SECONDS on both sides."""
    scenes = (drawn(seed, "held_out") for seed in seeds.VERBS)
    return next(islice((scene for scene in scenes if scene.cut is not None and scene.cut < SECONDS - 0.5), n, None))


def _kept(before: Sequence[Found], after: Sequence[Found], field: str) -> float:
    """Share of things for which one of the same colour is found with the same `field`."""
    later = {found.colour: found for found in after}
    same = [thing.colour in later and getattr(later[thing.colour], field) == getattr(thing, field) for thing in before]
    return sum(same) / len(same) if same else NAN


def _interpolate(model: Model, case: Case, other: Case, judge: PlayroomJudge, seed: int) -> tuple[Marks, Tensor]:
    given = case.real[:GIVEN]
    frames = model.interpolate(Video(given, FPS), case.prompt, times=2, seed=seed).frames
    truth = case.fast[1 : 2 * GIVEN - 1 : 2]
    blend = ((given[:-1].float() + given[1:].float()) / 2).round().to(torch.uint8)
    return {
        "frames exact": _exact(frames[::2], given),
        "PSNR between, dB": ("higher", psnr(frames[1::2], truth), psnr(blend, truth), 50.0),
    }, frames


VERBS: dict[str, Verb] = {
    "animate": _animate,
    "extend": _extend,
    "extend back": _extend_back,
    "connect": _connect,
    "loop": _loop,
    "loop back": _loop_back,
    "edit": _edit,
    "inpaint": _inpaint,
    "outpaint": _outpaint,
    "storyboard": _storyboard,
    "cut": _cut,
    "interpolate": _interpolate,
}


def _exact(made: Tensor, given: Tensor) -> tuple[str, float, float, float]:
    return "higher", float(torch.equal(made, given)), 0.0, 1.0


def _motion(frames: Tensor, real: Tensor) -> float:
    """Motion energy over that of the real frames; NaN if theirs is below LEAST_MOTION."""
    usual = motion_energy(real)
    return motion_energy(frames) / usual if usual >= LEAST_MOTION else NAN


def _roughness(frames: Tensor, at: int) -> float:
    """The larger second difference, in 0..255, of the two across frames at - 1 and at."""
    part = frames[max(0, at - 2) : at + 2].float()
    return float((part[2:] - 2 * part[1:-1] + part[:-2]).abs().mean((1, 2, 3)).max())


def _inside(frames: Tensor) -> float:
    """The 95th percentile of second differences inside a clip."""
    x = frames.float()
    return max(0.5, float((x[2:] - 2 * x[1:-1] + x[:-2]).abs().mean((1, 2, 3)).quantile(0.95)))


def _join(frames: Tensor, case: Case, other: Case, at: int) -> tuple[str, float, float, float]:
    cut = torch.cat([case.real[:at], other.real[at:]])
    usual = _inside(case.real)
    return "lower", _roughness(frames, at) / usual, _roughness(cut, at) / usual, _roughness(case.real, at) / usual


def _blended(one: Tensor, other: Tensor, count: int) -> Tensor:
    share = (torch.arange(1, count + 1) / (count + 1)).view(-1, 1, 1, 1)
    return (one * (1 - share) + other * share).round().to(torch.uint8)


def _trajectory(
    frames: Tensor, case: Case, judge: PlayroomJudge, *, first: int, known: int
) -> tuple[str, float, float, float]:
    """Distance from the true positions over frames from `first` on; half a side if not seen.

    The floor extrapolates linearly from the last two of the `known` positions, or stays if only one
    is known.
    """
    errors = []
    for thing in case.scene.things:
        truth = places(case.real, thing.colour, judge.segmenter)
        there = ~truth[first:].isnan().any(1)
        if truth[:known].isnan().any() or not there.any():
            continue
        step = truth[known - 1] - truth[known - 2] if known > 1 else torch.zeros(2)
        ahead = torch.arange(first - known + 1, len(truth) - known + 1)[:, None]
        line = truth[known - 1] + step * ahead
        made = places(frames, thing.colour, judge.segmenter)[first:]
        off = [
            (places - truth[first:]).norm(dim=1).nan_to_num(1.0)[there].clamp(max=1.0).mean() for places in (made, line)
        ]
        errors.append(torch.stack(off))
    if not errors:
        return "lower", NAN, NAN, 0.0
    model, floor = torch.stack(errors).mean(0).tolist()
    return "lower", model, floor, 0.0
