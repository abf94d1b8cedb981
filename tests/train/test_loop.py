"""A run is a function of its config: interrupted and resumed, it ends as an unbroken one."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from minisora.data.order import sample_at
from minisora.data.shards import Shards, ShardWriter
from minisora.errors import UsageError
from minisora.runs.logs import find_runs, settings_of
from minisora.train import checkpoint, loop
from minisora.train.checkpoint import Checkpoints
from minisora.train.config import OptimConfig, RunConfig, split
from minisora.train.loop import run
from minisora.train.parallel import Ranks
from minisora.train.reference import make_reference
from minisora.workers.ahead import ahead
from minisora.workers.lock import one_run

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Points:
    x: Tensor
    tokens: int = 8
    flops: float = 1e3

    def to(self, device: torch.device) -> Points:
        return Points(self.x.to(device))


def points(step: int) -> Points:
    return Points(torch.randn(8, 4, generator=torch.Generator().manual_seed(step)))


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 24), nn.Tanh(), nn.Linear(24, 2))


def noisy_loss(model: nn.Module, batch: Points, noise: torch.Generator) -> dict[str, Tensor]:
    x = batch.x + 0.1 * torch.randn(batch.x.shape, generator=noise, device=batch.x.device)
    error = (model(x) - batch.x[:, :2].sin()).square().mean()
    return {"loss": error, "twice": 2 * error}


def publish(model: nn.Module, folder: Path, taken: int) -> None:
    torch.save(model.state_dict(), folder / "published.pt")
    (folder / "taken").write_text(str(taken))


CONFIG = RunConfig(
    name="tiny",
    steps=20,
    build=network,
    batch=points,
    loss=noisy_loss,
    publish=publish,
    optim=OptimConfig(lr=1e-2, warmup_steps=4),
    ema_decay=0.9,
    bf16=False,
    log_every=5,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Measuring the peak and starting processes each take longer than these runs."""
    monkeypatch.setattr(loop, "matmul_peak", lambda *_: 1e15)
    monkeypatch.setattr(loop, "ahead", lambda make, items, workers: (make(item) for item in items))


@pytest.mark.parametrize("change", [{"seed": 5}, {"packs": 2}, {"origin": "other clips"}, {"content": "0"}])
def test_a_folder_goes_on_with_the_same_run_only(tmp_path, change):
    run(CONFIG, tmp_path, stop_at=3)
    (name,) = change
    with pytest.raises(UsageError, match=f"another {name}: .*another --folder"):
        run(replace(CONFIG, **change), tmp_path)
    run(replace(CONFIG, steps=CONFIG.steps + 2, cooldown_steps=2), tmp_path)  # more steps are no other run


def test_a_run_says_when_it_leaves_its_reference(tmp_path, monkeypatch, capsys):
    run(replace(CONFIG, log_every=1), tmp_path / "first")
    (first,) = find_runs(tmp_path / "first")
    reference = make_reference(settings_of(first), first.rows)
    assert reference.run == CONFIG.settings()
    for scale, said in ((1.0, False), (0.1, True)):
        lower = replace(reference, loss=tuple(scale * loss for loss in reference.loss))
        monkeypatch.setattr(loop, "reference_of", lambda settings, lower=lower: lower)
        capsys.readouterr()
        run(CONFIG, tmp_path / str(scale))
        told = capsys.readouterr().err
        assert "held against a reference up to step 20" in told
        assert ("look at the data first" in told) is said


def test_what_a_killed_run_was_writing_is_removed(tmp_path):
    (tmp_path / ".step-00000003.partial").mkdir()
    run(CONFIG, tmp_path, stop_at=2)
    assert [path.name for path in tmp_path.glob(".step-*")] == []


def newest(folder: Path) -> tuple[int, dict[str, Any]]:
    state = loop.State(CONFIG, Ranks())
    state.load(Checkpoints(folder, Ranks()), CONFIG)
    return state.step, {**state.tensors(), **state.about()}


def save(folder: Path, step: int, value: float) -> None:
    Checkpoints(folder, Ranks()).save(step, {"at": torch.tensor(value)}, {"said": value})


