"""Names of form fields, and fields by the types of their verb."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisora.generate.fields import about
from minisora.generate.media import Named, is_media
from minisora.generate.verbs import VERBS
from minisora.studio.api.errors import Refusal
from minisora.studio.api.form import display_name, put
from minisora.studio.api.requests import _holds_media

NAMES = st.text("abc", min_size=1, max_size=3)
TREES: Any = st.dictionaries(
    NAMES, st.recursive(st.text(), lambda inner: st.dictionaries(NAMES, inner, min_size=1), max_leaves=5), max_size=4
)


def flat(tree: Any, before: str = "") -> dict[str, str]:
    """Names and values of a form."""
    if isinstance(tree, str):
        return {before: tree}
    found: dict[str, str] = {}
    for name, value in tree.items():
        found |= flat(value, f"{before}[{name}]" if before else name)
    return found


@given(TREES, st.randoms())
def test_a_form_is_the_tree_that_its_names_say(tree: dict[str, Any], random: Any):
    fields: dict[str, Any] = {}
    pairs = list(flat(tree).items())
    random.shuffle(pairs)
    for name, value in pairs:
        put(fields, name, value)
    assert fields == tree


def test_lists():
    fields: dict[str, Any] = {}
    for value in ("1", "2"):
        put(fields, "a[]", value)
        put(fields, "b[c][]", value)
    assert fields == {"a": ["1", "2"], "b": {"c": ["1", "2"]}}


@pytest.mark.parametrize(
    "names",
    [
        ["a", "a"],
        ["a", "a[b]"],
        ["a[b]", "a"],
        ["a[b]", "a[]"],
        ["a[]", "a[b]"],
        ["a", "a[]"],
        ["a[][b]"],
        ["[a]"],
        [""],
        ["a]"],
        ["a[b"],
        ["a[b]c"],
        ["a" + "[b]" * 20],
    ],
)
def test_names_that_contradict_each_other_or_are_none(names: list[str]):
    fields: dict[str, Any] = {}
    with pytest.raises(Refusal):
        for name in names:
            put(fields, name, "x")


@given(st.text(max_size=300))
def test_a_files_name_is_one_short_word_without_control(name: str):
    shown = display_name(name)
    assert 0 < len(shown) <= 100 and shown.isprintable() and not set("/\\") & set(shown)


def test_media_fields_are_known_by_their_types():
    """Each field that takes `Named` as a value is told apart; so are containers of such."""
    media = {"name": "a", "sha256": "ab" * 32}
    for verb, kind in VERBS.items():
        for name, field in about(kind).items():
            from pydantic import TypeAdapter, ValidationError

            try:
                taken = isinstance(TypeAdapter(field.type).validate_python(media), Named)
            except ValidationError:
                taken = False
            assert taken == is_media(field.type), (verb, name)
    inside = {
        f"{verb}.{name}" for verb, kind in VERBS.items() for name, f in about(kind).items() if _holds_media(f.type)
    }
    outside = {f"{verb}.{name}" for verb, kind in VERBS.items() for name, f in about(kind).items() if is_media(f.type)}
    assert inside - outside == {"animate.at", "storyboard.board"}
