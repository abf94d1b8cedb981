"""Which of its streams stands for a file, and what is refused by name."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from minisora.curate.lost import MediaError
from minisora.curate.signals import read_signals
from minisora.errors import UsageError
from minisora.video import probe, read_clip, read_image, read_video

RED, BLUE = (200, 30, 30), (30, 30, 200)


def frame(size: tuple[int, int], colour: tuple[int, int, int], number: int, rate: int) -> av.VideoFrame:
    height, width = size
    picture = av.VideoFrame.from_ndarray(np.full((height, width, 3), colour, np.uint8), format="rgb24")
    picture.pts, picture.time_base = number, Fraction(1, rate)
    return picture


def recording(
    path: Path, codec: str, colour: tuple[int, int, int], *, count: int = 25, form: str | None = None
) -> Path:
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = 96, 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "rgb8" if codec == "gif" else "yuv420p"
        for number in range(count):
            container.mux(stream.encode(frame((64, 96), colour, number, 25).reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))
    return path


def colours(frames) -> str:
    return "".join("rb"[int(pixel.argmax()) // 2] for pixel in frames[:, 5, 5])


def two_streams(path: Path, sizes, defaults) -> Path:
    with av.open(str(path), "w") as container:
        streams = []
        for (height, width), default in zip(sizes, defaults, strict=True):
            stream = container.add_stream("libx264", rate=5)
            stream.height, stream.width, stream.pix_fmt, stream.disposition = height, width, "yuv420p", int(default)
            streams.append(stream)
        for number in range(5):
            for stream, colour in zip(streams, (RED, BLUE), strict=True):
                container.mux(stream.encode(frame((stream.height, stream.width), colour, number, 5)))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("defaults", "chosen"), [((True, False), "r"), ((False, True), "b"), ((False, False), "b"), ((True, True), "b")]
)
def test_the_default_stream_is_read_then_the_largest(tmp_path, defaults, chosen):
    """As ffmpeg's own command chooses, in reading, probing and curation alike."""
    path = two_streams(tmp_path / "a.mkv", ((32, 64), (64, 96)), defaults)
    width = {"r": 64, "b": 96}[chosen]
    assert colours(read_video(path).frames) == 5 * chosen and probe(path).width == width
    assert read_signals(path).media.width == width


def test_moving_pictures_are_read_before_the_still_item_beside_them(tmp_path):
    pictures = [Image.fromarray(np.full((32, 48, 3), (40 * n, 90, 90), np.uint8)) for n in range(5)]
    pictures[0].save(tmp_path / "a.avif", save_all=True, append_images=pictures[1:], duration=200)
    video = read_video(tmp_path / "a.avif")
    assert len(video.frames) == 5 and video.fps == 5 and probe(tmp_path / "a.avif").num_frames == 5


@pytest.mark.parametrize(
    ("name", "codec", "form"),
    [
        ("a.ts", "libx264", None),
        ("a.mpg", "mpeg2video", None),
        ("a.vob", "mpeg2video", "vob"),
        ("a.mkv", "libx264", None),
        ("a.webm", "libvpx-vp9", None),
        ("a.avi", "mpeg4", None),
        ("a.gif", "gif", None),
        ("a.h264", "libx264", "h264"),
        ("a.mjpeg", "mjpeg", "mjpeg"),
    ],
)
def test_recordings_joined_byte_by_byte_are_read_whole(tmp_path, name, codec, form):
    parts = [recording(tmp_path / f"{n}{name}", codec, colour, form=form) for n, colour in enumerate((RED, BLUE))]
    path = tmp_path / name
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    video, seen = read_video(path), probe(path)
    assert colours(video.frames) == 25 * "r" + 25 * "b" and video.fps == pytest.approx(25)
    assert seen.seconds == pytest.approx(2.0, abs=0.05) and seen.num_frames == 50
    assert colours(read_clip(path, start=0.6, num_frames=4, fps=5)) == "rrbb"
    signals = read_signals(path)
    assert len(signals) == 50 and signals.media.seconds == pytest.approx(2.0, abs=0.05)


