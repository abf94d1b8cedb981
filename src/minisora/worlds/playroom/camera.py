"""The cameras of a scene: poses, focal lengths and projection.

Camera axes are x right, y down, z forward. The focal length is in halves of the frame's smaller
side, so a portrait, a square and a wide frame all show what the square shows, and more along their
longer side.

Here: pose and focal length at any time, and where a point falls in the frame.
Not here: rays and pixels (render.py).
"""

from __future__ import annotations

import math

import numpy as np

from minisora.worlds.playroom.motion import Array
from minisora.worlds.playroom.scene import Scene, Shot

FOCAL = 1 / math.tan(math.radians(20.0))  # 40 degrees across the smaller side


def shot_at(scene: Scene, time: float) -> Shot:
    """The shot on view at a moment, in seconds."""
    return next(shot for shot in reversed(scene.shots) if shot.start <= time or shot is scene.shots[0])


def views(scene: Scene, times: Array) -> tuple[Array, Array]:
    """Cameras at `times` (T,) seconds: world-to-camera poses (T, 4, 4) and focal lengths (T,)."""
    pose, focal = _shot_views(scene.shots[0], times)
    for shot in scene.shots[1:]:
        later_pose, later_focal = _shot_views(shot, times)
        on_view = times >= shot.start
        pose = np.where(on_view[:, None, None], later_pose, pose)
        focal = np.where(on_view, later_focal, focal)
    return pose, focal


def _shot_views(shot: Shot, times: Array) -> tuple[Array, Array]:
    moved = shot.rate * (times - shot.pivot)
    still = np.zeros_like(moved)
    orbit = {"orbit_left": -moved, "orbit_right": moved}.get(shot.move, still)
    pan = {"pan_left": -moved, "pan_right": moved}.get(shot.move, still)
    zoom = {"zoom_in": moved, "zoom_out": -moved}.get(shot.move, still)

    azimuth = shot.azimuth + orbit
    level = shot.distance * math.cos(shot.elevation)
    position = np.stack(
        [
            shot.x + level * np.sin(azimuth),
            shot.y - level * np.cos(azimuth),
            np.full_like(azimuth, shot.z + shot.distance * math.sin(shot.elevation)),
        ],
        axis=-1,
    )
    # Looking along (-sin, cos) of the heading; a pan to the right turns that way clockwise.
    heading = azimuth - pan
    sine, cosine = np.sin(heading), np.cos(heading)
    down, ahead = math.sin(shot.elevation), math.cos(shot.elevation)
    right = np.stack([cosine, sine, np.zeros_like(sine)], axis=-1)
    forward = np.stack([-ahead * sine, ahead * cosine, np.full_like(sine, -down)], axis=-1)
    turn = np.stack([right, np.cross(forward, right), forward], axis=-2)
    pose = np.zeros((len(times), 4, 4))
    pose[:, :3, :3] = turn
    pose[:, :3, 3] = -np.einsum("tij,tj->ti", turn, position)
    pose[:, 3, 3] = 1.0
    return pose, FOCAL * np.exp(np.clip(zoom, -0.5, 0.5))


def project(pose: Array, focal: Array, points: Array) -> tuple[Array, Array]:
    """Projection of points: halves of the smaller side from the middle, y down; depth in units.

    pose:    (T, 4, 4), focal (T,)
    points:  (T, N, 3)
    returns  (T, N, 2) and (T, N)
    """
    seen = np.einsum("tij,tnj->tni", pose[:, :3, :3], points) + pose[:, None, :3, 3]
    depth = seen[..., 2]
    safe = np.maximum(depth, 1e-3)
    return seen[..., :2] * focal[:, None, None] / safe[..., None], depth