def load(folder: Path, said: list[str]) -> tuple[dict[str, Any] | None, float]:
    at = {"at": torch.tensor(math.nan)}
    return Checkpoints(folder, Ranks()).load_newest(at, warn=said.append), float(at["at"])


def flat(state: Any, at: str = "") -> dict[str, Any]:
    """Every leaf of nested dicts and lists by its path."""
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list | tuple) else None
    if items is None:
        return {at: state}
    return {path: leaf for key, value in items for path, leaf in flat(value, f"{at}/{key}").items()}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    one, other = flat(one), flat(other)
    assert one.keys() == other.keys()
    for path, value in one.items():
        same = torch.equal(value, other[path]) if isinstance(value, Tensor) else value == other[path]
        assert same, path


@pytest.mark.parametrize("stops", [(7,), (1, 2, 19), (10, 10)])
def test_gone_on_with_is_unbroken(tmp_path, stops):
    whole = run(CONFIG, tmp_path / "whole")
    for stop in stops:
        run(CONFIG, tmp_path / "broken", stop_at=stop)
        assert newest(tmp_path / "broken")[0] == stop
    torch.manual_seed(99)  # nothing may hang on the state of the process
    resumed = run(CONFIG, tmp_path / "broken")
    assert_same(newest(tmp_path / "whole")[1], newest(tmp_path / "broken")[1])
    assert_same(whole.state_dict(), resumed.state_dict())
    assert_same(torch.load(tmp_path / "broken" / "published.pt"), resumed.state_dict())


COOLED = replace(CONFIG, cooldown_steps=8)


@pytest.mark.parametrize("config", [CONFIG, COOLED], ids=["stable", "cooled"])
def test_a_finished_run_stays_as_it_is(tmp_path, config):
    first = run(config, tmp_path)
    again = run(config, tmp_path)
    assert_same(first.state_dict(), again.state_dict())
    assert (tmp_path / "taken").read_text() == str(config.all_steps)


