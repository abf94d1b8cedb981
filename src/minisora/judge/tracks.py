"""Tracks from segmented cells: place, size and look of each thing by frame; background motion.

The background's motion between two frames is one smooth field, a quadratic in x and y, fitted by
least squares to the brightness constancy equation (Lucas and Kanade 1981, over the whole frame at
once), with the things masked out and one round of down-weighting outliers.

Coordinates are in halves of the frame's smaller side from its middle, y down.

Here: measuring. Not here: classifying the tracks (playroom.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from minisora.judge.segment import CELL, FIRST_COLOUR, SKY, Segmenter, fitted
from minisora.worlds.playroom.scene import COLOURS

LEAST_CELLS = 6.0  # a blob of fewer is not a thing
LEAST_FRAMES = 3  # nor is one that is seen in fewer frames
CROP = 32  # pixels
CROP_REACH = 1.5  # sides of a square of the thing's area, from the middle of the crop to its edge
FIELD = 8  # coefficients of the background's motion
CUT_LEAST, CUT_TIMES = 5.0, 2.0  # a cut: mean difference of two frames in 0..255, and of any other pair
CLIP_FEATURES = FIELD + 4
OTHERS = 2  # other things whose features are part of a track
THING_FEATURES = 11 + 4 * OTHERS
SUMMED = 3  # things whose features are part of the camera classifier's input


@dataclass(frozen=True, eq=False)
class Tracks:
    """Measurements of one clip, up to its first cut; T frames.

    colours: of the n things found
    doubles: number of further blobs of the same colours that are visible at once in most frames
    things:  (n, T, THING_FEATURES)
    crops:   (n, T, 3, CROP, CROP) float16: brightness, similarity to the thing's colour, mask of
        the thing
    clip:    (T, CLIP_FEATURES) motion of the background since the frame before, and share of sky
    """

    colours: tuple[str, ...]
    doubles: int
    things: Tensor
    crops: Tensor
    clip: Tensor


@torch.inference_mode()
def measure(frames: Tensor, segmenter: Segmenter) -> Tracks:
    """Measure the tracks of a clip (T, H, W, 3) uint8, of any size."""
    frames = fitted(frames)
    frames = frames[: first_cut(frames)]
    shares = torch.cat([segmenter(part).softmax(1) for part in frames.split(32)])
    top = shares.argmax(1)
    found, masks, doubles = [], [], 0
    for n in range(len(COLOURS)):
        mask = top == FIRST_COLOUR + n
        large = mask.flatten(1).sum(1) >= LEAST_CELLS
        if int(large.sum()) < min(LEAST_FRAMES, len(frames)):
            continue
        labels, counts = _blobs(mask)
        usual = int(counts[large].float().median())
        if usual > 1:  # two of a colour at once: follow the larger
            doubles += usual - 1
            mask = _largest(labels)
        found.append(n)
        masks.append(shares[:, FIRST_COLOUR + n] * mask * large[:, None, None])
    background = _field_features(frames, shares)
    if not found:
        empty = (
            torch.zeros(0, len(frames), THING_FEATURES),
            torch.zeros(0, len(frames), 3, CROP, CROP, dtype=torch.half),
        )
        return Tracks((), 0, *empty, background)
    weights = torch.stack(masks)  # (n, T, rows, columns)
    places = _places(weights)
    return Tracks(
        colours=tuple(list(COLOURS)[n] for n in found),
        doubles=doubles,
        things=_thing_features(places, weights),
        crops=_crops(frames, weights, places),
        clip=background,
    )


def first_cut(frames: Tensor) -> int:
    """Number of frames before the first cut; all frames if there is none."""
    small = F.avg_pool2d(frames.permute(0, 3, 1, 2).float(), 4)
    jumps = (small[1:] - small[:-1]).abs().mean((1, 2, 3))
    if len(jumps) < 4:
        return len(frames)
    largest = jumps.topk(2).values
    alone = largest[0] > CUT_LEAST and largest[0] > CUT_TIMES * largest[1]
    return int(jumps.argmax()) + 1 if alone else len(frames)


def _blobs(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Connected components of cells (T, rows, columns), 0 outside; and how many large ones (T,)."""
    used = mask.any(0)
    low_row, high_row = _span(used.any(1))
    low_column, high_column = _span(used.any(0))
    whole, mask = mask, mask[:, low_row:high_row, low_column:high_column]  # a blob is small: most of the frame is not
    rows, columns = mask.shape[1:]
    labels = (torch.arange(1, rows * columns + 1).view(rows, columns) * mask).float()
    for _ in range(rows + columns):
        grown = F.max_pool2d(labels[:, None], 3, 1, 1)[:, 0] * mask
        if torch.equal(grown, labels):
            break
        labels = grown
    counts = []
    for frame in labels.long():
        areas = frame.flatten().bincount()[1:]
        counts.append(int((areas >= max(LEAST_CELLS, 0.25 * float(areas.max()) if len(areas) else 0.0)).sum()))
    placed = torch.zeros(whole.shape)
    placed[:, low_row:high_row, low_column:high_column] = labels
    return placed, torch.tensor(counts)


