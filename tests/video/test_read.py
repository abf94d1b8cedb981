"""Files as the world makes them, made here with av so that the truth is known."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from minisora.errors import UsageError
from minisora.video import probe, read_clip, read_frames, read_image, read_video, write_video


def encode(
    path: Path, arrays, *, codec="ffv1", pix_fmt="bgr0", source="rgb24", times=None, rotation=None, **stream_settings
):
    """Write (H, W, C) arrays at the times given in milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *arrays[0].shape[:2], pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000)
        for name, value in stream_settings.items():
            setattr(stream, name, value)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for i, array in enumerate(arrays):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format=source).reformat(format=pix_fmt)
            frame.pts, frame.time_base = (times[i] if times else i * 40), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def numbered(count, height=32, width=48):
    """Frames whose grey level tells which they are: 10 i."""
    return [np.full((height, width, 3), 10 * i, dtype=np.uint8) for i in range(count)]


def which(frames):
    return (frames[:, 16, 16, 0].float() / 10).round().int().tolist()


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (-90, -1), (0, 0)])
def test_rotation_is_undone(tmp_path, degrees, turns):
    """FFmpeg counts the rotation for showing counter-clockwise, as numpy does."""
    picture = np.zeros((32, 48, 3), dtype=np.uint8)
    picture[:8, :16] = (250, 20, 20)  # red in the corner on top left
    picture[24:, :16] = (20, 20, 250)
    path = encode(tmp_path / "a.mp4", [picture] * 3, codec="libx264", pix_fmt="yuv420p", rotation=degrees)
    expected = np.rot90(picture, turns).astype(int)
    for read in (read_video(path).frames[0], read_clip(path, start=0, num_frames=1, fps=5)[0], read_image(path)):
        assert read.shape == expected.shape
        assert np.abs(read.numpy().astype(int) - expected).mean() < 6
    seen = probe(path)
    assert (seen.height, seen.width) == expected.shape[:2]


def test_variable_rate_is_resampled_by_time(tmp_path):
    times = [0, 40, 80, 500, 540, 1000, 1040, 1080]
    path = encode(tmp_path / "a.mkv", numbered(8), times=times)
    frames = read_clip(path, start=0, num_frames=10, fps=10)
    expected = [max(i for i, at in enumerate(times) if at <= k * 100) for k in range(10)]
    assert which(frames) == expected
    assert which(read_clip(path, start=0.5, num_frames=2, fps=1.9)) == [3, 5]
    video = read_video(path)  # the commonest interval is 40 ms
    assert video.fps == pytest.approx(25)
    assert which(video.frames) == [max(i for i, at in enumerate(times) if at <= k * 40) for k in range(28)]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".webm", ".gif"])
def test_whole_rates_pick_every_nth_frame(tmp_path, suffix):
    frames = torch.from_numpy(np.stack(numbered(24)))
    write_video(tmp_path / f"a{suffix}", frames, fps=24)
    assert which(read_frames(tmp_path / f"a{suffix}", fps=8)[0]) == list(range(0, 24, 3))
    assert which(read_frames(tmp_path / f"a{suffix}", fps=48)[0]) == [i // 2 for i in range(48)]
    assert which(read_video(tmp_path / f"a{suffix}").frames) == list(range(24))


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".webm"])
def test_a_clip_from_the_middle_is_the_same_after_seeking(tmp_path, suffix):
    count = 25 * 12
    codes = torch.arange(count)
    frames = torch.zeros(count, 16, 64, 3, dtype=torch.uint8)  # the number in eight black or white bars
    for bit in range(9):
        frames[:, :, bit * 7 : bit * 7 + 7] = ((codes >> bit) % 2 * 255).to(torch.uint8)[:, None, None, None]
    write_video(tmp_path / f"a{suffix}", frames, fps=25)
    for start in (0.0, 1.0, 2.6, 7.24, 11.0):
        clip = read_clip(tmp_path / f"a{suffix}", start=start, num_frames=5, fps=5)
        seen = sum(((clip[:, 8, bit * 7 + 3, 0] > 127).int() << bit) for bit in range(9))
        assert seen.tolist() == [round(start * 25) + 5 * k for k in range(5)]


