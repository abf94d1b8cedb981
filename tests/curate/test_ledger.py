"""The books balance or are refused, and say what a count of their own says."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from random import Random

import pytest

from minisora.curate.ledger import Ledger, counted, ledger_lines, write_ledger


def books(**changed: object) -> dict[str, object]:
    return {
        "rows": 20,
        "cut": 7,
        "joined": 1,
        "missing": 3,
        "quarantined": {"reading": {"truncated": 2}, "writing": {"unreadable": 1}},
        "dropped": {"thresholds": {"duration < 2": 5, "sharpness < 3": 2}, "duplicates": {"near-duplicate": 4}},
        "kept": 9,
        "files": 12,
        "samples": 9,
        "seconds_in": 100.0,
        "seconds_kept": 40.0,
        **changed,
    }


def test_books_that_do_not_balance_are_refused():
    Ledger(**books())
    for name in ("rows", "cut", "joined", "missing", "kept"):
        with pytest.raises(AssertionError, match="accounted for"):
            Ledger(**books(**{name: books()[name] + 1}))


def test_the_table_adds_up_to_what_was_kept(tmp_path):
    ledger = Ledger(**books())
    lines = ledger_lines(ledger)
    assert sum(count for _, _, count in lines[:-1]) == lines[-1][2] == ledger.kept
    write_ledger(tmp_path / "ledger.json", ledger)
    assert json.loads((tmp_path / "ledger.json").read_text()) == asdict(ledger)


def test_counts_by_stage_and_reason():
    draw = Random(0)
    pairs = [(draw.choice("abc"), draw.choice("xyz")) for _ in range(500)]
    lost = counted(pairs)
    assert {(stage, reason): n for stage, reasons in lost.items() for reason, n in reasons.items()} == Counter(pairs)
    assert all(list(reasons.values()) == sorted(reasons.values(), reverse=True) for reasons in lost.values())
