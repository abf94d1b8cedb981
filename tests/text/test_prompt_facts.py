"""The facts of prompts in the playroom's terms, in English and Chinese, and captions of them."""

from __future__ import annotations

import re
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minisora.text.playroom import chinese, words
from minisora.text.playroom.complete import Gaps, complete
from minisora.text.playroom.parse import parse
from minisora.text.playroom.write import FEWEST_WORDS, MOST_WORDS, write
from minisora.worlds.playroom import COLOURS, MATERIALS, SHAPES, SIZES, captions, draw, facts
from minisora.worlds.playroom.captions import dense_caption

PROMPTS = {  # prompt: its facts, and after "|" what is not understood
    "red ball rolls left": "red ball moves left",
    "A red ball.": "red ball",
    "two red balls bounce": "red ball bounces; red ball bounces",
    "three cubes": "cube; cube; cube",
    "2 green cones": "green cone; green cone",
    "a pair of white cubes spin": "white cube spins; white cube spins",
    "balls bounce": "ball some bounces",
    "a few cubes roll right": "cube some moves right",
    "red, green and blue balls spin": "red ball spins; green ball spins; blue ball spins",
    "two balls, one red and one blue": "red ball; blue ball",
    "three balls: red, green and blue": "red ball; green ball; blue ball",
    "a small red and a large blue ball": "small red ball; large blue ball",
    "a crimson sphere and a violet box": "red ball; purple cube",
    "a light blue cube rotates": "cyan cube spins",
    "a red, shiny, small ball rolls": "small shiny red ball moves",
    "the ball is red and the cube is blue": "red ball; blue cube",
    "a small red ball rolls to the left past a green cube, the camera orbits right": "small red ball moves left past "
    "#2; green cube; camera orbit_right",
    "a red ball passes behind a green cube": "red ball moves behind #2; green cube",
    "a red ball rolls in front of a green cube": "red ball moves in front of #2; green cube",
    "a red ball disappears behind a green cube": "red ball moves behind #2; green cube",
    "red ball left of blue cube": "red ball; blue cube; #1 left of #2",
    "a red ball is behind a blue cube": "red ball; blue cube; #1 behind #2",
    "a cone stands still to the right of a cube": "cone still; cube; #1 right of #2",
    "a red ball on the left and a blue cube on the right": "red ball @left; blue cube @right",
    "red ball, left, blue cube, right": "red ball @left; blue cube @right",
    "the red ball hits the blue cube": "red ball collides #2; blue cube struck",
    "two balls collide": "ball collides #2; ball struck",
    "a red ball and a blue cube collide": "red ball collides #2; blue cube struck",
    "one ball hits another ball": "ball collides #2; ball struck",
    "a red ball pushes a white cone to the right": "red ball collides #2; white cone struck right",
    "a shiny purple sphere hits a matte white box, knocking it to the right": "shiny purple ball collides #2; "
    "matte white cube struck right",
    "a red ball rolls past a blue cube and hits a green cone": "red ball moves past #2, collides #3; blue cube; "
    "green cone struck",
    "the blue ball stays while the red ball rolls past it": "blue ball still; red ball moves past #1",
    "a ball rolls left and bounces": "ball moves left, bounces",
    "a red ball rolls left then right": "red ball moves left, moves right",
    "a ball rolls out of the frame to the left and comes back": "ball leaves_and_returns left",
    "a ball exits to the right": "ball leaves right",
    "a red ball enters from the left": "red ball moves right",
    "a ball rolls left and comes back": "ball turns_back left",
    "a purple cone leaves a purple trail": "purple cone trail",
    "a cyan ball leaves a red trail": "cyan ball trail | red trail",
    "a ball rolling towards us": "ball moves toward",
    "the small red ball rolls away from the camera into the distance": "small red ball moves away",
    "a ball rolls diagonally": "ball moves slanting",
    "a red ball does not move": "red ball still",
    "an orange cube circles around while a white ball stays still": "orange cube circles; white ball still",
    "a red ball that rolls left and a blue cube which spins": "red ball moves left; blue cube spins",
    "a ball and a cube; the ball rolls left and the cube spins": "ball moves left; cube spins",
    "a red ball and a blue cube. They spin.": "red ball spins; blue cube spins",
    "a red ball, a blue cube, and a green cone all spin": "red ball spins; blue cube spins; green cone spins",
    "a big blue cube and a tiny green cone on grass at night, camera zooms in": "large blue cube; small green cone; "
    "floor grass; light night; camera zoom_in",
    "a spinning yellow cylinder on the beach at sunset": "yellow cylinder spins; floor sand; light sunset",
    "static camera, a white ball stays still on a chessboard": "white ball still; floor checker; camera static",
    "the camera zooms in on a spinning red cube": "red cube spins; camera zoom_in",
    "a cone, the camera pans": "cone; camera pan",
    "a ball moves left, then the view cuts to another angle": "ball moves left; cut",
    "make me a video of a red ball bouncing on a beach": "red ball bounces; floor sand",
    "rde bal rols lft": "red ball moves left",
    "a viollet shpere rols twoard the camra": "purple ball moves toward",
    "a pink ball bounces": "ball bounces | pink",
    "a dark red ball": "red ball | dark",
    "a wooden cube spins": "cube spins | wooden",
    "a metallic red ball on the moon": "red ball | metallic, the moon",
    "a red ball on a red floor": "red ball | a red floor",
    "a red ball next to a blue cube": "red ball; blue cube | next to",
    "a red ball falls from the sky": "red ball | falls, the sky",
    "a red ball rolls left at 3 m/s": "red ball moves left | 3 m, s",
    "a red ball orbits a blue cube": "red ball; blue cube | orbits",
    "a red ball without a cube": "red ball | without a cube",
    "a dog chases a red ball": "red ball | a dog, chases",
    "a red fox rolls left": "| a red fox, rolls, left",
    "a red ball, the camera moves up": "red ball | camera moves up",
    "12 red balls roll left": "| 12 red balls (more than 8 things), roll, left",
    "bell, core, tree and write": "| bell, core, tree, write",
    "": "",
    "一个红色的小球滚到左边": "small red ball moves left",
    "一個紅色的小球滾到左邊": "small red ball moves left",
    "两个红球弹跳": "red ball bounces; red ball bounces",
    "3个圆锥": "cone; cone; cone",
    "几个球在弹跳": "ball some bounces",
    "一个红球，一个蓝球，一个绿球": "red ball; blue ball; green ball",
    "向左滚动的红球": "red ball moves left",
    "一只红球从左边滚到右边": "red ball moves right",
    "红球在蓝色方块的左边": "red ball; blue cube; #1 left of #2",
    "方块左边的红球弹跳": "cube; red ball bounces; #2 left of #1",
    "左边有一个红球，右边有一个蓝方块": "red ball @left; blue cube @right",
    "红球在左边，蓝方块在右边": "red ball @left; blue cube @right",
    "红球从绿色方块后面经过": "red ball moves behind #2; green cube",
    "紫色的球滚到绿色圆柱后面": "purple ball moves behind #2; green cylinder",
    "红球向右滚,撞上蓝色方块": "red ball collides right #2; blue cube struck",
    "红色的球和蓝色的方块相撞": "red ball collides #2; blue cube struck",
    "红球把蓝方块推向右边": "red ball collides #2; blue cube struck right",
    "夜晚,一个大的紫色圆锥在草地上旋转,镜头拉近": "large purple cone spins; floor grass; light night; camera zoom_in",
    "夕阳下，沙滩上一个黄色的圆柱原地旋转": "yellow cylinder spins; floor sand; light sunset",
    "白天，木地板上，小红球朝镜头滚来": "small red ball moves toward; floor wood; light day",
    "旋转的绿色方块在棋盘格地板上": "green cube spins; floor checker",
    "镜头向左环绕,两个青色圆柱静止不动": "cyan cylinder still; cyan cylinder still; camera orbit_left",
    "大蓝球在草地上弹跳，镜头固定": "large blue ball bounces; floor grass; camera static",
    "红球滚出画面又回来": "red ball leaves_and_returns",
    "红球从右边滚出画面": "red ball leaves right",
    "红球留下红色的痕迹": "red ball trail",
    "绿球绕圈": "green ball circles",
    "红球和蓝方块都在旋转": "red ball spins; blue cube spins",
    "紅色的大球向左滾動，鏡頭拉遠": "large red ball moves left; camera zoom_out",
    "红球慢慢地滚向左边": "red ball moves left | 慢慢地",
    "一个粉色的球": "ball | 粉色",
    "一条狗追着红球跑": "red ball | 狗追, 跑",
    "没有红球": "| 没有 红 球",
    "一个红色的小球滚到左边 at night": "small red ball moves left; light night",
}
INVERSE = {"left of": "right of", "right of": "left of", "behind": "in front of", "in front of": "behind"}