def rates(folder: Path) -> list[float]:
    return [json.loads(line)["rate"] for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("stops", [(20,), (23,), (7, 20, 21, 27)])
def test_a_cool_down_is_one_run_with_what_comes_before(tmp_path, stops):
    """In one go, or stopped anywhere: the same weights, the lr as on paper.

    The state before the cool-down is left alone.
    """
    config = replace(COOLED, log_every=1)
    whole = run(config, tmp_path / "whole")
    run(replace(config, cooldown_steps=0), tmp_path / "uncooled")
    for stop in stops:
        run(config, tmp_path / "broken", stop_at=stop)
    assert_same(run(config, tmp_path / "broken").state_dict(), whole.state_dict())
    for folder in ("whole", "broken"):
        assert_same(newest(tmp_path / folder)[1], newest(tmp_path / "uncooled")[1])
        told = rates(tmp_path / folder)
        assert told == pytest.approx([min(1, (n + 1) / 4) for n in range(20)])
        told = rates(tmp_path / folder / "cooldown-from-00000020")
        assert told == pytest.approx([1 - math.sqrt(k / 8) for k in range(8)])


def test_a_run_that_was_cooled_down_goes_on_from_the_uncooled_weights(tmp_path, capsys):
    """Cooled at step 20, and at 26 on request: 40 steps equal those of an uncooled run."""
    run(COOLED, tmp_path / "cooled")
    run(replace(COOLED, steps=40), tmp_path / "cooled", stop_at=26)
    capsys.readouterr()
    early = run(replace(COOLED, steps=40), tmp_path / "cooled", cool_now=True)
    assert "cool-down: step 26 of 34" in capsys.readouterr().err
    assert_same(early.state_dict(), run(replace(COOLED, steps=26), tmp_path / "short").state_dict())
    run(replace(COOLED, steps=40), tmp_path / "cooled")
    run(replace(CONFIG, steps=40), tmp_path / "plain")
    assert_same(newest(tmp_path / "cooled")[1], newest(tmp_path / "plain")[1])
    cooled = sorted(path.name for path in (tmp_path / "cooled").glob("cooldown-*"))
    assert cooled == [f"cooldown-from-000000{step}" for step in (20, 26, 40)]


def test_a_run_longer_than_asked_for_is_cooled_down_from_where_it_is(tmp_path, capsys):
    run(replace(COOLED, steps=40), tmp_path, stop_at=35)
    run(COOLED, tmp_path, cool_now=True)
    assert "cool-down: step 35 of 43" in capsys.readouterr().err
    assert (tmp_path / "cooldown-from-00000035" / "step-00000043").is_dir()


def test_a_cool_down_may_have_batches_of_its_own(tmp_path):
    seen: list[tuple[str, int]] = []

    def kind(name: str):
        return lambda number: seen.append((name, number)) or points(number)

    run(replace(COOLED, steps=2, cooldown_steps=3, batch=kind("first"), cooldown_batch=kind("then")), tmp_path)
    assert seen == [("first", 0), ("first", 1), ("then", 2), ("then", 3), ("then", 4)]


def test_a_cool_down_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no checkpoint to cool down"):
        run(COOLED, tmp_path, cool_now=True)
    run(COOLED, tmp_path, stop_at=22)
    with pytest.raises(UsageError, match="holds a cool-down of 8 steps, 5 asked for"):
        run(replace(COOLED, cooldown_steps=5), tmp_path)
    with pytest.raises(UsageError, match="tiny has no cool-down of its own: give --cooldown-steps"):
        run(CONFIG, tmp_path, cool_now=True)
    with pytest.raises(UsageError, match="cooldown_steps=-1 has to be 0 or more"):
        replace(CONFIG, cooldown_steps=-1)


def test_averages_on_the_way_are_kept_and_what_only_training_has_is_left_out(tmp_path):
    """The last layer stands for an auxiliary head: neither kept, nor published, nor previewed."""
    previewed: list[int] = []
    config = replace(
        COOLED,
        published=lambda model: model[:2],
        averages_at=(6, 20, 24),
        preview=lambda model, folder: previewed.append(len(model)),
        preview_every=20,
    )
    assert len(run(config, tmp_path)) == 2 and previewed == [2]
    assert torch.load(tmp_path / "published.pt").keys() == {"0.weight", "0.bias"}
    kept = sorted((tmp_path / "averaged").iterdir())
    assert [path.name for path in kept] == ["step-00000006.safetensors", "step-00000020.safetensors"]  # 24 is cooled
    for path, steps in zip(kept, (6, 20), strict=True):
        expected = run(replace(CONFIG, steps=steps), tmp_path / str(steps))[:2].state_dict()
        assert_same(load_file(path), {name: value.bfloat16() for name, value in expected.items()})


def test_steps_in_all_are_split():
    assert [split(steps, cooldown=0.4) for steps in (1, 2, 10, 4600)] == [(1, 0), (1, 1), (6, 4), (2760, 1840)]
    assert split(1, cooldown=0.9) == (1, 0)


def test_it_learns(tmp_path):
    run(replace(CONFIG, steps=200), tmp_path)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0] / 3


