"""File names as the benchmarks read them, their result files, totals as on their leaderboards."""

from __future__ import annotations

import csv
import json

import pytest
import torch

from minisora.errors import UsageError
from minisora.eval import exchange
from minisora.eval.exchange import VBENCH2, VIEWS, read_vbench, vbench2_total, vbench_total
from minisora.video import Video, read_video

FLICKER = "In a still frame, a stop sign"
STYLE = "The bund Shanghai, oil painting"


class Maker:
    """Makes small clips and keeps what it was asked for."""

    def __init__(self, seconds=0.25, fps=8.0):
        self.asked, self.count, self.fps = [], round(seconds * fps), fps

    def __call__(self, prompt, seed, given=None):
        self.asked.append((prompt, seed, given))
        return Video(torch.full((self.count, 16, 16, 3), seed % 256, dtype=torch.uint8), self.fps)


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_vbench_finds_its_clips(tmp_path):
    items = [
        {"prompt_en": FLICKER, "dimension": ["temporal_flickering"]},
        {"prompt_en": STYLE, "dimension": ["appearance_style"], "auxiliary_info": {}},
        {"prompt_en": STYLE, "dimension": ["overall_consistency", "aesthetic_quality", "imaging_quality"]},
        {"prompt_en": "Mr. Fox: 50% off, café", "dimension": ["scene"]},
    ]
    prompts, out, make = written(tmp_path / "full_info.json", items), tmp_path / "clips", Maker()
    made = exchange.export_vbench(prompts, out, make)
    # the evaluation lists the folder and looks for these; two prompts are there twice
    expected = {f"{FLICKER}-{n}.mp4" for n in range(25)}
    expected |= {f"{item['prompt_en']}-{n}.mp4" for item in items[1:] for n in range(5)}
    assert names(out) == expected == {path.name for path in made}
    seeds = [seed for _, seed, _ in make.asked]
    assert len(set(seeds)) == len(seeds) == 35 and min(seeds) >= 0


def test_an_export_goes_on_where_it_stopped_with_the_same_seeds(tmp_path):
    prompts = written(tmp_path / "scene.txt", "\ufeffa red ball \r\n\r\na blue cube\r\n")
    whole, rest = Maker(), Maker()
    exchange.export_vbench(prompts, tmp_path / "clips", whole)
    gone = tmp_path / "clips" / "a red ball-3.mp4"
    gone.unlink()
    assert exchange.export_vbench(prompts, tmp_path / "clips", rest) == [gone]
    assert rest.asked == [whole.asked[3]] and len(whole.asked) == 10
    assert exchange.export_vbench(prompts, tmp_path / "clips", rest) == []
    assert all(path.suffix == ".mp4" for path in (tmp_path / "clips").iterdir()), "nothing but clips"


def test_an_export_knows_clips_of_any_name(tmp_path):
    prompts, make = written(tmp_path / "scene.txt", "a ball\u2028on sand\n"), Maker()
    made = exchange.export_vbench(prompts, tmp_path / "clips", make, "model a")
    assert len(made) == 5 and make.asked[0][0] == "a ball\u2028on sand"
    assert exchange.export_vbench(prompts, tmp_path / "clips", make, "model a") == []


def test_clips_of_something_else_are_refused_and_stay(tmp_path):
    prompts, out = written(tmp_path / "7_numeracy.txt", "two cats\nthree dogs"), tmp_path / "video"
    exchange.export_compbench(prompts, out, Maker(), "model a")
    ledger = tmp_path / ".video.made.jsonl"
    ledger.write_text(ledger.read_text() + '{"clip": "generat')  # killed as it wrote
    assert exchange.export_compbench(prompts, out, Maker(), "model a") == []
    with pytest.raises(UsageError, match=r"0001\.mp4 is there and was made by another model"):
        exchange.export_compbench(prompts, out, Maker(), "model b")
    written(prompts, "two cats\nfour dogs")
    with pytest.raises(UsageError, match=r"0002\.mp4 is there and was made by .* another prompt"):
        exchange.export_compbench(prompts, out, Maker(), "model a")
    (out / "generative_numeracy" / "0002.mp4").unlink()
    assert len(exchange.export_compbench(prompts, out, Maker(), "model a")) == 1
    assert exchange.export_compbench(prompts, out, Maker(), "model a") == []
    ledger.unlink()
    with pytest.raises(UsageError, match="it is not known of what"):
        exchange.export_compbench(prompts, out, Maker(), "model a")


