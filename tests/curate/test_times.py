from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisora.curate.times import parse_span, parse_time
from minisora.errors import UsageError


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (137.72, 137.72),
        (20, 20.0),
        ("137.72", 137.72),
        ("0:00:19.227", 19.227),
        ("00:07:33.689", 453.689),
        ("1:02:03.004", 3723.004),
        ("100:00:00", 360_000.0),
        ("2:17", 137.0),
        ("83:20", 5000.0),  # minutes alone may pass 59
        (" 0:00:30.777 ", 30.777),
        ("00:00:30,777", 30.777),
        ("0", 0.0),
    ],
)
def test_every_form_that_the_data_sets_use(value, seconds):
    assert parse_time(value) == pytest.approx(seconds, abs=1e-9)


@given(st.integers(0, 400 * 3_600_000 - 1))
def test_a_clock_is_read_as_it_was_written(milliseconds):
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{minutes // 60}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
    assert parse_time(text) == pytest.approx(milliseconds / 1000, abs=1e-7)
    assert parse_time(milliseconds / 1000) == milliseconds / 1000


@pytest.mark.parametrize(
    "value", ["", "soon", "-3", -3, "1:60", "1:99:00", "0:0:0:1", "1.2.3", None, True, math.nan, math.inf, "nan", [1]]
)
def test_what_is_no_time_is_refused(value):
    with pytest.raises(UsageError, match="is not a time"):
        parse_time(value)


@pytest.mark.parametrize("ends", [(5, 5), ("0:00:10", "0:00:09.999")])
def test_a_span_without_length_is_refused(ends):
    with pytest.raises(UsageError, match="ends where it starts or before"):
        parse_span(*ends)


def test_a_span_of_two_forms():
    assert parse_span("0:00:01.5", 2) == (1.5, 2.0)
