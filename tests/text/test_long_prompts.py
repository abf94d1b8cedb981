"""A prompt of 135 words is used to its last clause, by the encoder and by the video."""

from __future__ import annotations

import torch

from minisora.text import MiniLM

CLAUSES = (
    "a small matte red ball rolls to the left past a large shiny green cube on a wooden floor at sunset",
    "a large shiny blue cylinder spins in place behind the green cube",
    "a small yellow cone stays still in front of the cylinder and does not move at all for the whole time",
    "the camera orbits slowly to the right around the middle of the room and keeps all of them in the frame",
    "the light is warm and low and the sky above the horizon turns from orange to a soft and dark purple",
    "the floor shows its planks clearly and nothing else stands on it from the front to the far back of it",
)
ENDS = (
    "and then the large orange ball bounces up and down high above the others",
    "and then the whole room is empty at night with nothing on its floor",
)
WORDS = 135


def long_prompt(end: str) -> str:
    """WORDS words, the same but for the last clause."""
    body = ", ".join(CLAUSES).split()
    count = WORDS - len(end.split())
    assert len(body) <= count, (len(body), count)
    return " ".join([*body, *["slowly"] * (count - len(body)), end])


def test_the_encoder_reads_all_words(toybox):
    encoder = toybox.bundle.text
    assert isinstance(encoder, MiniLM)
    prompts = [long_prompt(end) for end in ENDS]
    assert all(len(prompt.split()) == WORDS for prompt in prompts)
    long, other = encoder.encode(prompts).split()
    assert WORDS < len(long) <= encoder.max_tokens  # every word is a token or more
    without = encoder.encode([prompts[0].removesuffix(ENDS[0])]).tokens
    assert len(long) - len(without) >= len(ENDS[0].split())  # the clause has states of its own, all of them
    assert (long[-8:] - other[-8:]).norm(dim=-1).min() > 1


def test_another_last_clause_is_another_video(toybox):
    first, again, other = (
        toybox.generate(long_prompt(end), seconds=0.5, steps=2, seed=3).frames.float() for end in (*ENDS[:1], *ENDS)
    )
    assert torch.equal(first, again)
    assert (first - other).abs().mean() > 1  # of 255
