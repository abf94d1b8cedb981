"""Sets against real ones: real clips reach their own ceiling, other distances are as expected."""

from __future__ import annotations

import torch

from minisora.eval.quality import distance_figures, plain_marks, quality_figures
from minisora.eval.report import render_all
from minisora.worlds import playroom


def test_real_clips_reach_the_ceiling_and_shuffled_ones_the_floor():
    clips = render_all([playroom.draw(n) for n in range(4)], (48, 48))
    real, others = [clip[:9] for clip in clips[:2]], [clip[:9] for clip in clips[2:]]
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    sources = {"real": real, "shuffled": [clip[order] for clip in real]}
    figures = {(figure.verb, figure.name): figure for figure in quality_figures(sources, real, others)}
    for name in ("flicker", "motion_smoothness[dis]", "warping_error[dis]", "Frechet distance"):
        best, worst = figures["real", name], figures["shuffled", name]
        assert best.mean == best.ceiling == worst.ceiling and best.n == 2, name
        assert (worst.mean > worst.ceiling) == (worst.better == "lower"), name
        if name != "Frechet distance":
            assert worst.mean == worst.floor, name
    assert figures["real", "dynamic_degree[dis]"].floor == 0


def test_only_the_warping_error_is_better_when_lower():
    names = ("flicker", "dynamic_degree[dis]", "warping_error[dis]")
    marks = plain_marks(*({name: value for name in names} for value in (0.5, 0.2, 0.9)))
    assert [marks[name][0] for name in names] == ["higher", "higher", "lower"]
    assert marks["flicker"][1:] == (0.5, 0.2, 0.9) and marks["dynamic_degree[dis]"][2] == 0


def test_a_distance_of_sets_apart_by_a_shift():
    """Features are the mean pixel: at equal spread the distance is the squared difference."""
    others = [torch.full((2, 2, 2, 3), 10 * n, dtype=torch.uint8) for n in range(6)]
    moved = [clip + 7 for clip in others]
    (figure,) = distance_figures({"moved": moved}, others, others, lambda clip: clip.float().mean()[None], "distance")
    assert abs(figure.mean - 49) < 1e-6 and figure.ceiling == figure.floor == 0 and figure.low < 49 < figure.high
