"""StreamingLLM: its cache against one pass over the same tokens."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from minisora.data.patch import patchify
from minisora.zoo import streaming_llm
from minisora.zoo.nets.language import HEAD_WIDTH, LANGUAGE, START, Rope, frequencies, losses, rotated, streams
from minisora.zoo.streaming_llm import CACHE, EVERY, Cache, attention_to_first, recomputed, streamed


def network():
    torch.manual_seed(0)
    return LANGUAGE.build({}).eval()


def drawn(length, count=2):
    return streams(count, length, torch.Generator().manual_seed(1))


def test_a_cache_that_keeps_all_is_one_pass():
    model, tokens = network(), drawn(30)
    with torch.inference_mode():
        torch.testing.assert_close(streamed(model, tokens, Cache(0, 100)), losses(model, tokens), atol=1e-4, rtol=1e-4)


def test_a_cache_keeps_the_first_and_the_last_and_counts_places_within():
    cache, rates = Cache(sinks=2, recent=3), frequencies()
    k, v, q = torch.randn(3, 1, 1, 9, HEAD_WIDTH, generator=torch.Generator().manual_seed(0))
    for n in range(9):
        out = cache(0, q[:, :, n : n + 1], k[:, :, n : n + 1], v[:, :, n : n + 1])
    kept = [0, 1, 6, 7, 8]
    expected = torch.nn.functional.scaled_dot_product_attention(
        rotated(q[:, :, 8:], torch.tensor([4]), rates), rotated(k[:, :, kept], torch.arange(5), rates), v[:, :, kept]
    )
    torch.testing.assert_close(out, expected)
    assert torch.equal(cache.held[0][0], k[:, :, kept])


def test_a_window_by_places_in_the_cache_is_a_window_by_places_in_the_text():
    """Of rotary positions only distances count; in one layer a window is a band of the mask."""
    q, k, v = torch.randn(3, 1, 2, 40, HEAD_WIDTH, generator=torch.Generator().manual_seed(0))
    cache, places, rates = Cache(0, 7), torch.arange(40), frequencies()
    out = torch.cat([cache(0, *(each[:, :, n : n + 1] for each in (q, k, v))) for n in range(40)], 2)
    ages = places[:, None] - places
    expected = torch.nn.functional.scaled_dot_product_attention(
        rotated(q, places, rates), rotated(k, places, rates), v, attn_mask=(ages >= 0) & (ages < 7)
    )
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


def test_recomputing_reads_a_window_behind_a_start():
    model, tokens = network(), drawn(CACHE + 2 * EVERY)
    found = recomputed(model, tokens, first=CACHE)
    assert found.shape == (2, 2)
    for n, place in enumerate((CACHE, CACHE + EVERY)):  # the loss of the token at place + 1
        window = tokens[:, place + 1 - CACHE : place + 2].clone()
        window[:, 0] = START
        with torch.inference_mode():
            torch.testing.assert_close(found[:, n], losses(model, window)[:, -1], atol=1e-4, rtol=1e-4)


def test_attention_to_the_first_token_of_even_attention_is_one_over_its_length():
    model, tokens = network(), drawn(16)
    even = Rope(frequencies(), lambda layer, places: torch.zeros(len(places)))
    model.mix = even
    expected = (1 / torch.arange(9.0, 17.0)).mean()
    torch.testing.assert_close(attention_to_first(model, tokens), expected.expand(4))


def test_a_long_video_keeps_its_first_latent_in_view_if_it_is_a_sink(monkeypatch):
    """What conditions each window, with a sampler that numbers its latents."""
    bundle, seen, numbers = streaming_llm.house(), [], iter(())

    def sample(bundle, canvas, text, settings, watch, *, seeds):
        held = canvas.held().count(True)
        latents = canvas.latents(canvas.known.expand(len(seeds), -1, -1)).float().clone()
        seen.append(([int(each) for each in latents[0, :held, 0, 0, 0]], bool(canvas.single[0])))
        for n in range(held, latents.shape[1]):
            latents[:, n] = next(numbers)
        return patchify(latents, canvas.patch)

    monkeypatch.setattr(streaming_llm, "sample", sample)
    monkeypatch.setattr(streaming_llm, "encode_prompt", lambda bundle, prompt: SimpleNamespace())
    window, context = bundle.sampling.window, bundle.sampling.context
    for sinks in (0, 1):
        seen.clear()
        numbers = iter(range(1, 1000))
        z = streaming_llm.long_video(bundle, "", latents=window + 3, sinks=sinks, seed=0)
        assert z[0, :, 0, 0, 0].tolist() == list(range(1, window + 4))
        last = list(range(window - context + 1 + sinks, window + 1))
        assert seen == [([], True), ([1][:sinks] + last, sinks == 1)]
