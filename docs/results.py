"""Make docs/results.md: all figures of the embedded weights. Run: python docs/results.py [FOLDER]

FOLDER is what `minisora evaluate --out FOLDER` left; without one it is run first.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import fill

COLUMNS = 100  # of a line of prose
LARGE = "large"  # a folder in it: of `minisora evaluate --size 96x96 --count 48`, the other families left out
PARTS = (  # files of the report, and the heading over those that have none
    ("report.md", ""),
    (f"{LARGE}/report.md", ""),
    ("verbs.md", "## The other verbs\n\nWhat the measures are: [verbs.md](verbs.md).\n\n"),
    (
        "aspects.md",
        "## Aspects\n\nThe floor of cut things is the square in the middle of the real clip.\n\n",
    ),
    ("motions.md", "## What a world must keep to\n\nOn extensions of true clips: `src/minisora/eval/motions.py`.\n\n"),
    ("world.md", "## Space and physics\n\nAgainst true depth, poses and the simulator.\n\n"),
    ("variety.md", "## Variety\n\nCombinations never seen, other seeds, and the nearest training clip.\n\n"),
)


def wrapped(text: str) -> str:
    """Lines of prose to COLUMNS; tables and headings as they are."""
    lines = text.splitlines()
    return "".join(
        (line if line.startswith(("|", "#")) else fill(line, COLUMNS, break_long_words=False, break_on_hyphens=False))
        + "\n"
        for line in lines
    )


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("out/evaluation")
    if len(sys.argv) < 2:
        subprocess.run([sys.executable, "-m", "minisora", "evaluate", "--out", str(folder)], check=True)
    parts = [heading + (folder / name).read_text() for name, heading in PARTS if (folder / name).exists()]
    Path(__file__).with_name("results.md").write_text(wrapped("\n".join(parts)), encoding="utf-8")


if __name__ == "__main__":
    main()
