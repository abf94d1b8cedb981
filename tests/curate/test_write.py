"""A clip has the same bytes, whichever process codes it and whatever that did before."""

from __future__ import annotations

import pyarrow as pa

from minisora.curate.recipe import Clips
from minisora.curate.runner import local_engine
from minisora.curate.write import PIECES, Cut
from tests.helpers.curating import videos

__all__ = ["videos"]  # fixture


def test_a_clip_has_the_same_bytes_whoever_codes_it(videos):
    shown = {"start": 0.0, "num_frames": 24, "fps": 12.0, "box": [0, 0, 48, 64], "height": 32, "width": 48}
    pieces = [
        {"key": name, "source": f"{name}.mp4", "json": "", "made": "", **shown}
        for name in ("a_two_shots", "b_captioned", "g_last")
    ]
    results = local_engine(2, 300.0)(Cut(videos, Clips()), pa.Table.from_pylist(pieces * 60, schema=PIECES))
    coded = {(row["key"], row["mp4"]) for table in results for row in table.to_pylist()}
    assert len(coded) == len(pieces)
