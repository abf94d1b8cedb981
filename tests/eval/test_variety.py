"""Variety: prompts of which several real scenes are true, and training clips that show the same."""

from __future__ import annotations

from minisora.eval.scenes import drawn
from minisora.eval.variety import DOES, SEEDS, _alike, same_prompt
from minisora.worlds.playroom import is_held_out


def test_scenes_of_one_prompt_show_it_and_differ_elsewhere():
    asked = same_prompt(len(DOES))
    assert len(asked) == len(DOES)
    for (prompt, scenes), does in zip(asked, DOES.values(), strict=True):
        assert len(scenes) == SEEDS and prompt.endswith(does)
        for scene in scenes:
            (thing,) = scene.things
            assert f"{thing.colour} {thing.shape} " in prompt and not is_held_out(
                thing.colour, thing.shape, thing.motion
            )
        assert len({(scene.floor, scene.light, scene.shots, scene.things[0].path) for scene in scenes}) == SEEDS


def test_training_clips_that_show_the_same():
    scene = drawn(0, "train")
    alike = list(_alike(scene, range(40)))
    assert scene in alike
    assert {(one.things[0].colour, one.things[0].shape, one.things[0].motion) for one in alike} == {
        (scene.things[0].colour, scene.things[0].shape, scene.things[0].motion)
    }
