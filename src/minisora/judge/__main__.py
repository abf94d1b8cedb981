"""`python -m minisora.judge NAME`: train a judge, after the look of its world has changed."""

from __future__ import annotations

import argparse
from pathlib import Path

from minisora.judge import train_playroom, train_stickers


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m minisora.judge", description="Train a judge.")
    judges = parser.add_subparsers(dest="judge", required=True)
    playroom, stickers = (judges.add_parser(name) for name in ("playroom", "stickers"))
    for each in (playroom, stickers):
        each.add_argument("--out", type=Path, help="the weights' file; by default the one in the package")
    stickers.add_argument("--steps", type=int, default=train_stickers.STEPS)
    chosen = parser.parse_args()
    if chosen.judge == "playroom":
        train_playroom.train(chosen.out)
    else:
        train_stickers.train(chosen.out, steps=chosen.steps)


if __name__ == "__main__":
    main()
