"""Requests with expanded prompts, of which the request keeps what was typed.

A prompt that changes over time is expanded part by part, the shots of a scene one after the other.
Where clips or pictures show the scene, nothing is added to what the prompt says.

Here: the prompts of a request. Not here: expanding a text (text/expand.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from minisora.bundle import Bundle
from minisora.generate.edits import Edit
from minisora.generate.request import Request, Sampled
from minisora.generate.schedule import Schedule
from minisora.generate.storyboard import Board, Shot, Storyboard
from minisora.progress import Event, Watch
from minisora.text.expand import Expansion, expand_parts
from minisora.text.playroom.complete import Gaps


def expanded(request: Request, bundle: Bundle, watch: Watch) -> tuple[Request, list[str]]:
    """Expand the prompts of a request that asks for it; returns it, and notes for the user.

    Raises UsageError for a method that is not installed, or not for this model.
    """
    if not isinstance(request, Sampled) or request.expand is None:
        return request, []
    watch.on_event(Event("expanding the prompt", 0, 1))
    with watch.timed("expand"):
        if isinstance(request, Storyboard):
            return _expanded_board(request, bundle)
        gaps = Gaps(fill=request.from_prompt, moving=request.moving)
        typed: str = request.prompt  # type: ignore[attr-defined]  # every other verb that samples has one
        found = expand_prompt(bundle, Schedule.parse(typed), request.expand, seed=request.seed, gaps=gaps)
        fields: dict[str, Any] = {"prompt": found.prompt, "typed": typed, "expand": None}
        notes = found.notes()
        if isinstance(request, Edit) and request.source is not None:
            source = expand_prompt(bundle, Schedule.parse(request.source), request.expand, seed=request.seed, gaps=gaps)
            notes += source.notes()
            fields |= {"source": source.prompt, "typed_source": request.source}
    return replace(request, **fields), notes


def expand_prompt(bundle: Bundle, prompt: Schedule, how: str, *, seed: int, gaps: Gaps | None = None) -> Expansion:
    """Expand a prompt, part by part if it changes over time."""
    found = _by_bundle(bundle, [part.text for part in prompt.parts], how, seed, gaps or Gaps())
    if len(found) == 1:
        return found[0]
    parts = tuple(replace(part, text=one.prompt) for part, one in zip(prompt.parts, found, strict=True))
    at = [f"{part.start:g} s: " for part in prompt.parts]
    return Expansion(
        prompt=str(Schedule(parts)),
        typed=str(prompt),
        added=tuple(start + one for start, each in zip(at, found, strict=True) for one in each.added),
        not_understood=tuple(one for each in found for one in each.not_understood),
        read_as=tuple(one for each in found for one in each.read_as),
        source=next((each.source for each in found if each.source), ""),
        reason="; ".join(start + each.reason for start, each in zip(at, found, strict=True) if each.reason),
    )


def _by_bundle(bundle: Bundle, texts: Sequence[str], how: str, seed: int, gaps: Gaps) -> list[Expansion]:
    gaps = replace(gaps, dense=bundle.dense_captions)
    return expand_parts(texts, how, world=bundle.world_name, seed=seed, gaps=gaps)


def _expanded_board(request: Storyboard, bundle: Bundle) -> tuple[Storyboard, list[str]]:
    assert isinstance(request.board, Board) and request.expand is not None
    shots, notes = list[Shot](), list[str]()
    for scene in request.board.scenes():
        gaps = Gaps(fill=not any(shot.keyframes for shot in scene))
        found = _by_bundle(bundle, [shot.prompt for shot in scene], request.expand, request.seed, gaps)
        shots += [replace(shot, prompt=one.prompt, typed=shot.prompt) for shot, one in zip(scene, found, strict=True)]
        notes += [note for one in found for note in one.notes()]
    return replace(request, board=replace(request.board, shots=tuple(shots)), expand=None), notes
