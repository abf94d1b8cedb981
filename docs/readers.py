"""Draw 24 prompts and make their clips, for readers who see frames only.

Run: python docs/readers.py [FOLDER] [MODEL]

The prompts are in wordings that training never used, of held-out scenes: 12 with two things or
more, 16 in which one moves. Seed 0, one clip each, none left out. FOLDER gets `clips-N.png`,
numbered frames of six clips without their prompts, and `prompts.json`, what was asked for and the
facts.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from random import Random

import minisora
from minisora.video import contact_sheet
from minisora.worlds import playroom
from minisora.worlds.seeds import READ

WITH = {"several": 12, "alone": 12, "moving": 16, "still": 8}  # how many of each are asked for
SECONDS = 2.0
ON_A_SHEET = 6


def drawn() -> list[tuple[str, dict[str, object]]]:
    """Prompts and facts of the first held-out scenes that fit into WITH."""
    found: list[tuple[str, dict[str, object]]] = []
    counts: Counter[str] = Counter()
    for seed in READ:
        scene = playroom.draw(seed, split="held_out")
        facts = playroom.facts(scene, 0.0, SECONDS)
        things = facts["things"]
        kinds = [
            "several" if len(things) > 1 else "alone",
            "still" if all(thing["motion"] == "still" for thing in things) else "moving",
        ]
        if all(counts[kind] < WITH[kind] for kind in kinds):
            counts.update(kinds)
            told = playroom.captions(scene, seed=seed, start=0.0, stop=SECONDS, phrasing="held_out")
            found.append((Random(f"prompt {seed}").choice(told).text, facts))
        if counts == WITH:
            return found
    raise AssertionError("too few scenes")


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/readers")
    model = minisora.load(*sys.argv[2:3])
    folder.mkdir(parents=True, exist_ok=True)
    prompts = drawn()
    videos = [model.generate(prompt, seed=0) for prompt, _ in prompts]
    for n in range(0, len(videos), ON_A_SHEET):
        rows = [(f"clip {n + at + 1}", video.frames, video.fps) for at, video in enumerate(videos[n : n + ON_A_SHEET])]
        contact_sheet(rows).save(folder / f"clips-{n // ON_A_SHEET + 1}.png")
    asked = [{"clip": n, "prompt": prompt, "facts": facts} for n, (prompt, facts) in enumerate(prompts, 1)]
    (folder / "prompts.json").write_text(json.dumps(asked, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
