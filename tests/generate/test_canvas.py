"""Known tokens are kept exactly, those next to them are free; and from a canvas to a video."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import prod

import pytest
import torch
from torch import Tensor

from minisora import diffusion
from minisora.bundle import Bundle
from minisora.data.pack import Pack
from minisora.data.patch import patchify
from minisora.diffusion.samplers import SAMPLERS
from minisora.errors import UsageError
from minisora.generate.canvas import Canvas, Condition, Shape, build
from minisora.generate.frames import Sampling
from minisora.generate.schedule import Schedule
from minisora.generate.window import encode_prompt, sample
from minisora.progress import Event, Watch
from tests.helpers.tiny import DIT, SHAPE, Words, bundle, picture, sampled, settings

__all__ = ["bundle"]  # a fixture

BALL = Schedule.parse("a ball")


def by_latent(canvas: Canvas, values: Tensor) -> Tensor:
    """(L, ...) -> (latents, rows, columns, ...)"""
    return values.unflatten(0, (-1, *canvas.grid[1:]))


def encoded(bundle: Bundle, frames: Tensor, *, first_alone: bool) -> Tensor:
    """(1, n, rows * columns, Ct) tokens of frames whose size fits the grid"""
    z = bundle.vae.encode(frames[None].float() / 127.5 - 1, first_alone=first_alone)
    return patchify(z, DIT.patch).unflatten(1, (z.shape[1], -1))


def test_nothing_given_is_all_free(bundle):
    canvas = build(bundle, SHAPE)
    assert canvas.grid == (4, 2, 3) and len(canvas.levels) == 24
    assert (canvas.levels == 1).all() and not canvas.known.any()
    assert by_latent(canvas, canvas.single)[:, 0, 0].tolist() == [True, False, False, False]
    seconds = by_latent(canvas, canvas.positions)[:, 0, 0, 0] / bundle.sampling.time_rate
    torch.testing.assert_close(seconds, torch.tensor([0, 0.5, 1.0, 1.5]))  # the last frame of each latent, at 8 fps


@pytest.mark.parametrize(
    ("at", "count", "filled", "beside"),
    [
        (0, 1, [0], []),
        (0, 5, [0, 1], []),
        (5, 8, [2, 3], []),
        (0, 13, [0, 1, 2, 3], []),
        (0, 3, [0], [1, 2]),
        (2, 4, [], [2, 3, 4, 5]),
        (3, 9, [2], [3, 4, 9, 10, 11]),
        (12, 1, [], [12]),
    ],
)
def test_full_groups_are_held_and_single_frames_stand_beside(bundle, at, count, filled, beside):
    video = picture(13, 32, 48)
    canvas = build(bundle, SHAPE, [Condition(video[at : at + count], at=at)])
    levels = by_latent(canvas, canvas.levels)
    assert (levels.amax((1, 2)) == levels.amin((1, 2))).all()
    assert levels[:, 0, 0].tolist() == [0.0 if n in filled else 1.0 for n in range(4)] + [0.0] * len(beside)
    assert by_latent(canvas, canvas.single)[4:].all()
    seconds = by_latent(canvas, canvas.positions)[4:, 0, 0, 0] / bundle.sampling.time_rate
    torch.testing.assert_close(seconds, torch.tensor(beside) / SHAPE.fps)
    known = canvas.known.unflatten(1, (-1, 6))
    whole = encoded(bundle, video, first_alone=True)
    for n in range(4):
        torch.testing.assert_close(known[:, n], whole[:, n] if n in filled else torch.zeros(1, 6, 16))
    for n, frame in enumerate(beside):
        torch.testing.assert_close(known[:, 4 + n], encoded(bundle, video[frame : frame + 1], first_alone=True)[:, 0])


@pytest.mark.parametrize(("noise", "level"), [(0.0, 0.0), (0.4, 0.4), (1.0, 1.0)])
def test_noise_is_the_level(bundle, noise, level):
    canvas = build(bundle, SHAPE, [Condition(picture(5, 32, 48), at=0, noise=noise)])
    assert by_latent(canvas, canvas.levels)[:, 0, 0].tolist() == pytest.approx([level, level, 1, 1])


def test_a_token_is_held_only_where_the_region_holds_all_of_it(bundle):
    """Against a count, pixel by pixel."""
    region = torch.zeros(32, 48, dtype=torch.bool)
    region[:16, :32] = True
    region[16:32, 33:] = True  # one column short of the token
    canvas = build(bundle, SHAPE, [Condition(picture(5, 32, 48), at=0, region=region)])
    held = [[bool(region[16 * r : 16 * r + 16, 16 * c : 16 * c + 16].all()) for c in range(3)] for r in range(2)]
    assert held == [[True, True, False], [False, False, False]]
    levels = by_latent(canvas, canvas.levels)
    assert torch.equal(levels[0] == 0, torch.tensor(held)) and torch.equal(levels[1] == 0, torch.tensor(held))
    assert (levels[2:] == 1).all()


@pytest.mark.parametrize("clean_first", [True, False])
def test_clean_frames_lie_over_noised_ones(bundle, clean_first):
    under, over = picture(13, 32, 48), picture(13, 32, 48).flip(0)
    region = torch.zeros(32, 48, dtype=torch.bool)
    region[:16] = True
    given = [Condition(over[5:9], at=5, region=region), Condition(over[10:11], at=10), Condition(under, noise=0.4)]
    canvas = build(bundle, SHAPE, given if clean_first else given[::-1])
    levels, known = by_latent(canvas, canvas.levels), canvas.known.unflatten(1, (-1, 2, 3))
    alone = [build(bundle, SHAPE, [one]).known.unflatten(1, (-1, 2, 3)) for one in given]
    assert levels[[0, 1, 3]].unique().tolist() == pytest.approx([0.4])
    assert (levels[2, 0] == 0).all() and levels[2, 1].unique().tolist() == pytest.approx([0.4])
    assert (levels[4] == 0).all() and len(levels) == 5  # frame 10, beside
    torch.testing.assert_close(known[:, 2, 0], alone[0][:, 2, 0])
    torch.testing.assert_close(known[:, 2, 1], alone[2][:, 2, 1])
    torch.testing.assert_close(known[:, [0, 1, 3]], alone[2][:, [0, 1, 3]])
    torch.testing.assert_close(known[:, 4], alone[1][:, 4])


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ([(5, 32, 48, 9)], r"5 frames placed at frame 9 ends at 14, but the video has 13.*between 0 and 8.*14 frames"),
        ([(1, 32, 48, -1)], r"placed at frame -1"),
        ([(1, 32, 40, 0)], r"40x32 pixels does not fit a video of 48x32"),
        ([(5, 32, 48, 0), (1, 32, 48, 4)], r"overlap: one ends at frame 5, the next begins at 4"),
        ([(1, 32, 48, 8), (9, 32, 48, 0)], r"overlap: one ends at frame 9, the next begins at 8"),
    ],
    ids=["past the end", "before the start", "another size", "overlap", "overlap, later first"],
)
def test_what_does_not_fit_is_refused(bundle, conditions, said):
    with pytest.raises(UsageError, match=said):
        build(bundle, SHAPE, [Condition(picture(n, height, width), at=at) for n, height, width, at in conditions])


def test_conditions_longer_than_the_video_or_empty_are_refused(bundle):
    with pytest.raises(UsageError, match="14 frames") as caught:
        build(bundle, SHAPE, [Condition(picture(14, 32, 48))])
    assert "-1" not in str(caught.value)
    with pytest.raises(UsageError):
        build(bundle, SHAPE, [Condition(picture(0, 32, 48))])


@pytest.mark.parametrize("noise", [-0.1, 1.1, float("nan")])
def test_noise_outside_its_range_is_refused(noise):
    with pytest.raises(UsageError, match="between 0"):
        Condition(picture(1, 8, 8), noise=noise)


def test_an_empty_region_and_one_of_another_size_are_refused(bundle):
    with pytest.raises(UsageError, match="empty"):
        Condition(picture(1, 8, 8), region=torch.zeros(8, 8, dtype=torch.bool))
    with pytest.raises(UsageError, match="region"):
        build(bundle, SHAPE, [Condition(picture(1, 32, 48), region=torch.ones(16, 48, dtype=torch.bool))])


# From a canvas to a video


@pytest.mark.parametrize(("height", "width", "num_frames"), [(31, 33, 7), (16, 16, 1), (9, 50, 5)])
def test_animate_holds_its_first_frame_at_any_size(bundle, height, width, num_frames):
    first = picture(1, height, width)
    shape = Shape(num_frames=num_frames, height=height, width=width, fps=8.0)
    frames = sampled(Sampling(bundle, shape, Schedule.parse("it moves"), settings(), (Condition(first),)))
    assert frames.shape == (num_frames, height, width, 3) and frames.dtype == torch.uint8
    assert torch.equal(frames[0], first[0])


def test_known_tokens_end_as_they_were_given(bundle):
    canvas = build(bundle, SHAPE, [Condition(picture(5, 32, 48), at=0), Condition(picture(2, 32, 48), at=10)])
    for context_noise in (0.0, 0.2):
        tokens = sample(bundle, canvas, encode_prompt(bundle, "a ball"), settings(context_noise=context_noise), Watch())
        given = canvas.levels == 0
        assert torch.equal(tokens[:, given], canvas.known[:, given]) and tokens.isfinite().all()


def test_a_seed_says_the_video(bundle):
    shape = Shape(num_frames=5, height=32, width=32, fps=8.0)
    one, again, other = (sampled(Sampling(bundle, shape, BALL, settings(seed=seed))) for seed in (5, 5, 6))
    assert torch.equal(one, again) and not torch.equal(one, other)
    said_otherwise = sampled(Sampling(bundle, shape, Schedule.parse("two cubes"), settings()))
    assert not torch.equal(one, said_otherwise)


def test_frames_are_the_users_to_change(bundle):
    shape = Shape(num_frames=1, height=16, width=16, fps=8.0)
    (frames,) = Sampling(bundle, shape, BALL, settings())(Watch())
    frames[0] = 0
    assert not frames.any()


@pytest.mark.parametrize(
    "change", [{}, {"guidance_interval": (0.2, 0.7)}, {"guidance_rescale": 0.5}, {"guidance_given": 1.0}]
)
def test_both_in_one_call_are_as_each_alone(bundle, change):
    """With text and conditioning, and without both: then the conditioning is noise, marked so."""
    canvas = build(bundle, SHAPE, [Condition(picture(3, 32, 48), at=0, noise=0.0)])
    text = Words().encode(["a red ball", ""])
    how = settings(**change)
    got = sample(bundle, canvas, encode_prompt(bundle, "a red ball"), how, Watch())

    generator = torch.Generator().manual_seed(how.seed)
    eps, context_eps = (torch.randn(canvas.known.shape, generator=generator) for _ in range(2))

    def one(states: Tensor, context_noise: float) -> diffusion.Denoiser:
        def velocity(x: Tensor, times: Tensor) -> Tensor:
            pack = Pack(
                tokens=x[0],
                times=times[0],
                time_index=torch.arange(len(canvas.levels)),
                positions=canvas.positions,
                single=canvas.single,
                lengths=(len(canvas.levels),),
                text=states,
                text_lengths=(len(states),),
            )
            return bundle.dit(pack)[None]

        return diffusion.from_velocity(velocity, canvas.levels, canvas.known, context_noise, context_eps)

    told, null = text.split()
    with_prompt, without = one(told, 0.0), one(null, 1.0)
    denoise = diffusion.guided_joint(
        lambda x, t: (with_prompt(x, t), without(x, t)),
        how.guidance_given,
        with_text=with_prompt,
        interval=how.guidance_interval,
        rescale=how.guidance_rescale,
    )
    x = diffusion.start(canvas.known, canvas.levels, eps)
    count, sampling = prod(canvas.grid), bundle.sampling  # those beside the grid are not counted in training either
    shift = diffusion.shift_for_tokens(count, base_tokens=sampling.shift_tokens, base_shift=sampling.shift)
    x = how.sampler(denoise, x, diffusion.schedule(how.steps, shift=shift))
    torch.testing.assert_close(got, diffusion.finish(x, canvas.known, canvas.levels), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("steps", [1, 5, 24])
def test_progress_reaches_the_last_step(bundle, sampler, steps):
    """Whatever the shift makes of the times."""
    for num_frames in (1, 9):
        told: list[Event] = []
        shape = Shape(num_frames=num_frames, height=16, width=16, fps=8.0)
        how = settings(steps=steps, sampler=sampler, guidance=1.0)
        sampled(Sampling(bundle, shape, BALL, how), Watch(on_event=told.append))
        assert {(event.stage, event.total) for event in told} == {("denoise", steps)}
        done = [event.done for event in told]
        assert all(before <= after <= before + 1 for before, after in pairwise(done))
        assert done[0] <= 1 and done[-1] == steps


def test_a_canvas_that_begins_with_a_latent_holds_it_and_nothing_else(bundle):
    canvas = build(bundle, SHAPE, [Condition(picture(1, 32, 48), at=6)])
    latent = torch.randn(1, 1, 4, 6, 4)
    begun = canvas.beginning_with(latent)
    cells = prod(canvas.grid[1:])
    assert torch.equal(begun.latents(begun.known)[:, :1], latent) and not begun.levels[:cells].any()
    assert torch.equal(begun.known[:, cells:], canvas.known[:, cells:])
    assert torch.equal(begun.levels[cells:], canvas.levels[cells:])
    assert begun.held() == [True, False, False, False] and canvas.held() == [False] * 4  # the first is as it was


def test_raising_in_a_listener_cancels(bundle):
    def cancel(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sampled(Sampling(bundle, SHAPE, BALL, settings()), Watch(on_event=cancel))


def test_every_stage_is_timed(bundle):
    watch = Watch()
    sampled(Sampling(bundle, Shape(num_frames=1, height=16, width=16, fps=8.0), BALL, settings()), watch)
    assert list(watch.seconds) == ["canvas", "text", "denoise", "decode"]
    assert all(seconds >= 0 for seconds in watch.seconds.values())


def test_bfloat16_weights_make_a_video_like_that_of_float32(bundle):
    import copy

    half = replace(bundle, vae=copy.deepcopy(bundle.vae).bfloat16(), dit=copy.deepcopy(bundle.dit).bfloat16())
    shape = Shape(num_frames=5, height=32, width=32, fps=8.0)
    first = (Condition(picture(1, 32, 32)),)
    one, other = (sampled(Sampling(b, shape, BALL, settings(), first)).float() for b in (bundle, half))
    assert torch.equal(one[0], other[0])
    assert (one - other).abs().mean() < 0.1 * one.std()
