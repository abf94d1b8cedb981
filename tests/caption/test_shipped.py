"""The captioner that comes with the package: it says what is so of scenes that it never saw."""

from minisora.caption.adapters import captions_named
from minisora.caption.model import ABOUT, EMBEDDED, WEIGHTS
from minisora.eval.captions import caption_scores


def test_it_fits_beside_the_models():
    assert (EMBEDDED / ABOUT).exists() and (EMBEDDED / WEIGHTS).stat().st_size < 15 * 10**6


def test_it_says_what_held_out_clips_show():
    """Bounds a little under what 200 clips gave (docs/curation.md)."""
    found = {figure.name: figure for figure in caption_scores(captions_named("playroom"), 40)}
    assert found["right"].mean > 0.5 and found["right"].floor < 0.1
    assert found["colours"].mean > 0.85 and found["shapes"].mean > 0.8 and found["camera"].mean > 0.85
