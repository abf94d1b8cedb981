"""The family tree as SVG: well-formed, escaped, without lines that others stand for."""

from __future__ import annotations

from xml.etree import ElementTree

from minisora.pages.family import Box, family_tree

BOXES = [
    Box(name="a", title="A & <b>", column=0, year=2020),
    Box(name="b", title="B", column=1, year=2020, after=("a",)),
    Box(name="c", title="C", column=0, year=2021, after=("a", "b")),
]


def test_what_is_built_upon_through_another_has_no_line_of_its_own():
    root = ElementTree.fromstring(family_tree(BOXES, ["one", "other"]))
    space = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{space}path")) == 2  # a to b, b to c
    texts = [each.text for each in root.iter(f"{space}text")]
    assert "A & <b>" in texts
    assert texts.count("2020") == 1