@pytest.mark.parametrize(("prompt", "told"), PROMPTS.items())
def test_a_prompt_is_read(prompt, told):
    reading = parse(prompt)
    wanted, _, lost = told.partition("|")
    assert str(reading.facts) == wanted.strip()
    assert ", ".join(reading.not_understood) == lost.strip()


def test_misspelled_words_are_told():
    assert parse("rde bal rols lft").read_as == ("rde as red", "bal as ball", "rols as roll", "lft as left")
    assert parse("a large red ball").read_as == ()


def test_no_word_of_its_own_is_read_as_another():
    for word in words.OTHER_WORDS.split():
        assert not parse(f"a {word}").facts.things, word


@pytest.mark.parametrize("prompt", [prompt for prompt in PROMPTS if parse(prompt).facts.things])
@pytest.mark.parametrize("gaps", [Gaps(), Gaps(moving=False), Gaps(fill=False), Gaps(dense=False)])
def test_a_caption_says_the_facts_and_what_was_added_and_no_more(prompt, gaps):
    """Read again, it has the same facts; those of the prompt are all among them."""
    asked = parse(prompt).facts
    for seed in range(3):
        filled, added = complete(asked, gaps, seed=seed)
        caption, ordered = write(filled, dense=gaps.dense)
        again = parse(caption)
        assert again.facts.ordered(range(len(again.facts.things))) == ordered, caption
        assert not again.not_understood and not again.read_as, caption
        if not any(thing.some for thing in asked.things):
            assert asked.lost_in(again.facts) == "", caption
            assert bool(added) == (asked != filled), added
        if gaps == Gaps() and not parse(prompt).not_understood:
            assert FEWEST_WORDS <= len(caption.split()) <= MOST_WORDS, caption