def test_a_clip_beyond_the_end_is_refused(tmp_path, scene):
    write_video(tmp_path / "a.mp4", scene(17, 32, 32), fps=8)
    assert len(read_clip(tmp_path / "a.mp4", start=0, num_frames=17, fps=8)) == 17
    for start, num_frames in ((0, 18), (1, 10), (5, 1), (1e6, 1)):
        with pytest.raises(UsageError, match=r"a.mp4 ends too early"):
            read_clip(tmp_path / "a.mp4", start=start, num_frames=num_frames, fps=8)
    for start, num_frames, fps in ((-1, 1, 8), (0, 0, 8), (0, 1, 0), (0, 1, float("nan"))):
        with pytest.raises(UsageError, match="no clip"):
            read_clip(tmp_path / "a.mp4", start=start, num_frames=num_frames, fps=fps)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mkv", "ffv1", "yuv420p10le"),
        ("a.mkv", "ffv1", "yuv444p16le"),
        ("a.mkv", "ffv1", "gbrp12le"),
        ("a.mkv", "ffv1", "gray"),
        ("a.mkv", "ffv1", "gray16le"),
        ("a.mkv", "ffv1", "ya8"),
        ("a.mkv", "ffv1", "yuva444p10le"),
        ("a.mp4", "libx264", "yuv422p10le"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.mov", "qtrle", "rgb24"),
        ("a.apng", "apng", "rgba"),
        ("a.gif", "gif", "gray"),
    ],
)
def test_pixel_formats(tmp_path, name, codec, pix_fmt):
    levels = np.repeat(np.array([0, 85, 170, 255], dtype=np.uint8), 8)
    picture = np.broadcast_to(levels[None, :, None], (16, 32, 3))
    path = encode(tmp_path / name, [picture] * 3, codec=codec, pix_fmt=pix_fmt)
    frames = read_frames(path)[0].int()
    assert frames.shape == (3, 16, 32, 3)
    assert (frames - torch.from_numpy(picture.astype(int)))[:, :, 3::8].abs().max() <= 5


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"), [("a.mov", "qtrle", "argb"), ("a.webm", "libvpx-vp9", "yuva420p")]
)
def test_alpha_is_laid_over_the_background(tmp_path, name, codec, pix_fmt):
    picture = np.full((32, 64, 4), (200, 40, 40, 0), dtype=np.uint8)
    picture[:, 16:, 3] = 128
    picture[:, 40:, 3] = 255
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = 32, 64, pix_fmt
        if codec == "libvpx-vp9":
            stream.metadata["alpha_mode"] = "1"
        for i in range(4):
            frame = av.VideoFrame.from_ndarray(picture, format="rgba").reformat(format=pix_fmt)
            frame.pts, frame.time_base = i, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for background, behind in (("white", 255), ("black", 0)):
        frame = read_frames(path, background=background)[0][2].int()
        for column, alpha in ((8, 0), (28, 128 / 255), (52, 1)):
            expected = torch.tensor([200, 40, 40]) * alpha + behind * (1 - alpha)
            assert (frame[16, column] - expected).abs().max() < 6


def test_wide_pixels_are_made_square(tmp_path):
    path = encode(
        tmp_path / "a.mp4", numbered(3), codec="libx264", pix_fmt="yuv420p", sample_aspect_ratio=Fraction(4, 3)
    )
    assert read_frames(path)[0].shape == (3, 32, 64, 3) and probe(path).width == 64


def test_moving_webp(tmp_path):
    pictures = [Image.new("RGBA", (20, 10), (200, 10 * i, 0, 255 if i else 0)) for i in range(6)]
    pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:], duration=125, lossless=True)
    frames, fps = read_frames(tmp_path / "a.webp")
    assert fps == 8 and frames.shape == (6, 10, 20, 3) and frames[:, 0, 0, 1].tolist() == [255, 10, 20, 30, 40, 50]
    assert probe(tmp_path / "a.webp").num_frames == 6 and read_image(tmp_path / "a.webp").shape == (10, 20, 3)


