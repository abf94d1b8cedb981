"""Make docs/six.gif and docs/verbs.gif with the embedded weights: one seed each, no picking.

Run: python docs/gifs.py

The prompts are none that training showed. The clips that verbs are given are true renders of
held-out scenes.
"""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image, ImageDraw

import minisora
from minisora.generate.model import Model
from minisora.generate.storyboard import Board, Shot
from minisora.video import Video
from minisora.worlds import playroom

PROMPTS = (
    "a large red ball rolls to the left on grass",
    "a small blue cube spins on a wooden floor, the camera zooms in",
    "a large purple cylinder bounces at night",
    "a fox slides to the right in front of green hills",
    "a flying saucer shrinks in front of a night sky with stars",
    "a sunflower stays in place on a white background",
)
SCENE = 920_000_003  # held out
CUT = "cut to a different view: "
LINE = 40  # pixels for the words under each video
ROUNDS = 3  # of a loop


def captioned(video: Video, words: str, count: int, zoom: int) -> list[Image.Image]:
    """`count` pictures; a shorter video begins again."""
    text = "\n".join(textwrap.wrap(words, 11 * zoom + 1, max_lines=3, placeholder=" ..."))
    pictures = []
    for n in range(count):
        frame = video.frames[n % len(video.frames)].numpy()
        size = (frame.shape[1] * zoom, frame.shape[0] * zoom)
        picture = Image.new("RGB", (size[0], size[1] + LINE), "white")
        picture.paste(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC), (0, 0))
        ImageDraw.Draw(picture).text((3, size[1]), text, fill="black", font_size=10, spacing=1)
        pictures.append(picture)
    return pictures


def save(name: str, videos: Sequence[tuple[str, Video]], *, columns: int, zoom: int, count: int) -> None:
    rows = [captioned(video, words, count, zoom) for words, video in videos]
    width, height = max(row[0].width for row in rows), max(row[0].height for row in rows)
    frames = []
    for at in range(count):
        sheet = Image.new("RGB", (columns * width, -(-len(rows) // columns) * height), "white")
        for n, row in enumerate(rows):
            sheet.paste(row[at], (n % columns * width, n // columns * height))
        frames.append(
            torch.frombuffer(bytearray(sheet.tobytes()), dtype=torch.uint8).view(sheet.height, sheet.width, 3)
        )
    for note in Video(torch.stack(frames), 8.0).save(Path(__file__).with_name(name)):
        print(note)


def verbs(model: Model) -> list[tuple[str, Video]]:
    height, width = model.bundle.sampling.size
    scene = playroom.draw(SCENE, split="held_out")
    prompt = playroom.captions(scene, seed=SCENE, start=0.0, stop=2.0)[0].text
    frames = playroom.render([scene], height=height, width=width, num_frames=17).frames[0]
    clip, colour = Video(frames[:9], 8.0), scene.things[0].colour
    other = "blue" if colour != "blue" else "red"
    end, loop = Video(frames[-4:], 8.0), "a large green cube spins on a wooden floor"
    with tempfile.TemporaryDirectory() as folder:
        keyframe = Path(folder) / "keyframe.png"
        Video(frames[:1], 8.0).save(keyframe)
        shots = (Shot(prompt=prompt, seconds=2.0, keyframes={0.0: keyframe}), Shot(prompt=CUT + prompt, seconds=2.0))
        film = model.storyboard(Board((shots[0], replace(shots[1], same_scene=True))))
    hole = (width // 4, height // 4, width // 2, height // 2)
    return [
        (f"given: {prompt}", Video(frames, 8.0)),
        ("animate: its first frame", model.animate(frames[0], prompt)),
        ("extend: its first second, one more", model.extend(clip, prompt, after=1.0)),
        ("connect: its first 5 and last 4 frames", model.connect(Video(frames[:5], 8.0), end, prompt, seconds=1.0)),
        (f"loop: {loop}", model.loop(loop, seconds=2.0)),
        (f"edit: {other} for {colour}", model.edit(clip, prompt.replace(colour, other), source=prompt, strength=0.8)),
        ("inpaint: the middle", model.inpaint(Video(frames, 8.0), prompt, box=hole)),
        ("outpaint: to a wider frame", model.outpaint(Video(frames, 8.0), prompt, to=(height, 5 * width // 4))),
        ("interpolate: twice the rate", model.interpolate(clip, prompt, times=2)),
        ("extend: a second before", model.extend(clip, prompt, before=1.0)),
        ("loop: a way back to its start", model.loop(prompt, clip=clip, seconds=1.0)),
        ("storyboard: two shots, its first frame given", film),
    ]


def main() -> None:
    model = minisora.load()
    save("six.gif", [(prompt, model.generate(prompt, seed=0)) for prompt in PROMPTS], columns=3, zoom=3, count=17)
    save("verbs.gif", verbs(model), columns=4, zoom=2, count=ROUNDS * 16)


if __name__ == "__main__":
    main()
