"""What one decode tells of a file, and what becomes of files that are broken."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from minisora.curate.lost import MediaError
from minisora.curate.signals import Reading, perceptual_hash, read_signals
from tests.helpers import films


def test_the_file_is_described_as_it_is_shown(tmp_path):
    path = films.write(tmp_path / "film.mp4", films.pan(0, 12, 98, 130), fps=25, rotation=90, sounds=2)
    media = read_signals(path).media
    assert (media.height, media.width, media.rotation) == (130, 98, 90)
    assert (media.fps, media.codec, media.num_videos, media.num_sounds) == (25, "h264", 1, 2)
    assert media.seconds == pytest.approx(12 / 25, abs=1e-3)
    assert media.size_bytes == path.stat().st_size


def test_times_of_a_varying_rate(tmp_path):
    seconds = [0.0, 0.1, 0.15, 0.6, 0.61, 1.5]
    signals = read_signals(films.write(tmp_path / "film.mkv", films.pan(0, 6), seconds=seconds))
    np.testing.assert_allclose(signals.frames["seconds"], seconds, atol=2e-3)
    assert signals.samples["frame"].tolist() == [0, 3, 5]  # the first after each quarter of a second


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "mpeg4", "mjpeg", "ffv1"])
def test_codecs(tmp_path, codec):
    pixels = {"mjpeg": "yuvj420p"}.get(codec, "yuv420p")
    frames = films.pan(3, 8)
    signals = read_signals(films.write(tmp_path / "film.mkv", frames, codec=codec, pixel_format=pixels, options={}))
    grey = frames @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(signals.frames["luma"], grey.mean((1, 2)), atol=3)


def test_levels_of_a_known_picture(tmp_path):
    frames = np.full((4, 64, 64, 3), 128, np.uint8)
    frames[:, :32] = 0
    frames[:, :, :16] = 255
    told = read_signals(films.write(tmp_path / "film.mkv", frames, codec="ffv1", pixel_format="yuv444p")).frames
    assert told["black"] == pytest.approx([0.375] * 4)
    assert told["clipped"] == pytest.approx([0.25] * 4)
    assert told["luma"] == pytest.approx([0.25 * 255 + 0.375 * 128] * 4, abs=1)


def test_bars_are_measured_as_shown(tmp_path):
    frames = films.boxed(films.pan(0, 4, 100, 200), top=10, bottom=20, left=40)
    upright = read_signals(films.write(tmp_path / "a.mp4", frames)).samples
    turned = read_signals(films.write(tmp_path / "b.mp4", frames, rotation=90)).samples
    sides = ("top", "right", "bottom", "left")
    assert [upright[side][0] for side in sides] == pytest.approx([0.1, 0, 0.2, 0.2], abs=0.011)
    assert [turned[side][0] for side in sides] == pytest.approx([0, 0.2, 0.2, 0.1], abs=0.011)


def test_sharpness_falls_when_a_film_is_blurred(tmp_path):
    sharp, soft = (
        read_signals(films.write(tmp_path / f"{grain}.mp4", np.repeat(films.texture(1, 256, 256, grain)[None], 3, 0)))
        for grain in (1.0, 4.0)
    )
    assert sharp.samples["sharpness"][0] > 10 * soft.samples["sharpness"][0]


def test_hashes_of_the_same_picture_are_near_and_of_others_far():
    pictures = [films.texture(seed, 144, 256, 12.0)[..., 1] for seed in range(8)]
    hashes = [perceptual_hash(picture) for picture in pictures]
    brighter = [perceptual_hash(np.clip(picture * 0.9 + 20, 0, 255).astype(np.uint8)) for picture in pictures]
    assert max((a ^ b).bit_count() for a, b in zip(hashes, brighter, strict=True)) <= 6
    assert min((hashes[i] ^ hashes[j]).bit_count() for i in range(8) for j in range(i)) >= 14


def broken(tmp_path, kind):
    path = tmp_path / "film.mp4"
    if kind == "unreadable":
        path.write_text("this is a text, whatever its name says\n" * 20)
    elif kind == "empty":
        path.touch()
    elif kind == "no_video":
        films.write(path, films.pan(0, 2), sounds=1)
        sound_only(path, tmp_path / "sound.mp4").replace(path)
    elif kind == "truncated":
        options = {"movflags": "+faststart"}
        films.truncated(films.write(path, films.pan(0, 96), container_options=options), 0.5)
    elif kind == "too_short":
        films.write(path, films.pan(0, 1))
    return path


def sound_only(path, target):
    import av

    with av.open(str(path)) as source, av.open(str(target), "w") as sink:
        track = source.streams.audio[0]
        copy = sink.add_stream_from_template(track)
        for packet in source.demux(track):
            if packet.dts is not None:
                packet.stream = copy
                sink.mux(packet)
    return target


@pytest.mark.parametrize("kind", ["missing", "unreadable", "empty", "no_video", "truncated", "too_short"])
def test_a_broken_file_has_a_reason(tmp_path, kind):
    with pytest.raises(MediaError) as caught:
        read_signals(broken(tmp_path, kind))
    assert caught.value.reason == kind
    assert "film.mp4" in str(caught.value)


def test_a_file_without_its_index_is_unreadable(tmp_path):
    path = films.truncated(films.write(tmp_path / "film.mp4", films.pan(0, 24)), 0.9)
    with pytest.raises(MediaError) as caught:
        read_signals(path)
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "libx264"), ("flv", "libx264"), ("avi", "mpeg4")])
def test_a_file_that_is_cut_off_is_truncated_with_and_without_sound(tmp_path, suffix, codec):
    """If the header states only the whole length, the sound's must not pass for the picture's."""
    options = {"preset": "veryfast"} if codec == "libx264" else {"q": "4"}
    for sounds in (0, 1):
        path = tmp_path / f"film{sounds}.{suffix}"
        films.write(path, films.pan(0, 96), codec=codec, options=options, sounds=sounds)
        assert read_signals(path).media.seconds == pytest.approx(4.0, abs=0.2)
        with pytest.raises(MediaError) as caught:
            read_signals(films.truncated(path, 0.6))
        assert caught.value.reason == "truncated"


def test_nothing_is_decoded_far_beyond_what_is_asked_for(tmp_path):
    path = films.write(tmp_path / "film.mp4", films.pan(0, 240, right=0.5))
    whole, part = read_signals(path), read_signals(path, Reading(until=2.0))
    assert len(whole) == 240 and 2.0 < part.frames["seconds"][-1] < 8.0
    assert part.media == whole.media
    for name, column in part.frames.items():
        np.testing.assert_array_equal(column, whole.frames[name][: len(part)])


def test_time_is_limited(tmp_path):
    path = films.write(tmp_path / "film.mp4", films.pan(0, 12))
    with pytest.raises(MediaError) as caught:
        read_signals(path, Reading(timeout_seconds=0))
    assert caught.value.reason == "timeout"


def check_damaged(folder, count, seconds_each):
    """Every damaged file ends in signals or in a MediaError, and soon."""
    written = films.whole_films(folder)
    rng = np.random.default_rng(0)
    ends: dict[str, int] = {}
    for number in range(count):
        whole = written[number % len(written)]
        path = folder / f"damaged{whole.suffix}"
        path.write_bytes(films.damaged(whole.read_bytes(), rng))
        begun = time.monotonic()
        try:
            signals = read_signals(path, Reading(timeout_seconds=seconds_each))
            assert all(np.isfinite(column).all() for column in signals.frames.values())
            end = "signals"
        except MediaError as error:
            end = error.reason
        assert time.monotonic() - begun < seconds_each + 5, f"file {number} took too long"
        ends[end] = ends.get(end, 0) + 1
    return ends


def test_damaged_files_end_in_signals_or_a_reason(tmp_path):
    ends = check_damaged(tmp_path, 40, 20)
    assert set(ends) <= {"signals", "unreadable", "empty", "no_video", "truncated", "too_short"}


@pytest.mark.long
def test_a_thousand_damaged_files_end_in_signals_or_a_reason(tmp_path):
    ends = check_damaged(tmp_path, 1000, 20)
    assert sum(ends.values()) == 1000 and "timeout" not in ends


def test_memory_does_not_grow_with_the_length(tmp_path):
    """Of what Python holds: ten times the frames cost the figures of the frames, and no picture."""
    import tracemalloc

    peaks = []
    for count in (20, 120):
        path = films.write(tmp_path / f"{count}.mp4", np.repeat(films.pan(0, 20, 96, 128), count // 20, axis=0))
        tracemalloc.start()
        read_signals(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 100 * 400  # bytes a frame; one small frame has 36,864


def test_decoding_leaves_no_thread_and_no_open_file(tmp_path):
    path = films.write(tmp_path / "film.mp4", films.pan(0, 6))
    before = threading.active_count()
    read_signals(path)
    path.unlink()
    assert threading.active_count() == before
