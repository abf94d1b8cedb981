"""What a captioner says of clips of the playroom, held against what is true.

Run: python benchmarks/captions.py [NAME]

NAME is what `minisora caption --model` takes: a captioner's folder, hf:NAME, the URL of a server.
The clips are of triples that no training saw. The floor is each caption given to the next clip, the
ceiling the playroom's own. The folder keeps captions.json and captions.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from minisora.caption.adapters import captions_named
from minisora.eval.captions import caption_scores
from minisora.eval.rows import verb_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="playroom")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--long", action="store_true", help="ask for long captions")
    parser.add_argument("--out", type=Path, default=Path("out/captions"))
    asked = parser.parse_args()
    print(verb_table(caption_scores(captions_named(asked.model), asked.count, long=asked.long, out=asked.out)))


if __name__ == "__main__":
    main()