def _span(used: Tensor) -> tuple[int, int]:
    at = used.nonzero().flatten()
    return int(at[0]), int(at[-1]) + 1


def _largest(labels: Tensor) -> Tensor:
    kept = []
    for frame in labels.long():
        areas = frame.flatten().bincount()
        areas[0] = 0
        kept.append((frame == int(areas.argmax())) & (frame > 0))
    return torch.stack(kept)


def _grid(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    half = min(rows, columns) / 2
    y = (torch.arange(rows) + 0.5 - rows / 2) / half
    x = (torch.arange(columns) + 0.5 - columns / 2) / half
    return y[:, None], x[None, :]


def _places(weights: Tensor) -> Tensor:
    """(n, T, rows, columns) -> (n, T, 4): seen or not, x, y, and the side of a square of its area.

    While a thing is not seen, it has its last known position, or its first one before that.
    """
    y, x = _grid(*weights.shape[2:])
    area = weights.sum((2, 3))
    safe = area.clamp_min(1e-6)
    seen = area > 0
    side = area.sqrt() * 2 / min(weights.shape[2:])
    spots = torch.stack([(weights * x).sum((2, 3)) / safe, (weights * y).sum((2, 3)) / safe, side], -1)
    frame = torch.arange(weights.shape[1]).expand_as(seen)
    last = torch.where(seen, frame, -1).cummax(1).values
    first = torch.where(seen, frame, weights.shape[1]).min(1, keepdim=True).values
    last = torch.where(last < 0, first, last)
    held = spots.gather(1, last[..., None].expand(-1, -1, 3))
    return torch.cat([seen[..., None].float(), held], -1)


def _thing_features(places: Tensor, weights: Tensor) -> Tensor:
    """(n, T, THING_FEATURES): place, size, box and steps, and the same of the nearest things."""
    y, x = _grid(*weights.shape[2:])
    on = weights > 0.5
    far = 9.0
    box = torch.stack(
        [
            torch.where(on, x, far).amin((2, 3)),
            torch.where(on, x, -far).amax((2, 3)),
            torch.where(on, y, far).amin((2, 3)),
            torch.where(on, y, -far).amax((2, 3)),
        ],
        -1,
    )
    shown = on.flatten(2).any(2)
    box = torch.where(shown[..., None], box - places[..., [1, 1, 2, 2]], 0.0)
    steps = 8 * torch.diff(places[..., 1:], dim=1, prepend=places[:, :1, 1:])
    own = torch.cat([places, 2 * box, steps], -1)
    rows = []
    for n in range(len(places)):
        others = [m for m in range(len(places)) if m != n]
        others.sort(key=lambda m: float((places[m, :, 1:3] - places[n, :, 1:3]).norm(dim=-1).min()))
        beside = torch.zeros(places.shape[1], OTHERS, 4)
        for slot, m in enumerate(others[:OTHERS]):
            beside[:, slot, :3] = places[m, :, 1:] - places[n, :, 1:] * torch.tensor([1.0, 1.0, 0.0])
            beside[:, slot, 3] = 0.5 + 0.5 * places[m, :, 0]
        rows.append(torch.cat([own[n], beside.flatten(1)], -1))
    return torch.stack(rows)


def _crops(frames: Tensor, weights: Tensor, places: Tensor) -> Tensor:
    """Square crops around each thing, scaled to its size: (n, T, 3, CROP, CROP)."""
    height, width = frames.shape[1:3]
    half = min(height, width) / 2
    side = F.avg_pool1d(F.pad(places[..., 3], (2, 2), mode="replicate"), 5, 1)
    reach = (CROP_REACH * side).clamp_min(0.1)
    line = torch.linspace(-1, 1, CROP)
    x = places[..., 1, None, None] + reach[..., None, None] * line[None, None, None, :]
    y = places[..., 2, None, None] + reach[..., None, None] * line[None, None, :, None]
    grid = torch.stack(torch.broadcast_tensors(x * half / (width / 2), y * half / (height / 2)), -1)
    pixels = frames.permute(0, 3, 1, 2).float() / 255
    crops = []
    for n in range(len(weights)):
        looks = F.grid_sample(pixels, grid[n], align_corners=False, padding_mode="border")
        cells = F.grid_sample(weights[n][:, None], grid[n], align_corners=False)
        colour = (looks * cells).sum((0, 2, 3), keepdim=True) / cells.sum().clamp_min(1e-3)
        brightness = looks.mean(1, keepdim=True) / colour.mean().clamp_min(0.05) - 1
        hue = F.normalize(looks, dim=1) - F.normalize(colour, dim=1)
        likeness = torch.exp(-(hue.square().sum(1, keepdim=True)) / 0.02)
        crops.append(torch.cat([brightness, likeness, cells], 1) * places[n, :, 0, None, None, None])
    return torch.stack(crops).half()


def _field_features(frames: Tensor, shares: Tensor) -> Tensor:
    """(T, CLIP_FEATURES): the background's motion, its certainty, and the sky.

    Motion in halves of the frame per second.
    """
    luma = (frames.permute(0, 3, 1, 2).float() / 255).mean(1, keepdim=True)
    luma = F.avg_pool2d(luma, CELL)
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    padded = F.pad(luma, (2, 2, 2, 2), mode="replicate")
    luma = F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, 5)), kernel.view(1, 1, 5, 1))[:, 0]
    thing = shares[:, FIRST_COLOUR:SKY].sum(1)
    wide = F.max_pool2d(F.max_pool2d(thing[:, None], (1, 7), 1, (0, 3)), (7, 1), 1, (3, 0))
    free = 1 - wide[:, 0].clamp(0, 1)
    free = free[1:] * free[:-1]
    rows, columns = luma.shape[1:]
    half = min(rows, columns) / 2
    middle = (luma[1:] + luma[:-1]) / 2
    padded = F.pad(middle[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    along_x = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2 * half
    along_y = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2 * half
    change = luma[1:] - luma[:-1]
    y, x = _grid(rows, columns)
    x, y = x.expand(rows, columns), y.expand(rows, columns)
    one = torch.ones_like(x)
    zero = torch.zeros_like(x)
    basis_x = torch.stack([one, x, y, zero, zero, zero, x * x, x * y])
    basis_y = torch.stack([zero, zero, zero, one, x, y, x * y, y * y])
    design = along_x[:, None] * basis_x + along_y[:, None] * basis_y  # (T-1, FIELD, rows, columns)
    design, change = design.flatten(2), change.flatten(1)
    weight = free.flatten(1)
    field = _solve(design, change, weight)
    for _ in range(2):
        rest = change + (design * field[..., None]).sum(1)
        spread = (weight * rest.abs()).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1) + 1e-3
        field = _solve(design, change, free.flatten(1) / (1 + (rest / (2 * spread)).square()))
    rest = change + (design * field[..., None]).sum(1)
    before = (weight * change.square()).sum(1).add(1e-6).log()
    after = (weight * rest.square()).sum(1).add(1e-6).log()
    texture = (weight * design[:, 0].square()).sum(1).add(1e-6).log()
    features = torch.cat([field * 8, torch.stack([after - before, before / 4, texture / 8], -1)], -1)
    features = torch.cat([torch.zeros_like(features[:1]), features]) if len(features) else torch.zeros(1, FIELD + 3)
    sky = shares[:, SKY].sum(1).mean(1) / half
    return torch.cat([features, sky[:, None]], -1)


def _solve(design: Tensor, change: Tensor, weight: Tensor) -> Tensor:
    """Weighted least squares, slightly damped: (F, K, P), (F, P), (F, P) -> (F, K)."""
    weighted = design * weight[:, None]
    normal = weighted @ design.mT
    ridge = 1e-3 * normal.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-4)
    normal = normal + ridge[:, None, None] * torch.eye(design.shape[1])
    solved: Tensor = torch.linalg.solve(normal, weighted @ change[..., None])
    return -solved[..., 0]


def camera_features(tracks: Tracks) -> Tensor:
    """(T, CLIP_FEATURES + 7 * SUMMED): the background, and motion of the largest things."""
    frames = len(tracks.clip)
    largest = sorted(range(len(tracks.things)), key=lambda n: -float(tracks.things[n, :, 3].mean()))[:SUMMED]
    beside = torch.zeros(frames, SUMMED, 7)
    for slot, n in enumerate(largest):
        beside[:, slot] = tracks.things[n][:, [0, 1, 2, 3, 8, 9, 10]]
    return torch.cat([tracks.clip, beside.flatten(1)], -1)