def test_the_log_says_what_was_done(tmp_path):
    run(CONFIG, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [5, 10, 15, 20]
    for row in rows:
        assert row["twice"] == pytest.approx(2 * row["loss"]) and row["skipped"] == 0
        assert row["tokens_per_second"] * row["seconds_per_step"] == pytest.approx(8)
        assert 0 < row["mfu"] < 1 and 0 <= row["wait_share"] <= 1 and row["memory_bytes"] > 0


def sometimes_broken(bad: set[int], what: str):
    """The loss, or only its gradient, is not finite at some steps, read off the batch."""
    marks = {float(points(step).x[0, 0]) for step in bad}

    def loss(model: nn.Module, batch: Points, noise: torch.Generator) -> dict[str, Tensor]:
        parts = noisy_loss(model, batch, noise)
        if float(batch.x[0, 0]) in marks:
            weight = model[2].weight  # type: ignore[index]
            zero = (weight - weight.detach()).sum()
            broken = {
                "nan": parts["loss"] * float("nan"),
                "inf": parts["loss"] + float("inf"),
                "slope": zero.abs().sqrt(),
            }
            parts = {**parts, "loss": broken[what]}
        return parts

    return loss


@pytest.mark.parametrize("what", ["nan", "inf", "slope"])
def test_a_step_that_is_not_finite_is_skipped_and_counted(tmp_path, what):
    run(replace(CONFIG, loss=sometimes_broken({3, 4, 11}, what)), tmp_path)
    step, state = newest(tmp_path)
    assert step == 20 and state["skipped"] == 3
    assert all(value.isfinite().all() for value in (*state["model"].values(), *state["ema"].values()))
    optimizer = state["optimizers"]["0"]
    assert {float(one["step"]) for one in optimizer.values()} == {17.0}
    rows = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["skipped"] == 3
    for row in rows:
        json.loads(row, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_a_step_skipped_at_once_leaves_the_weights(tmp_path):
    untouched = replace(CONFIG, loss=sometimes_broken({0}, "nan"))
    run(untouched, tmp_path, stop_at=1)
    torch.manual_seed(CONFIG.seed)
    fresh = network().state_dict()
    assert_same(newest(tmp_path)[1]["model"], fresh)


def test_ten_in_a_row_end_the_run_nine_do_not(tmp_path):
    run(replace(CONFIG, loss=sometimes_broken(set(range(5, 14)), "nan")), tmp_path / "nine")
    with pytest.raises(UsageError, match=r"10 steps in a row were not finite \(step 14\).*Lower the learning rate"):
        run(replace(CONFIG, loss=sometimes_broken(set(range(5, 20)), "nan")), tmp_path / "ten")


def damages() -> dict[str, Any]:
    return {
        "empty": lambda data: b"",
        "half": lambda data: data[: len(data) // 2],
        "two bytes short": lambda data: data[:-2],
        "zeros": lambda data: bytes(len(data)),
        "noise": lambda data: bytes(n * 37 % 256 for n in range(len(data))),
        "a bit": lambda data: data[:30] + bytes([data[30] ^ 1]) + data[31:],
    }


@pytest.mark.parametrize("file", ["__0_0.distcp", ".metadata", "about.json"])
@pytest.mark.parametrize("damage", damages().values(), ids=damages())
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, damage, file):
    save(tmp_path, 6, 6.0)
    save(tmp_path, 12, 12.0)
    path = tmp_path / "step-00000012" / file
    path.write_bytes(damage(path.read_bytes()))
    said: list[str] = []
    about, at = load(tmp_path, said)
    assert about is not None and about["step"] == about["said"] == at == 6
    assert len(said) == 1 and "step-00000012" in said[0]
    save(tmp_path, 9, 9.0)  # the damaged one does not count among the newest
    assert [path.name for path in checkpoint.all_checkpoints(tmp_path)] == ["step-00000006", "step-00000009"]


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(tmp_path):
    whole = run(CONFIG, tmp_path / "whole")
    folder = tmp_path / "broken"
    for stop in (6, 12):
        run(CONFIG, folder, stop_at=stop)
    (folder / "step-00000012" / "__0_0.distcp").unlink()
    assert_same(run(CONFIG, folder).state_dict(), whole.state_dict())


def test_a_checkpoint_that_is_there_is_not_written_again(tmp_path, monkeypatch):
    before = run(CONFIG, tmp_path)
    monkeypatch.setattr(Checkpoints, "save", lambda *_: pytest.fail("it was written again"))
    assert_same(run(CONFIG, tmp_path).state_dict(), before.state_dict())


def test_a_step_saved_again_takes_the_place_of_the_first(tmp_path):
    save(tmp_path, 6, 6.0)
    save(tmp_path, 6, 7.0)
    assert load(tmp_path, [])[1] == 7 and [path.name for path in tmp_path.iterdir()] == ["step-00000006"]


def test_a_second_run_in_one_folder_is_refused(tmp_path):
    with one_run(tmp_path, "or do not"), pytest.raises(UsageError, match=r"is writing to .* give another --folder"):
        run(CONFIG, tmp_path)


def test_no_whole_checkpoint_is_said(tmp_path):
    run(CONFIG, tmp_path, stop_at=6)
    (tmp_path / "step-00000006" / "about.json").unlink()
    with pytest.raises(UsageError, match=r"no checkpoint .* is whole"):
        run(CONFIG, tmp_path)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    run(CONFIG, tmp_path, stop_at=6)
    with pytest.raises(UsageError, match="of another model"):
        run(replace(CONFIG, build=lambda: nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 2))), tmp_path)