def test_a_clip_goes_on_from_the_very_file(tmp_path):
    prompts, given = physics(tmp_path)
    (start,) = given.iterdir()
    (given / f"._{start.name}").write_bytes(b"of macOS")
    exchange.export_physics_iq(prompts, tmp_path / "model", Maker(seconds=5.125), given=given)
    start.write_bytes(b"another picture")
    with pytest.raises(UsageError, match="is there and was made"):
        exchange.export_physics_iq(prompts, tmp_path / "model", Maker(seconds=5.125), given=given)


def test_prompts_that_cannot_be_names_are_refused_before_any_clip(tmp_path):
    make = Maker()
    for bad in ("left/right", "x" * 240):
        prompts = written(tmp_path / "scene.txt", f"a ball\n{bad}\n")
        with pytest.raises(UsageError):
            exchange.export_vbench(prompts, tmp_path, make)
    alike = [{"prompt_en": "y" * 180 + end, "dimension": ["Material"]} for end in ("a", "b")]
    with pytest.raises(UsageError, match="share the name"):
        exchange.export_vbench2(written(tmp_path / "info.json", alike), tmp_path, make)
    with pytest.raises(UsageError, match="VBench2_full_text"):
        exchange.export_vbench2(written(tmp_path / "VBench2_full_text.txt", "a ball"), tmp_path, make)
    assert make.asked == []


def test_vbench2_cuts_names_and_copies_shared_prompts(tmp_path):
    long = "A timelapse of arsenic trioxide at 300°C. " + "z" * 200
    items = [
        {"prompt_en": "A man is playing.", "dimension": ["Diversity"]},
        {"prompt_en": "A man is playing.", "dimension": ["Human_Anatomy"]},
        {"prompt_en": long, "dimension": ["Thermotics"]},
        {"prompt_en": "A house.", "dimension": ["Multi-View_Consistency"]},
    ]
    out, make = tmp_path / "clips", Maker()
    exchange.export_vbench2(written(tmp_path / "VBench2_full_info.json", items), out, make)
    expected = {f"Diversity/A man is playing.-{n}.mp4" for n in range(20)}
    expected |= {f"Human_Anatomy/A man is playing.-{n}.mp4" for n in range(3)}
    expected |= {f"Thermotics/{long[:180]}-{n}.mp4" for n in range(3)}
    expected |= {f"Multi-View_Consistency/A house.-{n}.mp4" for n in range(3)}
    assert names(out) == expected and len(make.asked) == 26
    assert {prompt for prompt, _, _ in make.asked} == {item["prompt_en"] for item in items}
    twins = [out / folder / "A man is playing.-1.mp4" for folder in ("Diversity", "Human_Anatomy")]
    assert twins[0].read_bytes() == twins[1].read_bytes()


def test_compbench_counts_from_one_in_the_order_of_the_file(tmp_path):
    prompts = written(tmp_path / "7_numeracy.txt", "two cats\nthree dogs")
    make = Maker()
    exchange.export_compbench(prompts, tmp_path / "video", make)
    assert names(tmp_path / "video") == {"generative_numeracy/0001.mp4", "generative_numeracy/0002.mp4"}
    assert [prompt for prompt, _, _ in make.asked] == ["two cats", "three dogs"]
    with pytest.raises(UsageError, match="7_numeracy"):
        exchange.export_compbench(written(tmp_path / "numbers.txt", "two cats"), tmp_path, make)


def physics(tmp_path):
    given = tmp_path / "switch-frames"
    given.mkdir()
    (given / "0001_switch-frames_anyFPS_perspective-left_trimmed-ball.jpg").touch()
    rows = "scenario,description,category,generated_video_name\n"
    for number, take in ((1, 1), (199, 2)):
        rows += f"{number:04d}_perspective-left_take-{take}_trimmed-ball.mp4,"
        rows += f'"A ball, then a block.",Solid,{number:04d}_perspective-left_trimmed-ball.mp4\n'
    return written(tmp_path / "descriptions.csv", rows), given


