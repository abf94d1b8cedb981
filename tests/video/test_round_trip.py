import os
import resource
import signal
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from PIL import Image

from minisora.errors import UsageError
from minisora.video import Stream, Video, check_writable, probe, read_frames, read_image, read_video, write_video


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(10 * torch.log10(255**2 / (a.float() - b.float()).square().mean()))


@pytest.mark.parametrize("size", [(48, 64), (49, 63), (17, 2)])
@pytest.mark.parametrize("fps", [8, 30, 24000 / 1001])
def test_ffv1_is_exact(tmp_path, scene, size, fps):
    frames = scene(9, *size)
    assert write_video(tmp_path / "a.mkv", frames, fps=fps) == []
    video = read_video(tmp_path / "a.mkv")
    assert torch.equal(video.frames, frames) and video.fps == pytest.approx(fps, abs=1e-3)


@pytest.mark.parametrize(("suffix", "least"), [(".mp4", 31), (".webm", 31), (".gif", 28)])
@pytest.mark.parametrize("fps", [8, 12.5, 30])
def test_lossy_formats_keep_size_rate_and_number(tmp_path, scene, suffix, least, fps):
    frames = scene(11, 48, 64)
    frames[4] = frames[3]  # equal frames must not be merged
    path = tmp_path / f"a{suffix}"
    notes = write_video(path, frames, fps=fps)
    video = read_video(path)
    assert video.frames.shape == frames.shape and video.fps == pytest.approx(fps, rel=1e-6)
    assert psnr(video.frames, frames) > least
    assert bool(notes) == (suffix == ".gif" and 100 % fps != 0)
    seen = probe(path)
    assert (seen.height, seen.width) == (48, 64) and seen.seconds == pytest.approx(11 / fps, abs=0.011)


@pytest.mark.parametrize("size", [(47, 64), (48, 63), (33, 35)])
def test_only_h264_pads_odd_sizes_and_says_so(tmp_path, scene, size):
    frames = scene(5, *size)
    notes = write_video(tmp_path / "a.mp4", frames, fps=8)
    assert len(notes) == 1 and f"{size[0]}x{size[1]}" in notes[0] and "padded" in notes[0]
    read = read_video(tmp_path / "a.mp4").frames
    assert read.shape[1:3] == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    assert psnr(read[:, : size[0], : size[1]], frames) > 28
    assert psnr(read[:, -1, : size[1]], frames[:, -1]) > 25  # the padding repeats the edge
    for suffix in (".webm", ".gif", ".mkv"):
        write_video(tmp_path / f"a{suffix}", frames, fps=10)
        assert read_video(tmp_path / f"a{suffix}").frames.shape == frames.shape


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
@pytest.mark.parametrize(
    "colour", [(255, 0, 0), (0, 200, 0), (20, 40, 230), (255, 255, 255), (0, 0, 0), (240, 200, 10)]
)
def test_flat_colours_come_back(tmp_path, suffix, colour):
    """Matrix and range are written as they are read: a mistake moves these by 10 or more."""
    frames = torch.tensor(colour, dtype=torch.uint8).expand(4, 32, 32, 3).contiguous()
    write_video(tmp_path / f"a{suffix}", frames, fps=10)
    assert (read_video(tmp_path / f"a{suffix}").frames.int() - frames.int()).abs().max() <= 4


def test_mp4_says_how_its_colours_are_coded(tmp_path, scene):
    write_video(tmp_path / "a.mp4", scene(3, 32, 32), fps=8)
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range, context.pix_fmt) == (1, 1, "yuv420p")
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # plays before all of it has arrived


def test_zoom_repeats_pixels(tmp_path, scene):
    frames = scene(3, 10, 12)
    write_video(tmp_path / "a.mkv", frames, fps=8, zoom=3)
    expected = np.kron(frames.numpy(), np.ones((1, 3, 3, 1), dtype=np.uint8))
    assert np.array_equal(read_video(tmp_path / "a.mkv").frames.numpy(), expected)


def test_png_is_one_exact_picture_or_a_numbered_sequence(tmp_path, scene):
    frames = scene(3, 21, 33)
    assert write_video(tmp_path / "a.png", frames[:1], fps=8) == []
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), frames[0].numpy())
    assert torch.equal(read_image(tmp_path / "a.png"), frames[0])
    with pytest.raises(UsageError, match=r"a-%04d.png"):
        write_video(tmp_path / "a.png", frames, fps=8)
    assert "8 fps" in write_video(tmp_path / "b-%04d.png", frames, fps=8)[0]
    assert sorted(path.name for path in tmp_path.glob("b-*")) == [f"b-000{i}.png" for i in range(3)]
    assert torch.equal(read_image(tmp_path / "b-0002.png"), frames[2])