def test_a_checkpoint_of_a_newer_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)
    save(tmp_path, 1, 1.0)
    monkeypatch.undo()
    with pytest.raises(UsageError, match="newer than"):
        load(tmp_path, [])


def test_the_newest_two_are_kept_and_half_written_ones_are_not_seen(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step, step)
    (tmp_path / ".step-00000009.partial").mkdir()
    assert [path.name for path in checkpoint.all_checkpoints(tmp_path)] == ["step-00000002", "step-00000003"]
    assert load(tmp_path, [])[1] == 3
    assert load(tmp_path / "nothing", [])[0] is None


def test_as_many_checkpoints_are_kept_as_the_run_asks_for(tmp_path):
    run(replace(CONFIG, save_every_seconds=0.0, keep=5), tmp_path)
    steps = [int(path.name.removeprefix("step-")) for path in checkpoint.all_checkpoints(tmp_path)]
    assert steps == [16, 17, 18, 19, 20]
    with pytest.raises(UsageError, match="keep=0 has to be 1 or more"):
        replace(CONFIG, keep=0)


def test_a_disk_that_refuses_is_said_and_leaves_the_one_before(tmp_path, monkeypatch):
    save(tmp_path, 1, 1.0)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(UsageError, match=r"step 2 could not be written .*No space left on device"):
        save(tmp_path, 2, 2.0)
    assert load(tmp_path, [])[1] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_one_written_in_the_background_is_there_once_finished(tmp_path):
    checkpoints = Checkpoints(tmp_path, Ranks(), background=True)
    at = torch.ones(3)
    checkpoints.save(5, {"at": at}, {})
    at.zero_()  # training goes on
    checkpoints.finish()
    found = {"at": torch.zeros(3)}
    assert Checkpoints(tmp_path, Ranks()).load_newest(found) is not None
    assert torch.equal(found["at"], torch.ones(3))


