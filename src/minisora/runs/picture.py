"""A picture in a terminal: two pixels per character, by its foreground and background colour.

Here: a file to characters. Not here: which pictures a run left (logs.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

HALF = "▀"


def picture(path: Path, *, width: int) -> Text:
    """Render a picture at most `width` characters wide, never enlarged.

    The terminal needs colours.
    """
    from PIL import Image
    from rich.color import Color
    from rich.style import Style
    from rich.text import Text

    with Image.open(path) as file:
        image = file.convert("RGB")
    columns = min(width, image.width)
    rows = max(1, round(image.height * columns / image.width / 2))
    image = image.resize((columns, 2 * rows), Image.Resampling.BOX)

    def ink(x: int, y: int) -> Color:
        return Color.from_rgb(*image.getpixel((x, y)))  # type: ignore[misc]  # a triple, as the picture is RGB

    text = Text(no_wrap=True)
    for y in range(0, 2 * rows, 2):
        for x in range(columns):
            text.append(HALF, Style(color=ink(x, y), bgcolor=ink(x, y + 1)))
        text.append("\n")
    return text