def test_physics_iq_takes_five_seconds_of_the_first_takes(tmp_path):
    prompts, given = physics(tmp_path)
    make, out = Maker(seconds=5.125), tmp_path / "model"
    made = exchange.export_physics_iq(prompts, out, make, given=given)
    assert [path.name for path in made] == ["0001_perspective-left_trimmed-ball.mp4"]
    assert read_video(made[0]).seconds == 5.0 and make.count == 41
    assert make.asked[0][0] == "A ball, then a block." and make.asked[0][2].parent == given


@pytest.mark.parametrize("make", [Maker(seconds=4), Maker(seconds=6, fps=7.5)])
def test_physics_iq_refuses_what_its_tool_would(tmp_path, make):
    prompts, given = physics(tmp_path)
    with pytest.raises(UsageError, match="exactly 5 s"):
        exchange.export_physics_iq(prompts, tmp_path / "model", make, given=given)
    with pytest.raises(UsageError, match="0 files that begin with 0001_"):
        exchange.export_physics_iq(prompts, tmp_path / "model", make, given=tmp_path / "model")


def test_worldmodelbench_keeps_the_dots_of_a_name(tmp_path):
    item = {"text_first_frame": "A car waits.", "text_instruction": "It turns.", "first_frame": "images/0007.6.jpg"}
    prompts, texts, pictures = written(tmp_path / "worldmodelbench.json", [item]), Maker(), Maker()
    assert exchange.export_worldmodelbench(prompts, tmp_path / "t", texts) == [tmp_path / "t" / "0007.6.mp4"]
    with pytest.raises(UsageError, match=r"0007\.6\.jpg, which a clip goes on from, cannot be read"):
        exchange.export_worldmodelbench_images(prompts, tmp_path / "i", pictures)
    (tmp_path / "images").mkdir()
    (tmp_path / item["first_frame"]).touch()
    exchange.export_worldmodelbench_images(prompts, tmp_path / "i", pictures)
    assert texts.asked[0][0] == "A car waits. It turns."
    assert pictures.asked[0][::2] == ("It turns.", tmp_path / "images" / "0007.6.jpg")


DIMENSIONS = [*exchange.QUALITY, *exchange.SEMANTIC]
# Rows of the leaderboard, in percent: dimensions in the order of QUALITY and SEMANTIC
TURBO = (96.28, 97.02, 97.48, 97.34, 63.04, 72.49, 49.17, 93.96, 54.65, 95.20, 89.90, 38.67, 55.58, 24.42, 25.51, 28.16)
CRAFTER = (
    96.85,
    98.22,
    98.41,
    97.73,
    63.13,
    67.22,
    42.50,
    92.55,
    40.66,
    95.0,
    92.92,
    35.86,
    55.29,
    25.13,
    25.84,
    28.23,
)


@pytest.mark.parametrize(("row", "published"), [(TURBO, (82.57, 74.76, 81.01)), (CRAFTER, (82.20, 73.42, 80.44))])
def test_the_total_is_that_of_the_leaderboard(row, published):
    told = vbench_total({name: value / 100 for name, value in zip(DIMENSIONS, row, strict=True)})
    assert [100 * each for each in (told.quality, told.semantic, told.total)] == pytest.approx(published, abs=0.01)


def test_a_total_of_some_dimensions_is_refused():
    scores = dict.fromkeys(DIMENSIONS, 0.5)
    del scores["scene"], scores["color"]
    with pytest.raises(UsageError, match="missing: color, scene"):
        vbench_total(scores)
    with pytest.raises(UsageError, match="not: color"):
        vbench_total({**scores, "scene": 0.5, "color": 89.9})


def test_vbench_results_of_many_files_are_one(tmp_path):
    for number, name in enumerate(DIMENSIONS):
        folder = tmp_path / name
        folder.mkdir()
        key = name.replace(" ", "_")
        written(folder / f"results_{number}_eval_results.json", {key: [0.5, [{"video_path": "a", "video_results": 1}]]})
        written(folder / f"results_{number}_full_info.json", [{"prompt_en": "a", "dimension": [key]}])
    assert read_vbench(tmp_path) == dict.fromkeys(DIMENSIONS, 0.5)
    written(tmp_path / "another_eval_results.json", {"color": [0.6, []]})
    with pytest.raises(UsageError, match="color another score"):
        read_vbench(tmp_path)
    with pytest.raises(UsageError, match="not a dict"):
        read_vbench(tmp_path / "color" / "results_10_full_info.json")


