"""Any Gymnasium environment as a world: clips with the action and the reward of each frame.

Frame 0 is rendered before the first action; action i leads from frame i to frame i + 1 and gives
reward i. If the clip's fps is below the environment's, an action is repeated for the steps of a
frame. The same seed gives the same actions, and the same clip if the environment is deterministic.

Source: Towers et al. 2024, "Gymnasium", arXiv:2407.17032; https://gymnasium.farama.org.

Here: `record`. Not here: playing by hand, learning to play.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minisora.errors import UsageError
from minisora.video.frames import fit
from minisora.worlds.clip import Caption, Clip

Policy = Callable[[Any], Any]  # an observation to an action


def record(
    env: Any,
    *,
    episodes: int,
    policy: str | Policy = "random",
    size: tuple[int, int] | None = None,
    fps: float | None = None,
    seed: int = 0,
    most_frames: int = 1024,
) -> Iterator[Clip]:
    """Record a clip of each episode.

    An episode longer than `most_frames` continues in another clip, from the last frame on.

    env:     an id such as "CartPole-v1", or an environment made with render_mode="rgb_array", which
        is left open
    policy:  "random", or a function of the observation
    size:    (height, width) in pixels; frames are scaled to cover it and cropped. None: as rendered
    fps:     of the clips: that of the environment divided by a whole number; None: its own
    seed:    of the first episode; each further episode adds 1

    truth holds the environment's id, its seed, `actions` and `rewards` of each step between frames,
    the space of the actions, and whether the episode ended by itself (`terminated`) or at a limit
    (`truncated`)

    Raises UsageError if Gymnasium or a package of the environment is missing, or if the environment
    does not render to arrays.
    """
    with _refusals(env):
        opened = _opened(env)
        try:
            rate, held = _rates(opened, fps)
            choose = _chooser(opened, policy)
            for episode in range(episodes):
                opened.action_space.seed(seed + episode)
                yield from _episode(opened, choose, seed + episode, size, rate, held, most_frames)
        finally:
            if isinstance(env, str):
                opened.close()


def _episode(
    env: Any, choose: Policy, seed: int, size: tuple[int, int] | None, rate: float, held: int, most_frames: int
) -> Iterator[Clip]:
    seen, _ = env.reset(seed=seed)
    frames, actions, rewards = [_drawn(env, size)], [], []
    part, terminated, truncated = 0, False, False
    while not (terminated or truncated):
        action = choose(seen)
        reward = 0.0
        for _ in range(held):
            seen, gained, terminated, truncated, _ = env.step(action)
            reward += float(gained)
            if terminated or truncated:
                break
        frames.append(_drawn(env, size))
        actions.append(_plain(action))
        rewards.append(reward)
        if terminated or truncated or len(frames) == most_frames:
            truth = {
                **{"env": _name(env), "seed": seed, "part": part, "actions": actions, "rewards": rewards},
                **{"action_space": str(env.action_space), "terminated": terminated, "truncated": truncated},
            }
            yield _clip(f"gym-{_slug(_name(env))}-{seed}-{part}", frames, rate, truth)
            frames, actions, rewards, part = frames[-1:], [], [], part + 1


def _clip(key: str, frames: list[Tensor], fps: float, truth: dict[str, Any]) -> Clip:
    caption = Caption(_words(truth["env"]), 0.0, (len(frames) - 1) / fps)
    return Clip(key=key, frames=torch.stack(frames), fps=fps, captions=(caption,), truth=truth)


def _opened(env: Any) -> Any:
    if not isinstance(env, str):
        return _checked(env)
    import gymnasium

    return _checked(gymnasium.make(env, render_mode="rgb_array"))


def _checked(env: Any) -> Any:
    if env.render_mode != "rgb_array":
        raise UsageError(f"{_name(env)} has render_mode={env.render_mode!r}. Make it with render_mode='rgb_array'.")
    return env


def _rates(env: Any, fps: float | None) -> tuple[float, int]:
    """Frames per second of the clips, and steps of the environment for each frame."""
    own = env.metadata.get("render_fps")
    if own is None:
        if fps is None:
            raise UsageError(f"{_name(env)} does not say how fast it runs. Give fps.")
        return fps, 1
    held = round(own / fps) if fps else 1
    if held < 1 or (fps and abs(own / fps - held) > 1e-6 * held):
        raise UsageError(f"{_name(env)} runs at {own:g} steps a second. Give {own:g} or a whole part of it as fps.")
    return own / held, held


def _chooser(env: Any, policy: str | Policy) -> Policy:
    if not isinstance(policy, str):
        return policy
    if policy != "random":
        raise UsageError(f"there is no policy {policy!r}. Give 'random', or a function of the observation.")
    return lambda seen: env.action_space.sample()


def _drawn(env: Any, size: tuple[int, int] | None) -> Tensor:
    """Render one frame: (H, W, 3) uint8."""
    drawn = env.render()
    if not isinstance(drawn, np.ndarray) or drawn.dtype != np.uint8 or drawn.ndim != 3 or drawn.shape[2] != 3:
        raise UsageError(f"{_name(env)} does not draw (height, width, 3) uint8. Wrap it so that its render does.")
    frame = torch.from_numpy(drawn.copy())  # some draw into the same memory each time
    return frame if size is None else fit(frame, *size)[0]


def _plain(action: Any) -> Any:
    """JSON form of an action: numbers and lists."""
    if isinstance(action, np.ndarray | np.generic):
        return action.tolist()
    if isinstance(action, dict):
        return {str(name): _plain(part) for name, part in action.items()}
    return [_plain(part) for part in action] if isinstance(action, tuple | list) else action


def _name(env: Any) -> str:
    return env.spec.id if getattr(env, "spec", None) is not None else type(env.unwrapped).__name__


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()


def _words(name: str) -> str:
    """Readable name of an environment: "ALE/MsPacman-v5" -> "ms pacman"."""
    base = re.sub(r"-v\d+$", "", name.rpartition("/")[2])
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_-]+", " ", base).lower()


@contextmanager
def _refusals(env: Any) -> Iterator[None]:
    """Turn Gymnasium's errors on making or rendering an environment into a UsageError."""
    try:
        from gymnasium.error import Error
    except ImportError:
        raise UsageError("Gymnasium is not installed. Run: pip install 'minisora[gym]'.") from None
    try:
        yield
    except Error as error:
        name = env if isinstance(env, str) else _name(env)
        raise UsageError(f"{name} cannot be recorded: {' '.join(str(error).split()).rstrip('.')}.") from error
