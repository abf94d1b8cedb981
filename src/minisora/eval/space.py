"""3D consistency: a camera moves through a static world; depth and pose give each point's track.

A model animates the first frame of a held-out scene with a prompt that states the camera's motion
(`animate`). Every background point of that frame has a true depth. The true poses project it into
each later frame, as long as it is inside the frame and not occluded, and there

    colour of points     is the difference of its colour from that in the first frame, in 0..255
    way of points[dis]   is the distance between the end of its optical flow and its true position
                         in the next frame, in hundredths of the smaller side; DIS flow of OpenCV,
                         left out if that is not installed

The floor repeats the first frame; the ceiling is the real clip, whose colours change with shade,
haze and sampling, and whose flow has the error of DIS.

Source of the measure: warping by depth and pose, Zhou et al. 2017, arXiv:1704.07813, Eq. 2, with
both known.

Here: the tracks of points, and the two errors. Not here: whether the camera moves as prompted
(report.py).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from minisora.errors import UsageError
from minisora.eval.no_reference import Flow, dis_flow, looked_up
from minisora.eval.rows import NAN, Figure, Marks, figures_of
from minisora.eval.scenes import choose, held_still, prompt_of
from minisora.generate.model import Model
from minisora.progress import Event, OnEvent, no_listener
from minisora.video import resize
from minisora.worlds import playroom

SECONDS, FPS = 2.0, 8.0
FRAMES = round(SECONDS * FPS) + 1
FLOW_SIDE = 128  # pixels


def space_figures(model: Model, *, count: int, on_event: OnEvent = no_listener) -> list[Figure]:
    """Measure a model on `count` held-out scenes whose camera moves."""
    size = model.bundle.sampling.size
    found: list[Marks] = []
    scenes = choose(lambda scene: not held_still(scene), count)
    for n, scene in enumerate(scenes):
        on_event(Event("camera", n, len(scenes)))
        rendered = playroom.render([scene], height=size[0], width=size[1], fps=FPS, num_frames=FRAMES, truth=True)
        real = rendered.frames[0]
        text = prompt_of(scene, SECONDS, size)
        generated = model.animate(real[0], text, seconds=SECONDS, fps=FPS, size=size, seed=n).frames
        found.append(space_marks(generated, rendered))
    return figures_of("camera", found)


def space_marks(generated: Tensor, rendered: playroom.Rendered) -> Marks:
    """Marks of a clip that animates the first frame of a rendered scene.

    rendered: one scene, with its truth
    """
    assert rendered.depth is not None and rendered.masks is not None
    tracks = point_tracks(rendered.depth[0, 0], rendered.pose[0], rendered.focal[0])
    seen = in_sight(tracks, rendered.masks[0])
    real = rendered.frames[0]
    clips = (generated, real[:1].expand(len(real), -1, -1, -1), real)
    model, floor, ceiling = (colour_error(frames, tracks, seen) for frames in clips)
    marks: Marks = {"colour of points": ("lower", model, floor, ceiling)}
    try:
        flow = dis_flow()
    except UsageError:
        return marks
    model, floor, ceiling = (flow_error(frames, tracks, seen, flow) for frames in clips)
    return marks | {"way of points[dis]": ("lower", model, floor, ceiling)}


def point_tracks(depth: Tensor, pose: Tensor, focal: Tensor) -> Tensor:
    """Position of each pixel of the first frame in every frame, for static points of the world.

    depth:   (H, W) of the first frame, units along the optical axis
    pose:    (T, 4, 4) world to camera; focal: (T,) pixels
    returns  (T, H, W, 2) x right and y down, in pixels, 0 at the centre of the first pixel; NaN
        where there is no depth
    """
    height, width = depth.shape
    y, x = torch.meshgrid(torch.arange(height) + 0.5 - height / 2, torch.arange(width) + 0.5 - width / 2, indexing="ij")
    ahead = depth.where(depth.isfinite(), torch.nan).double()
    first = torch.stack([x / focal[0], y / focal[0], torch.ones_like(x)], -1) * ahead[..., None]
    turn, shift = pose[:, :3, :3].double(), pose[:, :3, 3].double()
    points = (first - shift[0]) @ turn[0]  # the transpose of turn[0], from the left
    there = torch.einsum("tij,hwj->thwi", turn, points) + shift[:, None, None]
    middle = torch.tensor([width / 2 - 0.5, height / 2 - 0.5])
    at = there[..., :2] / there[..., 2:] * focal[:, None, None, None] + middle
    return at.where(there[..., 2:] > 0, torch.nan).float()


def in_sight(tracks: Tensor, masks: Tensor) -> Tensor:
    """(T, H, W) bool: background points inside the frame, with no thing at them or next to them.

    tracks: (T, H, W, 2), as from `point_tracks`
    masks:  (T, H, W), 0 for the background
    """
    height, width = masks.shape[1:]
    things = F.max_pool2d((masks > 0).float()[:, None], 3, 1, 1)  # pixels at an edge mix both colours
    covered = looked_up(things.permute(0, 2, 3, 1), tracks)[..., 0]
    limit = torch.tensor([width - 1, height - 1])
    inside = ((tracks >= 0) & (tracks <= limit)).all(-1)  # False for NaN
    return inside & (covered == 0) & (things[0, 0] == 0)


def colour_error(frames: Tensor, tracks: Tensor, seen: Tensor) -> float:
    """Mean absolute difference, in 0..255, of points from their colours in the first frame.

    NaN if none is visible.
    """
    off = (looked_up(frames.float(), tracks) - frames[0].float()).abs().mean(-1)[1:]
    return float(off[seen[1:]].mean()) if seen[1:].any() else NAN


def flow_error(frames: Tensor, tracks: Tensor, seen: Tensor, flow: Flow) -> float:
    """Median distance of optical flow from the tracks, in hundredths of the smaller side.

    Median, as flow has outliers in areas without texture. Frames smaller than FLOW_SIDE are
    enlarged first: on real renders of 64 x 64 that halves the error.
    """
    height, width = frames.shape[1:3]
    times = max(1, FLOW_SIDE // min(height, width))
    large = resize(frames, times * height, times * width)
    flows = torch.stack([flow(one, other) for one, other in pairwise(large)])
    flows = F.avg_pool2d(flows.permute(0, 3, 1, 2), times).permute(0, 2, 3, 1) / times
    off = (looked_up(flows, tracks[:-1]) - tracks.diff(dim=0)).norm(dim=-1)
    both = seen[:-1] & seen[1:]
    return 100 * float(off[both].median()) / min(height, width) if both.any() else NAN
