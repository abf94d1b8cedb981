"""Every range of seeds of scenes, each for one use: training and evaluation share no scene.

Ranges never move, so a seed always draws the same scene. A new use takes a new range; free are 16
to 49 million, 80 to 299 million and 750 to 899 million. Importing the module runs `check_disjoint`.

Here: the numbers. Not here: how many seeds of a range are used (sources.py and its callers).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

MILLION = 1_000_000

TRAINING = {  # of latents (sources.JOBS), by the name of the job
    "playroom-pictures": range(0, 1 * MILLION),
    "playroom-short": range(1 * MILLION, 2 * MILLION),
    "playroom-long": range(2 * MILLION, 3 * MILLION),
    "playroom-fast": range(3 * MILLION, 4 * MILLION),
    "playroom-wide": range(4 * MILLION, 5 * MILLION),
    "playroom-tall": range(5 * MILLION, 6 * MILLION),
    "stickers-pictures": range(6 * MILLION, 7 * MILLION),
    "stickers-short": range(7 * MILLION, 8 * MILLION),
    "playroom-large": range(8 * MILLION, 9 * MILLION),
    "stickers-large": range(9 * MILLION, 10 * MILLION),
    "playroom-more-pictures": range(10 * MILLION, 11 * MILLION),
}
ZOO = range(11 * MILLION, 15 * MILLION)  # toy sets of the papers
ZOO_HELD_OUT = range(15 * MILLION, 16 * MILLION)
# benchmarks/: what is learnt and what is asked for
FINE_TUNED = range(50 * MILLION, 60 * MILLION)
FINE_TUNED_ASKED = range(60 * MILLION, 70 * MILLION)
RECAPTIONED = range(71 * MILLION, 72 * MILLION)
RECAPTIONED_ASKED = range(72 * MILLION, 73 * MILLION)
EXPANDED = range(73 * MILLION, 74 * MILLION)  # asked for in few words

CAPTIONER = range(300 * MILLION, 500 * MILLION)
JUDGE = range(500 * MILLION, 600 * MILLION)
STICKER_JUDGE = range(600 * MILLION, 650 * MILLION)
STICKER_JUDGE_UNSEEN = range(650 * MILLION, 700 * MILLION)  # on which its fit is checked

UPSCALER = range(700 * MILLION, 750 * MILLION)

# eval/: what models are asked for
REPORT = range(900 * MILLION, 901 * MILLION)
REPORT_OTHERS = range(901 * MILLION, 902 * MILLION)  # scenes that nobody is asked for
VAE_FIGURES = range(910 * MILLION, 920 * MILLION)
VERBS = range(920 * MILLION, 930 * MILLION)
CHOSEN = range(930 * MILLION, 940 * MILLION)  # by what is true of them (eval/scenes.py)
CAPTIONS = range(940 * MILLION, 950 * MILLION)
STICKER_REPORT = range(950 * MILLION, 960 * MILLION)
UPSCALED = range(960 * MILLION, 970 * MILLION)  # true frames that the upscaler is held against

READ = range(970 * MILLION, 971 * MILLION)  # clips that people read (docs/readers.py)

VAE = range(1000 * MILLION, 2**31)  # drawn at random, so that few come twice


def every_range() -> list[range]:
    """All ranges, by rising seed."""
    alone = [value for value in globals().values() if isinstance(value, range)]
    return sorted([*TRAINING.values(), *alone], key=lambda each: each.start)


def check_disjoint(ranges: Iterable[range]) -> None:
    for one, following in pairwise(sorted(ranges, key=lambda each: each.start)):
        assert one.stop <= following.start, f"seeds {following.start} to {one.stop - 1} have two uses"


check_disjoint(every_range())