def test_a_step_of_several_packs_is_their_mean(tmp_path):
    """Plain gradient descent would do the same on the four batches at once."""
    config = replace(CONFIG, packs=4, steps=3, loss=lambda model, batch, _: {"loss": model(batch.x).square().mean()})

    def four(step: int) -> Points:
        return Points(torch.cat([points(4 * step + n).x for n in range(4)]))

    together = replace(config, packs=1, batch=four)
    apart, whole = run(config, tmp_path / "apart"), run(together, tmp_path / "together")
    for one, other in zip(apart.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_data_is_made_before_the_first_step_of_each_run(tmp_path):
    """What `prepare` returns is what is trained on, as if it had been there at once."""
    made: list[str] = []

    def prepare(config: RunConfig) -> RunConfig:
        made.append(config.name)
        return replace(config, batch=points)

    def sized(step: int) -> Points:
        raise AssertionError("only a plan asks for it")

    config = replace(CONFIG, prepare=prepare, batch=sized)
    run(config, tmp_path / "late", stop_at=7)
    late = run(config, tmp_path / "late")
    assert made == ["tiny", "tiny"]
    assert_same(late.state_dict(), run(CONFIG, tmp_path / "at once").state_dict())


def test_batches_made_ahead_are_the_same_in_the_same_order():
    make = partial(sample_at, 7, size=50)
    assert list(ahead(make, range(3, 12), workers=2)) == [make(step) for step in range(3, 12)]
    with contextlib.closing(ahead(math.sqrt, [4.0, -1.0, 9.0], workers=1)) as made:
        assert next(made) == 2.0
        with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
            next(made)


def test_an_error_in_a_batch_comes_out(tmp_path):
    def batch(step: int) -> Points:
        if step == 6:
            raise UsageError("shard 6 is missing")
        return points(step)

    with pytest.raises(UsageError, match="shard 6 is missing"):
        run(replace(CONFIG, batch=batch), tmp_path)


def test_a_shard_that_vanishes_is_named(tmp_path):
    with ShardWriter(tmp_path / "data") as writer:
        for step in range(20):
            writer.add(f"clip-{step}", {"x": points(step).x.numpy().tobytes()})
    shards = Shards(tmp_path / "data")

    def batch(step: int) -> Points:
        if step == 6:
            (tmp_path / "data" / "shard-000000.tar").unlink()
        return Points(torch.frombuffer(bytearray(shards.read(step)["x"]), dtype=torch.float32).view(8, 4))

    with pytest.raises(UsageError, match=r"shard-000000\.tar is gone"):
        run(replace(CONFIG, batch=batch), tmp_path / "run")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_checkpoint_that_does_not_fit_is_said_and_the_run_goes_on_from_the_one_before(tmp_path):
    """The system's own refusal: no file may grow beyond what is left."""
    import resource

    wide = replace(CONFIG, build=lambda: nn.Sequential(nn.Linear(4, 4096), nn.Tanh(), nn.Linear(4096, 2)))
    whole = run(wide, tmp_path / "whole")
    run(wide, tmp_path / "full", stop_at=5)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(UsageError, match=r"step 10 could not be written .*took no more of it.*free some"):
            run(wide, tmp_path / "full", stop_at=10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in (tmp_path / "full").glob("*step-*")] == ["step-00000005"]
    assert_same(run(wide, tmp_path / "full").state_dict(), whole.state_dict())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_a_log_on_a_full_disk_is_said(tmp_path):
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(UsageError, match=r"the disk is full: .*log\.jsonl was not written"):
        run(CONFIG, tmp_path)


SCRIPT = """
import importlib.util, os, sys, time
from dataclasses import replace
from pathlib import Path

spec = importlib.util.spec_from_file_location("runs", sys.argv[1])
runs = importlib.util.module_from_spec(spec)
sys.modules["runs"] = runs
spec.loader.exec_module(runs)

def slow(step):
    time.sleep(0.02)
    (Path(sys.argv[2]).parent / f"worker-{os.getpid()}").touch()
    return runs.points(step)

if __name__ == "__main__":
    runs.run(replace(runs.CONFIG, steps=400, batch=slow, save_every_seconds=0.1), Path(sys.argv[2]))
"""


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process_id}/stat")  # one that ended and was not waited for still has its number
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda how: how.name)
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_run_that_is_told_to_stop_saves_and_goes_on_unbroken(tmp_path, how):
    whole = run(replace(CONFIG, steps=400), tmp_path / "whole")
    folder = tmp_path / "broken"
    (tmp_path / "script.py").write_text(SCRIPT)
    child = [sys.executable, str(tmp_path / "script.py"), __file__, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with (tmp_path / "said").open("w") as said:  # a pipe would stay open as long as any worker
        process = subprocess.Popen(child, env=environment, stderr=said)
    while not list(tmp_path.glob("worker-*")) and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(how)
    process.wait(timeout=120)
    if how == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 0, (tmp_path / "said").read_text()
        assert "goes on from there" in (tmp_path / "said").read_text()
    assert 0 < newest(folder)[0] < 400
    workers = [int(path.name.removeprefix("worker-")) for path in tmp_path.glob("worker-*")]
    patience = time.monotonic() + 30
    while any(map(is_alive, workers)) and time.monotonic() < patience:
        time.sleep(0.1)
    left = [worker for worker in workers if is_alive(worker)]
    for worker in left:
        os.kill(worker, signal.SIGKILL)
    assert not left, "workers outlive the run"
    assert_same(run(replace(CONFIG, steps=400), folder).state_dict(), whole.state_dict())