def test_choices_depend_on_the_seed_and_on_nothing_else():
    one, other = parse("red ball on grass").facts, parse("blue ball on grass").facts
    chosen = [write(complete(one, Gaps(), seed=seed)[0])[0] for seed in range(8)]
    assert chosen == [write(complete(one, Gaps(), seed=seed)[0])[0] for seed in range(8)]
    assert len(set(chosen)) > 4
    for seed, caption in enumerate(chosen):
        assert write(complete(other, Gaps(), seed=seed)[0])[0] == caption.replace("red", "blue")


def test_what_is_not_understood_is_not_filled():
    reading = parse("a pink ball explodes on the moon, the camera tilts")
    facts, added = complete(reading.facts, Gaps(placing=False), seed=0)
    assert facts == reading.facts and added == [] and str(facts) == "ball"
    for text in ("the ball is not red", "a ball, not small, in the dark"):
        facts, added = complete(parse(text).facts, Gaps(), seed=0)
        assert facts.things[0].colour is facts.things[0].size is None, added


def test_later_parts_know_the_things_of_earlier_ones():
    first = complete(parse("a large red ball and a cone on sand").facts, Gaps(), seed=1)[0]
    second = parse("the ball bounces", first).facts
    assert str(second).startswith(f"large {first.things[0].material} red ball") and second.floor == "sand"
    assert len(second.things) == 1 and second.things[0].moves[0].kind == "bounces"
    assert len(parse("the camera zooms in", first).facts.things) == 2
    assert len(parse("it spins", first).facts.things) == 1
    assert parse("a blue cube on grass", first).facts.floor == "grass"


def known_motion(seen: dict[str, Any]) -> tuple[str, str | None]:
    motion = seen["motion"]
    return "moves" if motion.startswith("rolls_") or motion == "passes_behind" else motion, seen["direction"]


def check(text: str, known: dict[str, Any], *, dense: bool) -> None:
    """What is read in a caption of the world is true of its scene; of a dense one all is read."""
    reading = parse(text)
    facts = reading.facts
    assert not reading.not_understood and not reading.read_as, text
    wanted = {(thing["colour"], thing["shape"]): thing for thing in known["things"]}
    assert sorted((thing.colour, thing.shape) for thing in facts.things) == sorted(wanted), text
    names = {thing["number"]: (thing["colour"], thing["shape"]) for thing in known["things"]}
    for thing in facts.things:
        true = wanted[thing.colour, thing.shape]
        for name in ("size", "material"):
            assert getattr(thing, name) in ((true[name],) if dense else (None, true[name])), text
        assert len(thing.moves) <= 1, text
        kind, direction = known_motion(true)
        for move in thing.moves:
            assert move.kind == kind, text
            unsaid = {"slanting"} if direction is None else {None} if kind == "struck" else set()
            assert move.direction in {direction, *unsaid}, text
        assert thing.moves or kind in ("none", "still", "spins", "bounces", "struck"), text
        assert not dense or (thing.across and thing.deep) or kind == "returns" or known["cut"], text
    told = {(names[one], how, names[other]) for one, how, other in known["relations"]}
    told |= {(other, INVERSE[how], one) for one, how, other in told}
    for one, how, other in facts.relations:
        pair = [(facts.things[n].colour, facts.things[n].shape) for n in (one, other)]
        assert (pair[0], how, pair[1]) in told, text
    for name in ("floor", "light"):
        assert getattr(facts, name) in ((known[name],) if dense else (None, known[name])), text
    assert facts.camera in (None, known["camera"]) and facts.cut == known["cut"], text
    assert facts.camera_after in (None, known["camera_after"]), text