def test_vbench2_is_the_mean_of_five_means(tmp_path):
    told = {name: [0.2 + n / 10, []] for n, names in enumerate(VBENCH2.values()) for name in names}
    keys = {name.title().replace(" ", "_"): value for name, value in told.items()}
    assert "Multi-View_Consistency" in keys and len(keys) == 18
    means = vbench2_total(read_vbench(written(tmp_path / "a_eval_results.json", keys)))
    assert list(means.values()) == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6, 0.4])


def test_compbench_says_its_score_in_the_last_line(tmp_path):
    path = tmp_path / "model_numeracy_video.csv"
    path.write_text('name,prompt,Score\r\n0001,"two cats, fast",4.5\r\nscore: ,0.875\r\n')
    assert exchange.read_compbench(path) == 0.875
    path.write_text("name,prompt,Score\r\n0001,two cats,4.5\r\n")
    with pytest.raises(UsageError, match="score"):
        exchange.read_compbench(path)


def physics_row(scenario, moments, spatial, weighted, mse):
    row = {"scenario": scenario}
    for view in VIEWS:
        row |= {f"spatiotemporal_iou_v1_{view}": moments, f"spatial_iou_v1_{view}": spatial}
        row |= {f"weighted_spatial_iou_v1_{view}": weighted, f"v1_mse_{view}": mse}
        row |= {f"variance_spatiotemporal_iou_{view}": [0.5, 0.5], f"variance_spatial_{view}": 0.8}
        row |= {f"variance_weighted_spatial_{view}": 0.6, f"variance_mse_{view}": [0.01, 0.01]}
    return row


def table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_physics_iq_of_rows_worked_out_by_hand(tmp_path):
    rows = [
        physics_row("trimmed-ball.mp4", [0.2, 0.3], 0.4, 0.3, [0.02, 0.04]),
        physics_row("trimmed-duck.mp4", [0.0, 5e-1], 0.8, 0.3, [1e-2, 0.01]),
    ]
    told = exchange.read_physics_iq(table(tmp_path / "model.csv", rows))
    # 0.25 / 0.5, 0.6 / 0.8 and 0.3 / 0.6, less 0.02 - 0.01
    assert told.score == pytest.approx(100 * ((0.5 + 0.75 + 0.5) / 3 - 0.01), abs=0.005)
    assert told.scenarios == 2 and told.mse == pytest.approx(0.02)
    perfect = [physics_row("a", [0.5, 0.5], 0.8, 0.6, [0.0, 0.0])]  # closer than two real takes: still 100
    assert exchange.read_physics_iq(table(tmp_path / "perfect.csv", perfect)).score == 100.0
    with pytest.raises(UsageError, match="lacks"):
        exchange.read_physics_iq(table(tmp_path / "other.csv", [{"scenario": "a"}]))


def test_worldmodelbench_sums_laws_and_senses(tmp_path):
    accs = {
        "instruction": [3.0, 1.0],
        "physical_laws": [True, False, True, True, True, True, True, True, True, False],
        "common_sense": [True, False, False, False],
    }
    path = written(tmp_path / "r.json", {"model_name": "m", "preds": {"a": {}, "b": {}}, "accs": accs})
    told = exchange.read_worldmodelbench(path)
    assert (told["instruction"], told["mass"], told["gravity"], told["framewise"]) == (2.0, 0.5, 0.5, 0.5)
    assert (told["physical_laws"], told["common_sense"], told["total"]) == (4.0, 0.5, 6.5)
    with pytest.raises(UsageError, match="answers"):
        exchange.read_worldmodelbench(written(path, {"preds": {"a": {}, "b": {}, "c": {}}, "accs": accs}))
    with pytest.raises(UsageError, match="cannot be read"):
        exchange.read_worldmodelbench(tmp_path / "none.json")
