from __future__ import annotations

import pytest

from minisora.curate.words import WORDS, cleaned, shared_scores, stripped, word_scores


@pytest.mark.parametrize(
    ("caption", "left"),
    [
        ("The video shows a man sailing a boat.", "A man sailing a boat."),
        ("the video shows a man", "a man"),
        ("This short clip depicts two dogs.", "Two dogs."),
        ("The video clip features: a red car", "A red car"),
        ("In this video, a woman cooks.", "A woman cooks."),
        ("In the video we can see a cat.", "A cat."),
        ("In the scene a dog runs.", "A dog runs."),
        ("A video of a busy street", "A busy street"),
        ("A video showing a busy street", "A busy street"),
        ("The video is about a girl who reads.", "A girl who reads."),
        ("Sure! Here is a detailed caption of the video: A bird lands.", "A bird lands."),
        ("Caption: a bird lands", "A bird lands"),
        ("The scene opens with a wide field.", "A wide field."),
    ],
)
def test_openings_go(caption, left):
    assert stripped(caption) == left


@pytest.mark.parametrize(
    "caption",
    [
        "A man shows a video to his friends.",
        "The video game controller lies on a table.",
        "The picture frame hangs on a wall.",
        "The clip, held by a nurse, is blue.",
        "A scene captured by a drone.",
        "A close-up shot of a bottle.",  # how it is framed is worth saying
        "In the film museum visitors wait.",
        "Videos play on many screens.",
        "The video shows",
        "一个男人在说话",
        "",
    ],
)
def test_what_says_something_stays(caption):
    assert stripped(caption) == caption


def test_captions_are_cleaned_once_each():
    assert cleaned(["  a \n cat ", "a cat", "", " ", "The video shows a dog"]) == ["a cat", "A dog"]
    assert cleaned(["The video shows a dog"], strip=False) == ["The video shows a dog"]


def test_scores_have_the_names_that_are_promised():
    assert {*word_scores(["a cat"]), "caption_shared"} == WORDS.keys()
    assert word_scores([]) == {
        **dict.fromkeys(WORDS.keys() - {"caption_shared"}, 0.0),
        "caption_latin": 1.0,  # nothing is wrong with no letters
    }


@pytest.mark.parametrize(
    ("captions", "score", "value"),
    [
        (["a cat", "a cat on a mat"], "caption_words", 5),
        (["一只猫在睡觉"], "caption_words", 6),
        (["don't stop, T-shirt!"], "caption_words", 3),
        (["see www.example.org", "a cat"], "caption_url", 0.5),
        (["mail me@example.org"], "caption_url", 1),
        (["subscribe at Example.com/now"], "caption_url", 1),
        (["a cat sits. it sleeps at 3.5 m"], "caption_url", 0),
        (["red and blue and green"], "caption_repeat", 0),
        (["a man walks a man walks"], "caption_repeat", 0.5),
        (["fine", "a man walks a man walks"], "caption_repeat", 0.5),
        (["<b>#"], "caption_symbols", 0.75),
        (["🎉🎉 ok"], "caption_symbols", 0.4),
        (["naïve café – “fine”, 50 %!"], "caption_symbols", 0),
        (["cat 猫"], "caption_latin", 0.75),
        (["кот"], "caption_latin", 0),
        (["LOUD", "quiet"], "caption_upper", 1),
        (["12 猫"], "caption_upper", 0),
    ],
)
def test_a_score_is_what_it_says(captions, score, value):
    assert word_scores(captions)[score] == pytest.approx(value)


def test_shared_counts_clips_with_the_same_captions():
    assert shared_scores([["A cat!"], ["a cat"], ["a dog"], [], []]) == [2, 2, 1, 0, 0]
    assert shared_scores([["one", "two"], ["Two", "one."], ["one"]]) == [2, 2, 1]