def test_a_clip_from_late_in_joined_recordings_is_that_of_the_second(tmp_path):
    """Seeking by time would find the first recording again."""
    parts = [recording(tmp_path / f"{n}.ts", "libx264", colour, count=100) for n, colour in enumerate((RED, BLUE))]
    (tmp_path / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    assert colours(read_clip(tmp_path / "a.ts", start=3.0, num_frames=10, fps=5)) == "rrrrrbbbbb"
    assert colours(read_clip(tmp_path / "a.ts", start=6.0, num_frames=5, fps=5)) == "bbbbb"


def test_a_clock_that_is_set_forward_leaves_no_gap(tmp_path):
    """An hour's jump in a broadcast, which ffmpeg's command bridges too."""
    path = tmp_path / "a.ts"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        pictures = [frame((64, 96), RED if number < 25 else BLUE, number, 25) for number in range(50)]
        for picture in (*pictures, None):
            for packet in stream.encode(picture):
                if packet.pts >= 25:
                    packet.pts, packet.dts = packet.pts + 25 * 3600, packet.dts + 25 * 3600
                container.mux(packet)
    assert probe(path).seconds == pytest.approx(2.0, abs=0.1) and len(read_video(path).frames) in (49, 50, 51)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mov", "libx264"), ("a.flv", "libx264")])
def test_joined_recordings_of_which_the_rest_would_be_lost_are_refused(tmp_path, name, codec):
    parts = [recording(tmp_path / f"{n}{name}", codec, colour) for n, colour in enumerate((RED, BLUE))]
    path = tmp_path / name
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(UsageError, match="several recordings, joined byte by byte"):
        read_video(path)
    with pytest.raises(MediaError, match="several recordings") as refused:
        read_signals(path)
    assert refused.value.reason == "several"
    assert colours(read_video(parts[0]).frames) == 25 * "r"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.m3u8", b"#EXTM3U\n#EXTINF:10,\nother.mkv\n#EXT-X-ENDLIST\n"),
        ("a.mp4", b"#EXTM3U\n#EXTINF:10,\nother.mkv\n"),
        ("a.ffconcat", b"ffconcat version 1.0\nfile 'other.mkv'\n"),
        ("a.mpd", b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>'),
        ("a.sdp", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
    ],
)
def test_lists_of_other_files_are_refused_by_every_opener(tmp_path, name, content):
    recording(tmp_path / "other.mkv", "libx264", RED)
    path = tmp_path / name
    path.write_bytes(content)
    for read in (read_video, read_image, probe, read_signals):
        with pytest.raises(UsageError, match="names other files"):
            read(path)


def test_a_numbered_name_is_one_file(tmp_path):
    """FFmpeg would take it for a sequence, and open its neighbours."""
    for name in ("a001.png", "a%03d.png", "a[0-9].png"):
        Image.fromarray(np.full((8, 8, 3), 200 if name == "a001.png" else 60, np.uint8)).save(tmp_path / name)
    recording(tmp_path / "b%03d.mkv", "libx264", BLUE)
    for name in ("a%03d.png", "a[0-9].png"):
        assert read_video(tmp_path / name).frames[0, 0, 0, 0] == 60
    assert len(read_video(tmp_path / "b%03d.mkv").frames) == 25


@pytest.mark.parametrize("name", ["12:30:45.mkv", "http:a.mkv", "concat:a|b.mkv", "-a.mkv", "a\nb.mkv", "a b.mkv"])
def test_any_name_that_the_file_system_takes_is_read(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    recording(Path("plain.mkv"), "libx264", RED).rename(name)
    assert len(read_video(name).frames) == 25 and probe(name).width == 96 and len(read_signals(Path(name))) == 25


def test_a_name_that_is_no_text_is_read(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mkv"))
    recording(tmp_path / "plain.mkv", "libx264", RED).rename(path)
    assert len(read_video(path).frames) == 25


def test_pages_documents_and_raw_photographs_are_refused_by_name(tmp_path):
    page = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    page.save(tmp_path / "two.tiff", save_all=True, append_images=[page])
    page.save(tmp_path / "one.pdf")
    page.save(tmp_path / "raw.nef", format="TIFF")
    page.save(tmp_path / "raw.tiff", tiffinfo={50706: b"\x01\x04\x00\x00"})
    os.mkfifo(tmp_path / "pipe.mp4")
    said = {"two.tiff": "has 2 pages", "one.pdf": "is a PDF", "raw.nef": "raw photo", "raw.tiff": "raw photo"}
    for name, message in {**said, "pipe.mp4": "is a pipe or a device"}.items():
        for read in (read_video, read_image, probe):
            with pytest.raises(UsageError, match=message):
                read(tmp_path / name)


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def tiled_photograph(path: Path) -> Path:
    """Two HEVC tiles of 64x64 next to each other, as phones write photographs."""
    coded = []
    for colour in (RED, BLUE):
        with av.open(str(path.with_suffix(".mp4")), "w") as container:
            options = {"x265-params": "log-level=none:keyint=1:info=0"}
            stream = container.add_stream("libx265", rate=1, options=options)
            stream.width = stream.height = 64
            stream.pix_fmt, stream.codec_context.codec_tag = "yuv420p", "hvc1"
            container.mux(stream.encode(frame((64, 64), colour, 0, 1)))
            container.mux(stream.encode(None))
        data = path.with_suffix(".mp4").read_bytes()
        found = []
        for kind in (b"hvcC", b"mdat"):
            at = data.index(kind)
            found.append(data[at + 4 : at - 4 + struct.unpack(">I", data[at - 4 : at])[0]])
        coded.append(found)
    grid = struct.pack(">BBBBHH", 0, 0, 0, 1, 128, 64)
    infe = [
        box(b"infe", struct.pack(">IHH", 2 << 24 | (n < 3), n, 0), b"hvc1" if n < 3 else b"grid", b"\0")
        for n in (1, 2, 3)
    ]
    sizes = [box(b"ispe", struct.pack(">III", 0, width, 64)) for width in (64, 128)]
    properties = [*(box(b"hvcC", config) for config, _ in coded), *sizes]
    owned = b"".join(struct.pack(">HB2B", n, 2, 0x80 | n, 3) for n in (1, 2)) + struct.pack(">HBB", 3, 1, 4)

    def meta(start: int) -> bytes:
        places, at = struct.pack(">IBBH", 1 << 24, 0x44, 0, 3), start
        for n, (_, sample) in enumerate(coded, 1):
            places += struct.pack(">HHHHII", n, 0, 0, 1, at, len(sample))
            at += len(sample)
        places += struct.pack(">HHHHII", 3, 1, 0, 1, 0, len(grid))
        return box(
            b"meta",
            struct.pack(">I", 0),
            box(b"hdlr", struct.pack(">II", 0, 0), b"pict", bytes(13)),
            box(b"pitm", struct.pack(">IH", 0, 3)),
            box(b"iloc", places),
            box(b"iinf", struct.pack(">IH", 0, 3), *infe),
            box(b"iref", struct.pack(">I", 0), box(b"dimg", struct.pack(">HH2H", 3, 2, 1, 2))),
            box(b"iprp", box(b"ipco", *properties), box(b"ipma", struct.pack(">II", 0, 3), owned)),
            box(b"idat", grid),
        )

    head = box(b"ftyp", b"heic", struct.pack(">I", 0), b"mif1heic")
    samples = box(b"mdat", *(sample for _, sample in coded))
    path.write_bytes(head + meta(len(head) + len(meta(0)) + 8) + samples)
    return path


def test_a_photograph_in_tiles_is_read_whole_with_the_extra(tmp_path):
    pytest.importorskip("pillow_heif")
    picture = read_image(tiled_photograph(tmp_path / "a.heic"))
    assert picture.shape == (64, 128, 3)
    for column, colour in ((32, RED), (96, BLUE)):
        assert np.abs(picture[32, column].numpy().astype(int) - colour).max() < 8


def test_without_the_extra_a_photograph_in_tiles_is_refused_by_name(tmp_path, monkeypatch):
    path = tiled_photograph(tmp_path / "a.heic")
    monkeypatch.setattr("minisora.video.open._picture_formats", lambda: ("PNG", "JPEG"))
    for read in (read_image, read_video, probe):
        with pytest.raises(UsageError, match=r"minisora\[heic\]"):
            read(path)
