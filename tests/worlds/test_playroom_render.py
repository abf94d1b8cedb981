"""The ray caster against marched membership tests in float64, and itself at other sizes."""

import numpy as np
import pytest
import torch

from minisora.errors import UsageError
from minisora.worlds.playroom import SHAPES, draw, render
from minisora.worlds.playroom.camera import views
from minisora.worlds.playroom.motion import state
from minisora.worlds.playroom.scene import EXTENTS
from minisora.worlds.playroom.shapes import SHAPE_HITS


def inside(shape: str, p: np.ndarray) -> np.ndarray:
    """True for points (..., 3) in the shape of radius 1: a second definition, by volume."""
    across, half = EXTENTS[shape]
    x, y, z = np.moveaxis(p, -1, 0)
    if shape == "ball":
        return x**2 + y**2 + z**2 <= 1
    if shape == "cube":
        return np.maximum(np.maximum(abs(x), abs(y)), abs(z)) <= across
    limit = across if shape == "cylinder" else across * (half - z) / (2 * half)
    return (abs(z) <= half) & (np.hypot(x, y) <= limit)


@pytest.mark.parametrize("shape", SHAPES)
def test_hits_equal_marching(shape):
    rng = np.random.default_rng(0)
    origin = rng.normal(size=(400, 3))
    origin *= 4 / np.linalg.norm(origin, axis=1, keepdims=True)
    direction = rng.uniform(-1, 1, size=(400, 3)) - origin
    t = np.linspace(0, 2, 4001)
    within = inside(shape, origin[:, None] + t[:, None] * direction[:, None])
    first = np.where(within.any(1), t[within.argmax(1)], np.inf)

    o, d = (tuple(torch.from_numpy(v).float().unbind(1)) for v in (origin, direction))
    hit, found, normal, _ = SHAPE_HITS[shape](o, d)
    grazing = within.sum(1) < 8  # shorter than a few steps of the march
    assert (hit.numpy() == within.any(1))[~grazing].all()
    both = hit.numpy() & within.any(1)
    assert both.sum() > 100
    assert np.abs(found.numpy() - first)[both].max() < 2 * t[1]

    points = origin + found.numpy()[:, None].astype(float) * direction
    normals = torch.stack(normal, -1).numpy()
    assert np.allclose(np.linalg.norm(normals[both], axis=1), 1, atol=1e-3)
    assert not inside(shape, points + 2e-3 * normals)[both].any()  # normals point out
    assert (inside(shape, points - 2e-2 * normals)[both]).mean() > 0.97  # all but near an edge


@pytest.mark.parametrize("seed", [2, 5, 11, 33])
def test_masks_and_depth_equal_marching(seed):
    scene = draw(seed)
    size, times = 48, np.array([0.0, 2.0])
    out = render([scene], height=size, width=size, fps=0.5, num_frames=2, truth=True)
    pose, focal = views(scene, times)
    centres, turns = state(scene, times)
    steps = (np.arange(size) + 0.5 - size / 2) / (size / 2)
    for k in range(2):
        v, u = np.meshgrid(steps / focal[k], steps / focal[k], indexing="ij")
        turn = pose[k, :3, :3]
        eye = -turn.T @ pose[k, :3, 3]
        rays = np.stack([u, v, np.ones_like(u)], -1) @ turn
        t = np.linspace(2, 12, 1200)
        nearest = np.full((size, size), np.inf)
        label = np.zeros((size, size), int)
        for n, thing in enumerate(scene.things):
            points = eye + t[:, None] * rays[:, :, None] - centres[k, n]
            within = inside(thing.shape, points @ turns[k, n] / thing.radius)
            first = np.where(within.any(-1), t[within.argmax(-1)], np.inf)
            label = np.where(first < nearest, n + 1, label)
            nearest = np.minimum(nearest, first)
        mask, depth = out.masks[0, k].numpy(), out.depth[0, k].numpy()
        flat = np.pad(label, 1, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(flat, (3, 3))
        solid = windows.max((-1, -2)) == windows.min((-1, -2))  # no edge in the pixel or beside it
        assert (mask == label)[solid].all()
        assert (mask == label).mean() > 0.97
        thing = solid & (label > 0)
        assert np.median(np.abs(depth[thing] - nearest[thing])) < 0.03
        floor = solid & (label == 0) & (rays[..., 2] < 0)
        assert np.allclose((eye[2] + depth * rays[..., 2])[floor], 0, atol=1e-2)


def test_masks_lie_round_the_projected_positions():
    scenes = [draw(seed) for seed in range(12)]
    out = render(scenes, height=48, width=48, num_frames=5, fps=1, truth=True)
    for b, scene in enumerate(scenes):
        for n in range(len(scene.things)):
            for k in range(5):
                rows, columns = torch.nonzero(out.masks[b, k] == n + 1, as_tuple=True)
                spot = out.screen[b, k, n]
                if len(rows) < 30 or not ((spot > 0.15) & (spot < 0.85)).all():
                    continue
                low = torch.stack([columns.min(), rows.min()]) / 48
                high = torch.stack([columns.max() + 1, rows.max() + 1]) / 48
                assert (low - 0.09 < spot).all() and (spot < high + 0.09).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 17), (17, 51), (64, 36)])
def test_any_size(height, width):
    out = render([draw(0), draw(1)], height=height, width=width, num_frames=2, truth=True)
    assert out.frames.shape == (2, 2, height, width, 3) and out.frames.dtype == torch.uint8
    assert out.masks.shape == out.depth.shape == (2, 2, height, width)


def test_a_later_start_is_a_slice_and_neighbours_change_nothing():
    scenes = [draw(seed) for seed in range(6)]
    whole = render(scenes, height=40, width=40, num_frames=17).frames
    late = render(scenes, height=40, width=40, num_frames=9, start=1.0).frames
    alone = torch.cat([render([scene], height=40, width=40, num_frames=17).frames for scene in scenes])
    # rounding may move a ray across an edge; nothing else may differ
    for other, same in ((late, whole[:, 8:]), (alone, whole)):
        difference = (other.int() - same.int()).abs()
        assert (difference > 1).float().mean() < 1e-3


def test_things_show_their_colour():
    """The middle hue of each mask is nearest to the thing's own colour, in every light."""
    from minisora.worlds.playroom import COLOURS

    names = list(COLOURS)
    palette = torch.tensor([COLOURS[name] for name in names])
    palette = palette / palette.norm(dim=1, keepdim=True)
    scenes = [draw(seed) for seed in range(80)]
    out = render(scenes, height=48, width=48, num_frames=1, truth=True)
    right = []
    for b, scene in enumerate(scenes):
        for n, thing in enumerate(scene.things):
            pixels = out.frames[b, 0][out.masks[b, 0] == n + 1].float()
            if len(pixels) < 30:
                continue
            middle = pixels.median(0).values
            right.append(names[int((palette @ middle).argmax())] == thing.colour)
    assert sum(right) / len(right) > 0.97


def test_bad_sizes_are_refused():
    with pytest.raises(UsageError, match="at least one"):
        render([draw(0)], height=0, width=8)