def test_a_gif_too_fast_for_browsers_leaves_frames_out_and_says_so(tmp_path):
    shades = torch.arange(0, 250, 50, dtype=torch.uint8)[:, None, None, None].expand(-1, 8, 8, 3)
    notes = write_video(tmp_path / "a.gif", shades, fps=120)
    assert "at most 50" in notes[0] and "of 3 frames in a row it holds the first" in notes[0]
    frames, fps = read_frames(tmp_path / "a.gif")
    assert frames[:, 0, 0, 0].tolist() == [0, 150] and fps == pytest.approx(40, rel=0.3)


@pytest.mark.parametrize("fps", [0.0, 1e-6, float("inf"), float("nan")])
def test_what_is_no_rate_is_refused(tmp_path, scene, fps):
    with pytest.raises(UsageError, match="is no rate"):
        write_video(tmp_path / "a.mp4", scene(3, 8, 8), fps=fps)
    assert list(tmp_path.iterdir()) == []


def test_a_stream_has_a_contact_sheet_whatever_it_was_written_to(tmp_path, scene):
    frames = scene(100, 8, 8)
    stream = Stream(iter(frames.split(7)), 100, 8, 8, 8.0)
    with pytest.raises(UsageError, match="would hold one picture"):
        stream.save(tmp_path / "a.png")
    stream.save(tmp_path / "a-%04d.png")
    sheet = Video(frames, 8.0).contact_sheet()
    assert np.array_equal(np.asarray(stream.contact_sheet()), np.asarray(sheet))


@pytest.mark.parametrize(("have", "fps"), [(25, 8), (8, 25), (29.97, 8), (30, 8), (8, 16), (24, 23), (10, 3)])
def test_another_rate_is_that_which_a_file_read_at_it_has(tmp_path, have, fps):
    for count in (1, 2, 22, 251):
        shades = torch.arange(count).to(torch.uint8)[:, None, None, None].expand(-1, 8, 8, 3)
        Video(shades, have).save(tmp_path / "a.mkv")
        from_file = read_frames(tmp_path / "a.mkv", fps=fps)[0]
        ours = Video(shades, have).at_rate(fps).frames
        assert ours.shape == from_file.shape, count
        # Matroska rounds times to 1 ms, which may be on the other side of the requested moment
        assert int((ours.int() - from_file.int()).abs().max()) <= (have == 29.97), count


def test_names_that_cannot_be_written_are_refused_first(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    for name, said in {
        "folder.mp4": "is a folder",
        "a": r"\.mp4, \.webm",
        "a.avi": r"\.mkv",
        "no/a.mp4": "no folder",
    }.items():
        with pytest.raises(UsageError, match=said):
            check_writable(tmp_path / name)
    check_writable(tmp_path / "a.MP4")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.mp4"]


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a limit on the size of files")
@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "a.mkv", "a.png", "a-%02d.png"])
def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path, name):
    """A limit on the size of files stands in for the full disk: the write fails in the middle."""
    noise = torch.randint(0, 256, (1 if name == "a.png" else 8, 96, 96, 3), dtype=torch.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, before[1]))
    try:
        with pytest.raises(UsageError, match="not written"):
            write_video(tmp_path / name, noise, fps=8, crf=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif", ".mkv"])
def test_an_interrupt_leaves_the_file_that_was_there(tmp_path, scene, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"what was there")
    make, made = av.VideoFrame.from_ndarray, []

    def interrupted(*args, **kwargs):
        made.append(1)
        if len(made) == 5:
            raise KeyboardInterrupt
        return make(*args, **kwargs)

    monkeypatch.setattr(av, "VideoFrame", SimpleNamespace(from_ndarray=interrupted))
    with pytest.raises(KeyboardInterrupt):
        write_video(path, scene(9, 32, 32), fps=8)
    assert path.read_bytes() == b"what was there" and list(tmp_path.iterdir()) == [path]


def test_a_video_shows_and_saves_itself(tmp_path, scene):
    video = Video(scene(14, 40, 56), 8)
    assert video.seconds == 1.75 and "14 frames of 40x56 at 8 fps" in repr(video)
    assert "data:video/mp4;base64," in video._repr_mimebundle_()["text/html"]
    assert "data:image/png;base64," in Video(video.frames[:1], 8)._repr_html_()
    video.save(tmp_path / "a.mkv")
    assert torch.equal(Video.open(tmp_path / "a.mkv").frames, video.frames)
    sheet = video.contact_sheet(tmp_path / "a.png", columns=5)
    assert Image.open(tmp_path / "a.png").size == sheet.size
    height, width = 3 * 40, 3 * 56  # 128 rows ask for a zoom of 3
    assert sheet.size == (5 * (width + 4) + 4, 3 * (height + 4) + 8 - 4)
    pixels = np.asarray(sheet)[4 + 60 : 4 + 120, 4 : 4 + width]  # the lower half of the first tile, below the numbers
    assert np.array_equal(pixels, np.kron(video.frames[0].numpy(), np.ones((3, 3, 1), dtype=np.uint8))[60:120])


def test_the_folder_may_be_relative(tmp_path, scene, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video("a.gif", scene(3, 8, 8), fps=10)
    assert os.listdir() == ["a.gif"] and len(read_video(Path("a.gif")).frames) == 3
