"""Threads on one model: each call has its own frames, notes, seconds and progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

import minisora
from minisora.bundle import Bundle, Student
from minisora.dit.lora import adapters_of, add_lora
from minisora.dit.model import DiT
from minisora.generate.model import Model
from minisora.generate.request import Request
from minisora.generate.verbs import Animate, Connect, Edit, Extend, Generate, Image, Inpaint, Loop, Reverse
from minisora.progress import Event
from minisora.video import Video
from tests.helpers.tiny import DIT, bundle, picture

__all__ = ["bundle"]  # a fixture

CLIP, OTHER = Video(picture(6, 32, 32), 8.0), Video(picture(5, 48, 32, seed=2), 8.0)
FULL = {"steps": 3, "guidance": 2.0}


@dataclass
class Call:
    """All that came of a request, and the threads in which its listener was called."""

    frames: Tensor
    notes: tuple[str, ...]
    stages: list[str]
    seconds: float
    text: str
    told: list[Event] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)


def called(model: Model, request: Request, *, streamed: bool, pause: float = 0.0) -> Call:
    """pause: seconds after each step, in which another thread goes on"""
    told, threads = list[Event](), set[int]()

    def listen(event: Event) -> None:
        told.append(event)
        threads.add(threading.get_ident())
        time.sleep(pause)

    if streamed:
        stream = model.stream(request, on_event=listen)
        frames = torch.cat(list(stream.video.pieces))
        result, text = stream, stream.video.request
    else:
        whole = model.run(request, on_event=listen)
        result, frames, text = whole, whole.video.frames, whole.video.request
    return Call(frames, result.notes, list(result.timings), sum(result.timings.values()), text, told, threads)


def in_threads(model: Model, turns: Sequence[Sequence[Request]]) -> list[list[Call]]:
    """Each turn in a thread of its own, all begun at once; every other request streamed."""
    start = threading.Barrier(len(turns))

    def work(requests: Sequence[Request]) -> tuple[list[Call], int, float]:
        start.wait()
        began = time.perf_counter()
        calls = [called(model, one, streamed=n % 2 == 1, pause=0.002) for n, one in enumerate(requests)]
        return calls, threading.get_ident(), time.perf_counter() - began

    with ThreadPoolExecutor(len(turns)) as pool:
        done = list(pool.map(work, turns))
    for calls, ident, took in done:
        assert all(call.threads <= {ident} for call in calls)
        assert sum(call.seconds for call in calls) <= took  # none was counted for another
    return [calls for calls, _, _ in done]


def check(model: Model, turns: Sequence[Sequence[Request]], alone: Model) -> None:
    """Against one after the other, by another model of the same weights."""
    for requests, calls in zip(turns, in_threads(model, turns), strict=True):
        for n, (request, call) in enumerate(zip(requests, calls, strict=True)):
            expected = called(alone, request, streamed=n % 2 == 1)
            assert torch.equal(call.frames, expected.frames), request
            assert (call.notes, call.stages, call.text) == (expected.notes, expected.stages, expected.text)
            assert call.told == expected.told and (call.told or isinstance(request, Reverse))


def test_two_threads_make_what_one_after_the_other_makes(bundle):
    small = replace(bundle, sampling=replace(bundle.sampling, size=(32, 32), window=4, context=1, candidates=1))
    one = [
        Generate("0-2s: a ball | 2s-: two balls", seconds=3.0, seed=1, **FULL),
        Extend(CLIP, "a ball", before=1.0, after=1.0, seed=2, **FULL),
        Loop("a ball", seconds=1.0, seed=3, **FULL),
        Edit(CLIP, "a cube", source="a ball", seed=4, **FULL),
        Image("a cone", seed=5, size=(80, 64), **FULL),
    ]
    other = [
        Connect(OTHER, CLIP, "a cube", seconds=1.0, seed=6, **FULL),
        Inpaint(CLIP, "a cube", box=(4, 4, 20, 20), seed=7, **FULL),
        Animate(picture(1, 40, 40)[0], "a cube", seconds=1.0, sampler="heun", seed=8, **FULL),
        Reverse(CLIP),
        Generate("a ball", seconds=3.0, seed=1, steps=4, guidance=1.0),
    ]
    check(Model(small), [one, other, [*reversed(one)]], Model(small))


@pytest.fixture
def taught(bundle: Bundle) -> Bundle:
    draw = torch.Generator().manual_seed(4)
    adapters = adapters_of(add_lora(DiT(DIT), 2))
    adapters = {name: 0.2 * torch.randn(value.shape, generator=draw) for name, value in adapters.items()}
    sampling = replace(bundle.sampling, size=(32, 32), window=4, context=1)
    return replace(bundle, sampling=sampling, student=Student(adapters=adapters, rank=2, steps=2))


def test_a_student_and_the_full_weights_do_not_meet(taught):
    by_student = [Generate("a ball", seconds=1.0, seed=seed) for seed in range(4)]
    by_all = [Generate("a ball", seconds=1.0, seed=seed, **FULL) for seed in range(4)]
    check(Model(taught), [by_student, by_all], Model(taught))


def test_the_embedded_model_may_be_shared_from_its_first_use_on(toybox):
    """What it reads late (text encoder, student, captioner) is read by two threads at once."""
    one = [Image("a red ball on grass", seed=1), Extend(CLIP, "a red ball", after=0.5, steps=1)]
    other = [Image("a blue cube on sand", seed=2), Generate("a green cone falls", seconds=0.5, seed=3, steps=1)]
    check(minisora.load("toybox"), [one, other], toybox)
