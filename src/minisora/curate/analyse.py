"""Analysis of one file: its clips with all their scores, in one decode.

Here: `analyse`, its settings, and the names of all scores. Not here: computing each score
(signals.py, shots.py, scores.py, learned.py), thresholds (decide.py), many files (measure.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from minisora.curate.learned import Kept, TransNet, columns_of, keeping, packaged, scorer_named, version_of
from minisora.curate.lost import MediaError
from minisora.curate.scores import LABELS, SCORES, Scored
from minisora.curate.shots import Cutting, Span, cuts, shots
from minisora.curate.signals import Media, Reading, read_signals
from minisora.errors import UsageError

__all__ = ["LABELS", "SCORES", "Analysis", "Cutting", "Media", "MediaError", "all_scores", "analyse"]


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Settings of the analysis; a change of any of them measures every file again."""

    detector: Literal["adaptive", "transnet"] = "adaptive"
    cutting: Cutting = field(default_factory=Cutting)  # of the adaptive detector
    transnet_threshold: float = 0.5  # probability of a cut
    samples_per_second: float = 4.0  # frames that are looked at closely
    flow_above: float = (
        0.0  # least codec_motion for optical flow; below it `motion` is codec_motion, without camera scores
    )
    scorers: tuple[str, ...] = ()  # names, as in learned.py
    threads: int = 1  # of the decoder; processes side by side use a machine better
    timeout_seconds: float | None = None  # for a file

    def __post_init__(self) -> None:
        if self.detector not in ("adaptive", "transnet"):
            raise UsageError(f"there is no detector {self.detector!r}. Choose adaptive or transnet.")
        if not (self.samples_per_second > 0 and self.threads > 0):
            raise UsageError("samples_per_second and threads must be more than 0.")
        if not 0 <= self.flow_above < math.inf:
            raise UsageError(f"flow_above is {self.flow_above:g}: give frame diagonals per second, 0 or more.")


def all_scores(settings: Analysis) -> Mapping[str, str]:
    """Every score of `analyse` with its description and unit: columns that a threshold may name."""
    scores = {name: meaning for name, (_, meaning) in SCORES.items()}
    for name in settings.scorers:
        scores |= columns_of(name)
    return scores


def made_by(settings: Analysis) -> dict[str, Any]:
    """Cache key of an analysis, in addition to the file itself, as JSON values.

    It holds the name and version of every score and label, and the settings that affect results.
    """
    kept_settings = asdict(settings)
    for name in ("threads", "timeout_seconds", "scorers"):
        del kept_settings[name]
    if settings.detector == "transnet":
        del kept_settings["cutting"]
        kept_settings["detector"] = ["transnet", TransNet.version, packaged(TransNet.package)]
    else:
        del kept_settings["transnet_threshold"]
    versions: dict[str, int | str] = {name: version for name, (version, _) in (SCORES | LABELS).items()}
    for name in settings.scorers:
        versions |= dict.fromkeys(columns_of(name), version_of(name))
    return {"settings": kept_settings, "versions": versions}


def analyse(
    path: Path,
    spans: Sequence[Span] | None,
    settings: Analysis,
    captions: Sequence[Sequence[str]] = (),
    *,
    pictures: bool = False,
) -> list[dict[str, Any]]:
    """Find the clips of a file and compute their scores.

    spans:    (start, stop) in seconds after the first frame; None: detect shots
    captions: of each span, or of the whole file; for scorers that read them
    pictures: accept a file of one frame as a clip
    returns   for each clip, in order: start, stop, shot (its number; None for given spans), the
        columns of SCORES and LABELS, and those of the scorers; None for a score that the span does
        not define

    Raises MediaError if the file is unusable, UsageError for an invalid span or a scorer's missing
    package.
    """
    for start, stop in spans or ():
        if not (0 <= start < stop < math.inf):
            raise UsageError(f"{start:g} to {stop:g} s of {path} is no span: give 0 <= start < stop.")
    scorers = [scorer_named(name) for name in settings.scorers]
    network = TransNet() if settings.detector == "transnet" else None
    with keeping() if scorers else nullcontext() as kept:
        reading = Reading(
            samples_per_second=settings.samples_per_second,
            flow_above=settings.flow_above,
            until=max((stop for _, stop in spans), default=0.0) if spans is not None else math.inf,
            threads=settings.threads,
            timeout_seconds=settings.timeout_seconds,
            pictures=pictures,
        )
        signals = read_signals(path, reading, watch=kept.add if kept else None, every=network.push if network else None)
        frames, media = signals.frames, signals.media
        if network:
            found = network.cuts(len(signals), settings.transnet_threshold)
        else:
            found = cuts(frames["content"], frames["seconds"], media.fps, settings.cutting)
        scored = Scored(signals, found)
        clips = []
        for number, span in enumerate(shots(found, frames["seconds"], media.seconds) if spans is None else spans):
            clip = {"start": span[0], "stop": span[1], "shot": number if spans is None else None}
            clip |= scored.scores(span)
            texts = captions[number if spans is not None else 0] if captions else ()
            for scorer in scorers:
                clip |= _opinion(scorer, kept, span, list(texts))
            clips.append(clip)
        return clips


def _opinion(scorer: Any, kept: Kept | None, span: Span, captions: list[str]) -> dict[str, float | None]:
    frames = kept.frames(*span) if kept else None
    if frames is None:
        return dict.fromkeys(scorer.columns)
    opinion = scorer(frames, captions) if getattr(scorer, "reads_captions", False) else scorer(frames)
    if set(opinion) != set(scorer.columns):
        raise UsageError(
            f"the scorer {scorer.name!r} gave {sorted(opinion)}, and says it gives {sorted(scorer.columns)}. Mend it."
        )
    return dict(opinion)