def test_pictures(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), array)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    Image.fromarray(array).save(tmp_path / "b.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "b.png"), np.rot90(array, -1))
    deep = np.linspace(0, 65535, 9 * 14).reshape(9, 14).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "c.png")
    assert np.array_equal(read_image(tmp_path / "c.png")[..., 1], (deep >> 8).astype(np.uint8))
    Image.fromarray(array).quantize(200).save(tmp_path / "d.png", transparency=0)
    assert read_image(tmp_path / "d.png").shape == (9, 14, 3)
    assert read_frames(tmp_path / "a.png")[0].shape == (1, 9, 14, 3)


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "a.mkv"])
def test_a_file_cut_anywhere_gives_frames_or_a_clear_error(tmp_path, scene, name):
    write_video(tmp_path / name, scene(24, 48, 48), fps=8)
    whole = (tmp_path / name).read_bytes()
    cut = tmp_path / f"cut-{name}"
    given = 0
    for size in {*range(0, 60, 7), *range(60, len(whole), max(1, len(whole) // 40))}:
        cut.write_bytes(whole[:size])
        for read in (
            lambda: read_frames(cut),
            lambda: read_clip(cut, start=1, num_frames=2, fps=4),
            lambda: probe(cut),
        ):
            try:
                read()
                given += 1
            except UsageError as error:
                assert str(cut) in str(error)
    assert given > 0


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "a.mkv", "a.png", "a.webp"])
def test_a_file_with_wrong_bytes_gives_frames_or_a_clear_error(tmp_path, scene, name):
    frames = scene(1 if name == "a.png" else 12, 40, 40)
    if name == "a.webp":
        pictures = [Image.fromarray(frame.numpy()) for frame in frames]
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], duration=100)
    else:
        write_video(tmp_path / name, frames, fps=8)
    whole = np.frombuffer((tmp_path / name).read_bytes(), dtype=np.uint8)
    random, hurt = np.random.default_rng(1), tmp_path / f"hurt-{name}"
    for _ in range(40):
        data = whole.copy()
        data[random.integers(0, len(data), 12)] = random.integers(0, 256, 12)
        hurt.write_bytes(data.tobytes())
        for read in (read_frames, read_image, probe):
            try:
                read(hurt)
            except UsageError as error:
                assert str(hurt) in str(error)


def test_a_long_gap_in_a_cut_file_is_said(tmp_path, scene):
    write_video(tmp_path / "a.mp4", scene(48, 48, 48), fps=8)
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(UsageError, match=r"a.mp4 is (cut short|damaged)"):
        read_video(tmp_path / "a.mp4")


def test_a_time_stamp_gone_wrong_does_not_fill_the_memory(tmp_path):
    path = encode(tmp_path / "a.mkv", numbered(4, 256, 256), times=[0, 40, 80, 10**8])
    with pytest.raises(UsageError, match="too long to be read whole"):
        read_video(path)
    assert which(read_clip(path, start=100, num_frames=2, fps=5)) == [2, 2]


def test_what_is_no_video_is_said(tmp_path):
    (tmp_path / "text.mp4").write_text("this is not a video\n" * 200)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    (tmp_path / "folder.mp4").mkdir()
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        container.mux(stream.encode(_silence()))
        container.mux(stream.encode(None))
    for name, said in {
        "text": "cannot be decoded",
        "empty": "0 bytes",
        "list": "list.mp4",
        "folder": "is a folder",
        "sound": "only audio",
        "none": "there is no file",
    }.items():
        for read in (read_video, probe, read_image):
            with pytest.raises(UsageError, match=said):
                read(tmp_path / f"{name}.mp4")


def _silence() -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
    frame.sample_rate = 44100
    return frame


def test_sound_is_seen_and_the_container_is_closed(tmp_path, scene):
    write_video(tmp_path / "a.mp4", scene(9, 32, 32), fps=8)
    assert not probe(tmp_path / "a.mp4").has_audio
    for _ in range(3):
        read_clip(tmp_path / "a.mp4", start=0, num_frames=2, fps=8)
    open_files = [path.resolve() for path in Path("/proc/self/fd").iterdir()] if Path("/proc/self/fd").exists() else []
    assert (tmp_path / "a.mp4").resolve() not in open_files