def test_the_worlds_own_captions_are_read_as_their_scenes_are():
    for seed in range(40):
        scene = draw(seed)
        for start, stop in ((0.0, 2.0), (0.0, 4.0), (2.0, 4.0), (0.0, 0.0)):
            known = facts(scene, start, stop)
            for phrasing in ("train", "held_out"):
                for caption in captions(scene, seed=seed, start=start, stop=stop, phrasing=phrasing):
                    check(caption.text, known, dense=False)
            check(dense_caption(scene, seed=seed, start=start, stop=stop).text, known, dense=start == 0.0)


def test_the_glossary_has_every_word_of_the_world():
    told = {(item.kind, item.value) for items in chinese.glossary().values() for item in items}
    english = {(item.kind, item.value) for items in words.table().values() for item in items}
    for kind, values in (("colour", COLOURS), ("noun", SHAPES), ("size", SIZES), ("material", MATERIALS)):
        assert {(kind, value) for value in values} <= told & english
    kinds = ("floor", "light", "camera", "place", "way")
    sided = {("place", "<side>"), ("place", "left"), ("place", "right")}
    assert {one for one in english if one[0] in kinds and "<" not in one[1]} - sided <= told
    moves = {one for one in english if one[0] == "move"}
    assert {value for _, value in moves} - {"leaves_and_returns", "turns_back"} <= {v for k, v in told if k == "move"}


PIECES = st.one_of(
    st.sampled_from(sorted({word for key in words.table() for word in key if "<" not in word})),
    st.sampled_from(sorted(chinese.glossary())),
    st.sampled_from([",", ";", ".", "and", "a", "the", "红球", "a red ball", "the cube", "zebra", "没有"]),
    st.text(max_size=6),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=14).map(" ".join))
@example("a a a")
@example("0 balls")
@example("00000 红 ²³ 球")
@example("a 12345678901234567890 ball")
@example("of the of the left of")
def test_any_text_is_read_without_a_crash_and_nothing_is_made_up(text):
    """Every thing that is understood is named in the text; each caption is short."""
    reading = parse(text)
    nouns = [item for item in items_of(text) if item.kind in ("noun", "count", "colour", "pronoun")]
    assert bool(reading.facts.things) <= bool(nouns)
    colours = {item.value for item in items_of(text)}
    for thing in reading.facts.things:
        assert thing.colour is None or thing.colour in colours
        assert thing.shape is None or thing.shape in colours
    filled, _ = complete(reading.facts, Gaps(), seed=0)
    assert len(write(filled)[0].split()) < 2 * MOST_WORDS


def items_of(text: str) -> list[Any]:
    found = []
    for piece in re.findall(rf"[{chinese.HAN}]+|[^{chinese.HAN}]+", text):
        found += chinese.items(piece) if chinese.has_chinese(piece) else words.items(piece)[0]
    return found


def test_sentences_put_together_at_random_keep_their_facts():
    """Things, verbs and settings by chance, in both languages: no fact is lost, doubled or new."""
    rng = Random(0)
    english = {
        "things": [(f"{s} {c} {n}", f"{s} {c} {n}") for s in SIZES for c in COLOURS for n in SHAPES],
        "moves": [("rolls left", "moves left"), ("bounces", "bounces"), ("spins", "spins"), ("stays still", "still")],
        "floors": [("on grass", "grass"), ("on sand", "sand"), ("on a wooden floor", "wood")],
    }
    sizes, shapes = {"small": "小", "large": "大"}, {"ball": "球", "cube": "方块", "cylinder": "圆柱", "cone": "圆锥"}
    colours = dict(zip(COLOURS, ("红", "绿", "蓝", "黄", "橙", "紫", "青", "白"), strict=True))
    chinese_moves = {"moves left": "向左滚动", "bounces": "弹跳", "spins": "旋转", "still": "静止不动"}
    chinese_floors = {"grass": "草地上", "sand": "沙地上", "wood": "木地板上"}
    for _ in range(200):
        count = rng.randint(1, 3)
        things, moves = rng.sample(english["things"], count), rng.choices(english["moves"], k=count)
        floor, ground = rng.choice(english["floors"])
        wanted = "; ".join([*(f"{t} {m}" for (_, t), (_, m) in zip(things, moves, strict=True)), f"floor {ground}"])
        text = ", ".join(f"a {t} {m}" for (t, _), (m, _) in zip(things, moves, strict=True)) + f" {floor}"
        assert str(parse(text).facts) == wanted, text
        said = []
        for (_, thing), (_, move) in zip(things, moves, strict=True):
            size, colour, shape = thing.split()
            said.append(f"一个{colours[colour]}色的{sizes[size]}{shapes[shape]}{chinese_moves[move]}")
        text = f"{chinese_floors[ground]}，" + "，".join(said)
        assert str(parse(text).facts) == wanted, text
