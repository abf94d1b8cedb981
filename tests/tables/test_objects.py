"""JSON as Python's own module reads it, a value at a time."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minisora.errors import UsageError
from minisora.tables import objects
from minisora.tables.entry import Skipped
from minisora.tables.records import records

HERE = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from('\u2028\u2029\x85\x0b\n\r\\"]}{,'), max_size=9
)
VALUE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
OBJECT = st.dictionaries(TEXT, st.recursive(VALUE, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)))


def read(path, skipped=None):
    return [record for _, record in records(path, (), skipped or Skipped(strict=True))]


@pytest.mark.long
@HERE
@given(values=st.lists(OBJECT, max_size=5), end=st.sampled_from(["\n", "\r\n", "\n\n", " \n"]), ascii=st.booleans())
def test_json_lines(tmp_path, values, end, ascii):
    path = tmp_path / "x.jsonl"
    path.write_bytes("".join(json.dumps(value, ensure_ascii=ascii) + end for value in values).encode())
    assert read(path) == values


@pytest.mark.long
@HERE
@given(values=st.lists(OBJECT, max_size=5), indent=st.sampled_from([None, 0, 2]), ascii=st.booleans())
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_lists_in_pieces(tmp_path, values, indent, ascii, encoding):
    path, chunk = tmp_path / "x.json", objects._CHUNK
    path.write_bytes(json.dumps(values, indent=indent, ensure_ascii=ascii).encode(encoding))
    try:
        objects._CHUNK = 7
        assert read(path) == values == objects.json_whole(path)
    finally:
        objects._CHUNK = chunk


def test_a_broken_line_costs_itself(tmp_path):
    path, skipped = tmp_path / "x.jsonl", Skipped()
    path.write_bytes(b'{"a": 1}\n\n{"a"\n[1]\nnull\n"\xe9"\n{"a": 2}\n{}')
    assert read(path, skipped) == [{"a": 1}, {"a": 2}, {}]
    assert [where for where, _ in skipped.broken] == [f"x.jsonl:{n}" for n in (3, 4, 5, 6)] and skipped.blank == 1


def test_values_that_are_no_objects_cost_themselves(tmp_path):
    path, skipped = tmp_path / "x.json", Skipped()
    path.write_text('[{"a": 1}, 5, null, "x", {"a": 2}]')
    assert read(path, skipped) == [{"a": 1}, {"a": 2}]
    assert [where for where, _ in skipped.broken] == ["x.json[1]", "x.json[2]", "x.json[3]"]


@pytest.mark.parametrize("text", ["", "{}", '[{"a": 1}', '[{"a": 1} x]', "[1, 2"])
def test_a_list_that_is_no_json_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UsageError, match=r"x\.json"):
        read(tmp_path / "x.json", Skipped())
