"""The page's words: Chinese prompts, languages of a card, the tour on a phone, keys, contrast."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import minisora.weights
from minisora.text.playroom.parse import parse
from tests.helpers.page import PAGE, Open, make, shown, strings, write
from tests.helpers.studio import Client, studio

if TYPE_CHECKING:
    from playwright.sync_api import Locator

PHONE = {"width": 390, "height": 844}
CARDS = Path(minisora.weights.__file__).parent / "toybox"
NUMBER = re.compile(r"\d[\d.,]*\d|\d")


def test_examples_ask_for_the_same_in_both_languages():
    english, chinese = strings("en"), strings("zh")
    keys = [key for key in english if re.fullmatch(r"example\.\d+\.prompt|prompt\.placeholder", key)]
    assert len(keys) == 7
    for key in keys:
        read, expected = parse(chinese[key]), parse(english[key])
        assert read.facts == expected.facts and not read.not_understood, key


def test_the_card_says_the_same_in_both_languages():
    english, chinese = ((CARDS / name).read_text(encoding="utf-8") for name in ("card.md", "card.zh.md"))
    for form in (r"^#+", r"^\|(?=.*\|$)", r"^- ", r"^    .*"):
        assert re.findall(form, english, re.M) == re.findall(form, chinese, re.M)
    assert sorted(NUMBER.findall(english)) == sorted(NUMBER.findall(chinese))


def test_a_card_comes_in_the_language_that_is_wanted(model: Path, tmp_path: Path):
    with_cards(model)
    wishes = {
        "": "en",
        "zh-CN,zh;q=0.9,en;q=0.8": "zh",
        "de, en;q=0.3, zh;q=0.7": "zh",
        "en,zh": "en",
        "zh;q=0": "en",
        "zh;q=x, *": "en",
    }
    with studio(tmp_path / "studio", model=model) as client:
        for wish, language in wishes.items():
            answer = client.get("/v1/models/tiny", headers={"Accept-Language": wish})
            assert answer.json()["minisora"]["card"].startswith({"en": "# tiny", "zh": "# 小"}[language]), wish
            assert answer.headers["content-language"] == language
            assert "accept-language" in answer.headers["vary"].lower()


@pytest.mark.long
def test_a_card_is_read_in_the_language_of_the_page(model: Path, opened: Open, tmp_path: Path):
    with_cards(model)
    with studio(tmp_path / "studio", model=model) as client:
        page = opened(client.port, locale="zh-CN")
        shown(page, client.port, "models")
        page.get_by_text("什么都不懂").wait_for()
        page.get_by_role("button", name="English").click()
        page.get_by_text("It knows nothing").wait_for()


@pytest.mark.long
def test_a_chinese_prompt_is_read_through_the_glossary(client: Client, opened: Open):
    page = opened(client.port, locale="zh-CN")
    write(page, "a red ball")
    assert page.get_by_text("此模型只懂英文").count() == 0
    assert "expand" not in make(page)
    write(page, "一只狐狸")
    page.get_by_text("此模型只懂英文").wait_for()
    page.get_by_role("button", name="扩写提示词").click()
    page.get_by_text("没有认出球、方块").wait_for()
    page.get_by_role("button", name="用我写的").click()
    write(page, "一个大红球向左滚动")
    page.get_by_role("button", name="扩写提示词").click()
    page.locator(".proposal").get_by_text("large").wait_for()
    assert make(page)["expand"] == "auto"


@pytest.mark.long
def test_the_tour_shows_what_it_is_about_on_a_phone(client: Client, opened: Open):
    page = opened(client.port, viewport=PHONE)
    page.get_by_role("button", name="Show me").click()
    for number in range(1, 6):
        page.get_by_text(f"Step {number} of 5").wait_for()
        (left, top, right, bottom), box = edges(page.locator(".toured")), edges(page.locator(".tour"))
        bar = edges(page.locator(".bar"))
        assert left >= 0 and right <= PHONE["width"] and bar[3] <= top and bottom <= PHONE["height"], number
        assert bottom <= box[1] or top >= box[3], number
        page.keyboard.press("Enter")


@pytest.mark.long
def test_keys_stand_by_view(client: Client, opened: Open):
    page = opened(client.port, viewport=PHONE, locale="zh-CN")
    page.locator("#prompt").wait_for()
    page.keyboard.press("?")
    assert page.locator("dialog h3").all_inner_texts() == ["通用", "创作", "时间线", "媒体库", "队列"]
    assert "回车" in page.locator("dialog kbd").all_inner_texts()
    assert page.evaluate("document.querySelector('dialog').scrollWidth <= innerWidth")


def test_colours_of_both_themes_can_be_told_apart():
    """WCAG 2.2: 4.5 for text, 3 for what a control is known by."""
    css = (PAGE / "style.css").read_text(encoding="utf-8")
    themes = [
        dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r"\{([^}]+color-scheme[^}]+)\}", css)
    ]
    assert len(themes) == 2
    for theme in themes:
        for ground in ("paper", "raised"):
            assert contrast(theme["ink"], theme[ground]) > 7
            assert contrast(theme["faint"], theme[ground]) > 4.5
            assert contrast(theme["front"], theme[ground]) > 4.5
            assert contrast(theme["edge"], theme[ground]) > 3
        assert contrast(theme["on-front"], theme["front"]) > 4.5


def with_cards(model: Path) -> None:
    (model / "card.md").write_text("# tiny\n\nIt knows nothing.\n", encoding="utf-8")
    (model / "card.zh.md").write_text("# 小\n\n什么都不懂。\n", encoding="utf-8")


def edges(one: Locator) -> tuple[float, float, float, float]:
    """Left, top, right and bottom, with the outline around it."""
    left, top, right, bottom, ring = one.evaluate(
        """(element) => {
            const { left, top, right, bottom } = element.getBoundingClientRect(), style = getComputedStyle(element);
            const ring = parseFloat(style.outlineWidth) + parseFloat(style.outlineOffset);
            return [left, top, right, bottom, style.outlineStyle === "none" ? 0 : ring];
        }"""
    )
    return left - ring, top - ring, right + ring, bottom + ring


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance of sRGB, "#rgb" or "#rrggbb"."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
