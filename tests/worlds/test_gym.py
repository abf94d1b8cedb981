from __future__ import annotations

import json
import sys
from importlib.util import find_spec

import gymnasium
import numpy as np
import pytest

from minisora.cli import app
from minisora.errors import UsageError
from minisora.video import read_video
from minisora.worlds.gym import record


class Walk(gymnasium.Env):
    """A white square on a strip of nine places, moved by left and right; the right end is final."""

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 12}  # noqa: RUF012
    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Discrete(9)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        self.picture = np.zeros((16, 72, 3), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(1, 4))
        return self.place, {}

    def step(self, action):
        self.place = max(0, self.place + (1 if action else -1))
        return self.place, float(action), self.place == 8, False, {}

    def render(self):
        self.picture[:] = 0  # the same memory each time, as many emulators do
        self.picture[:, 8 * self.place : 8 * self.place + 8] = 255
        return self.picture


gymnasium.register("tests/LittleWalk-v3", Walk, max_episode_steps=40)


def places(clip):
    return clip.frames[:, 0, ::8, 0].argmax(1).tolist()


def test_actions_lead_from_frame_to_frame():
    clips = list(record("tests/LittleWalk-v3", episodes=6, seed=5))
    assert [clip.key for clip in clips] == [f"gym-tests-littlewalk-v3-{seed}-0" for seed in range(5, 11)]
    for clip in clips:
        actions, rewards = clip.truth["actions"], clip.truth["rewards"]
        seen = places(clip)
        assert clip.frames.shape == (len(actions) + 1, 16, 72, 3)
        assert seen[1:] == [max(0, place + 2 * action - 1) for place, action in zip(seen, actions, strict=False)]
        assert rewards == [float(action) for action in actions]
        assert clip.truth["terminated"] == (seen[-1] == 8)
        assert clip.truth["truncated"] == (len(actions) == 40)
        assert (clip.fps, clip.captions[0].text, clip.captions[0].stop) == (12, "little walk", len(actions) / 12)
        assert json.loads(json.dumps(clip.truth)) == clip.truth


def test_the_same_seed_gives_the_same_clip():
    first, again = (next(record("tests/LittleWalk-v3", episodes=1, seed=3)) for _ in range(2))
    assert first.truth == again.truth and first.frames.equal(again.frames)
    assert next(record("tests/LittleWalk-v3", episodes=1, seed=4)).truth["actions"] != first.truth["actions"]


def test_a_policy_and_a_slower_clip():
    """At a third of the rate each action is held for three steps, but not beyond the end."""
    env = Walk(render_mode="rgb_array")
    (clip,) = record(env, episodes=1, policy=lambda place: 1, fps=4, seed=1)
    start = places(clip)[0]
    assert places(clip) == [*range(start, 8, 3), 8]
    assert clip.truth["rewards"] == [float(min(3, 8 - place)) for place in range(start, 8, 3)]
    assert clip.fps == 4


def test_size_is_cut_and_scaled():
    (clip,) = record(Walk(render_mode="rgb_array"), episodes=1, policy=lambda place: 1, size=(8, 8))
    assert clip.frames.shape[1:] == (8, 8, 3)


def test_a_long_episode_goes_on_in_the_next_clip():
    whole = next(record("tests/LittleWalk-v3", episodes=1, policy=lambda place: 0))
    parts = list(record("tests/LittleWalk-v3", episodes=1, policy=lambda place: 0, most_frames=17))
    assert [len(part.frames) for part in parts] == [17, 17, 9]
    assert [part.truth["truncated"] for part in parts] == [False, False, True]
    assert [action for part in parts for action in part.truth["actions"]] == whole.truth["actions"]
    assert parts[1].frames[0].equal(parts[0].frames[-1])


@pytest.mark.parametrize(
    ("env", "options", "said"),
    [
        ("Missing-v0", {}, "Missing-v0 cannot be recorded: .*doesn't exist"),
        (Walk(render_mode="human"), {}, "Walk has render_mode='human'. Make it with render_mode='rgb_array'"),
        ("tests/LittleWalk-v3", {"fps": 5}, "runs at 12 steps a second"),
        ("tests/LittleWalk-v3", {"fps": 24}, "runs at 12 steps a second"),
        ("tests/LittleWalk-v3", {"policy": "clever"}, "no policy 'clever'"),
    ],
)
def test_what_cannot_be_recorded_is_said(env, options, said):
    with pytest.raises(UsageError, match=said):
        list(record(env, episodes=1, **options))


def test_an_environment_that_does_not_say_how_fast_it_runs():
    env = Walk(render_mode="rgb_array")
    env.metadata = {"render_modes": ["rgb_array"]}
    with pytest.raises(UsageError, match="Give fps"):
        list(record(env, episodes=1))
    assert next(record(env, episodes=1, fps=7)).fps == 7


def test_cart_pole():
    if find_spec("pygame") is None:
        with pytest.raises(UsageError, match=r"CartPole-v1 cannot be recorded: pygame is not installed"):
            list(record("CartPole-v1", episodes=1))
        return
    (clip,) = record("CartPole-v1", episodes=1, size=(64, 96))
    assert clip.frames.shape == (len(clip.truth["actions"]) + 1, 64, 96, 3)
    assert clip.captions[0].text == "cart pole"


def test_the_command_leaves_actions_and_rewards_beside_each_clip(tmp_path):
    app(
        [
            "world",
            "gym:tests/LittleWalk-v3",
            "--count",
            "2",
            "--seconds",
            "0.5",
            "--size",
            "32x32",
            "--out",
            str(tmp_path),
        ],
        standalone_mode=False,
    )
    clips = sorted(tmp_path.glob("*.mp4"))
    assert len(clips) == 2
    for clip in clips:
        told = json.loads(clip.with_suffix(".json").read_text())
        frames = len(read_video(clip).frames)
        assert len(told["actions"]) == len(told["rewards"]) == frames - 1 and told["caption"] == "little walk"


def test_without_gymnasium(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium.error", None)
    with pytest.raises(UsageError, match=r"minisora\[gym\]"):
        next(record("CartPole-v1", episodes=1))
