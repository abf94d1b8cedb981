"""Make docs/six.gif: six prompts that training never showed, one seed each, no picking. Run: python docs/six.py"""

from __future__ import annotations

import textwrap
from pathlib import Path

import torch
from PIL import Image, ImageDraw

import minisora
from minisora.video import Video

PROMPTS = (
    "a large red ball rolls to the left on grass",
    "a small blue cube spins on a wooden floor, the camera zooms in",
    "a yellow cone and a green ball, the ball rolls to the right",
    "a large purple cylinder bounces at night",
    "an orange cube circles, the camera orbits right",
    "a white ball rolls toward the camera at sunset",
)
ZOOM, LINE = 3, 28  # enlargement, and pixels for the prompt under each video


def captioned(video: Video, prompt: str) -> list[Image.Image]:
    text = "\n".join(textwrap.wrap(prompt, 34))
    pictures = []
    for frame in video.frames.numpy():
        size = (frame.shape[1] * ZOOM, frame.shape[0] * ZOOM)
        picture = Image.new("RGB", (size[0], size[1] + LINE), "white")
        picture.paste(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC), (0, 0))
        ImageDraw.Draw(picture).text((3, size[1]), text, fill="black", font_size=10, spacing=1)
        pictures.append(picture)
    return pictures


def main() -> None:
    model = minisora.load()
    rows = [captioned(model.generate(prompt, seed=0), prompt) for prompt in PROMPTS]
    width, height = rows[0][0].size
    frames = []
    for at in range(len(rows[0])):
        sheet = Image.new("RGB", (3 * width, 2 * height), "white")
        for n, row in enumerate(rows):
            sheet.paste(row[at], (n % 3 * width, n // 3 * height))
        frames.append(torch.frombuffer(bytearray(sheet.tobytes()), dtype=torch.uint8).view(2 * height, 3 * width, 3))
    for note in Video(torch.stack(frames), 8.0).save(Path(__file__).with_name("six.gif")):
        print(note)


if __name__ == "__main__":
    main()
