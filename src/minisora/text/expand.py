"""Prompt expansion: a short prompt as a caption of the kind that a model was trained on.

    grammar        for models of the playroom: the prompt's facts are read, its gaps filled by a
                   seed, and all of it is written as a dense caption (playroom/); also from Chinese
    smollm2, URL   for others: a language model adds sentences to the prompt (writers.py)

The result is held to what was asked for: the grammar reads its own caption again, and what a
language model writes is checked against the prompt. Where that fails the prompt stays as typed, and
the reason is said.

Here: which way, parts of a prompt that changes over time, what the user is told. Not here: prompts
of requests (generate/expanding.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from minisora.errors import UsageError
from minisora.text.chat import KEY, Failed
from minisora.text.playroom.chinese import has_chinese
from minisora.text.playroom.complete import Gaps, complete
from minisora.text.playroom.facts import PromptFacts
from minisora.text.playroom.parse import Reading, parse
from minisora.text.playroom.write import FEWEST_WORDS, MOST_WORDS, write
from minisora.text.rewrite import checked
from minisora.text.writers import INSTALL, Server, Writer, has_smollm2, smollm2

METHODS = ("auto", "grammar", "smollm2")
GIVE = "auto, grammar, smollm2, or a server's address such as http://localhost:8000/v1#MODEL"
TRIES = 3  # of a language model, each with a seed of its own


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """A prompt as it is used.

    typed:          as it was
    added:          what it left open and was chosen, such as "a wooden floor"
    not_understood: pieces of it that have no part in `prompt`
    read_as:        misspelled words, such as "rde as red"
    source:         "grammar", "smollm2" or a server's name; "" if the prompt stayed as typed
    reason:         why it did
    reason_code:    of the grammar's reasons: "unknown", "things" or "much"
    """

    prompt: str
    typed: str
    added: tuple[str, ...] = ()
    not_understood: tuple[str, ...] = ()
    read_as: tuple[str, ...] = ()
    source: str = ""
    reason: str = ""
    reason_code: str = ""

    def notes(self) -> list[str]:
        """All of it for the user, a line each."""
        if not self.source:
            return [f'"{self.typed}" was not expanded: {self.reason}']
        told = {"added": self.added, "misspelled, read": self.read_as, "not understood": self.not_understood}
        by = "" if self.source == "grammar" else f" by {self.source}"
        lines = [f"{what}: {'; '.join(each)}" for what, each in told.items() if each]
        lines += [f"not expanded: {self.reason}"] * bool(self.reason)
        return [f'"{self.typed}" was expanded{by} to "{self.prompt}"', *lines]


def is_method(text: str) -> bool:
    """True for one of METHODS and for an address."""
    return text in METHODS or text.startswith(("http://", "https://"))


def expand(
    prompt: str, how: str = "auto", *, world: str | None = "playroom", seed: int = 0, gaps: Gaps | None = None
) -> Expansion:
    """Expand one prompt; arguments as for `expand_parts`."""
    return expand_parts([prompt], how, world=world, seed=seed, gaps=gaps)[0]


def expand_parts(
    prompts: Sequence[str],
    how: str = "auto",
    *,
    world: str | None = "playroom",
    seed: int = 0,
    gaps: Gaps | None = None,
    key_variable: str = KEY,
) -> list[Expansion]:
    """Expand the parts of a prompt that changes over time, each with those before in view.

    how:   one of METHODS, or the address of a server of OpenAI's chat completions, with "#MODEL"
           for another than its first; auto is grammar for models of the playroom, else smollm2
    world: "playroom" for a model that was trained on it; None for others
    seed:  the same prompt, seed and method give the same result, as far as a server allows
    gaps:  which gaps the grammar fills; None: all
    key_variable: environment variable with the server's key

    Raises UsageError for a method that is unknown, not installed, or not for this world, and for a
    server that does not answer at all.
    """
    if not is_method(how):
        raise UsageError(f"there is no way {how!r} to expand a prompt: give {GIVE}.")
    if how == "grammar" and world != "playroom":
        raise UsageError(
            "the grammar is that of the playroom, and this model is of no such world: give smollm2 or a URL."
        )
    if how == "grammar" or (how == "auto" and world == "playroom"):
        return _by_grammar(prompts, seed, gaps or Gaps())
    if how == "auto" and not has_smollm2():
        raise UsageError(f"nothing here can expand a prompt for this model: {INSTALL}; or give a server's address.")
    writer = smollm2() if how in METHODS else Server(how, key_variable=key_variable)
    return [_by_writer(prompt, writer, world, seed) for prompt in prompts]


def _by_grammar(prompts: Sequence[str], seed: int, gaps: Gaps) -> list[Expansion]:
    found, before = list[Expansion](), PromptFacts()
    for prompt in prompts:
        reading = parse(prompt, before)
        placing = not reading.not_understood and not found  # later on, things are where they came to
        facts, added = complete(reading.facts, replace(gaps, placing=placing), seed=seed)
        found.append(_written(prompt, reading, facts, added, dense=gaps.dense))
        if found[-1].source:
            before = facts
    return found


def _written(prompt: str, reading: Reading, facts: PromptFacts, added: Sequence[str], *, dense: bool) -> Expansion:
    """The caption of a prompt's facts, read again to see that it says the same."""
    known = Expansion(prompt=prompt, typed=prompt, not_understood=reading.not_understood, read_as=reading.read_as)
    if reading.missed and not has_chinese(prompt):  # English that the text encoder may know
        reason = f"it asks for what the playroom does not have: {reading.missed}"
        return replace(known, reason=reason, reason_code="unknown")
    if not facts.things:
        return replace(known, reason="no ball, cube, cylinder or cone in it was understood", reason_code="things")
    text, facts = write(facts, dense=dense)
    again = parse(text)
    same = again.facts.ordered(range(len(again.facts.things))) == facts and not again.not_understood
    if not same or len(text.split()) > MOST_WORDS:
        return replace(known, reason="it asks for more than one clear caption says", reason_code="much")
    return replace(known, prompt=text, added=tuple(added), source="grammar")


def _by_writer(prompt: str, writer: Writer, world: str | None, seed: int) -> Expansion:
    typed = Expansion(prompt=prompt, typed=prompt)
    if len(prompt.split()) >= FEWEST_WORDS:
        return replace(typed, reason="it is long enough")
    letters = [letter for letter in prompt if letter.isalpha()]
    if sum(letter.isascii() for letter in letters) * 2 < len(letters):
        return replace(typed, reason="it is not English, so that what a model makes of it cannot be checked")
    reason = ""
    for attempt in range(TRIES):
        answer = writer(prompt, seed=seed + 1_000_003 * attempt)
        if isinstance(answer, Failed):
            return replace(typed, reason=f"{writer.name} failed: {answer.reason}")
        text, reason = checked(prompt, answer)
        if text and world == "playroom":
            lost = parse(prompt).facts.lost_in(parse(text).facts)
            text, reason = ("", f"it changed {lost}") if lost else (text, "")
        if text:
            return replace(typed, prompt=text, source=writer.name)
    return replace(typed, reason=f"what {writer.name} made of it was refused, as {reason}")
