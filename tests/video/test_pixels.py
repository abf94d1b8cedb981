"""Files of every coding, read as sRGB: what is in them is known, or told by zscale."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import VideoReformatter

from minisora.errors import UsageError
from minisora.video import pixels, read_clip, read_frames, read_image
from minisora.video.colour import light_to_srgb, pq_to_light
from minisora.video.pixels import Converter
from tests.helpers import colours

WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087)}
WEIGHTS |= {9: (0.2627, 0.0593)}
COLOURS = np.array(
    [[0, 0, 0], [46, 46, 46], [200, 30, 40], [30, 180, 60], [40, 60, 200], [220, 200, 90], [255, 255, 255]]
)


def pq(nits):
    power = (np.asarray(nits) / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(nits):
    scene = (np.asarray(nits) / 1000) ** (1 / 1.2)  # of grey
    return np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(12 * np.maximum(scene, 0.1) - 0.28466892) + 0.55991073
    )


def numbers(rgb, matrix, *, bits=8, full=False):
    """Y'CbCr of R'G'B' in 0..1, by H.273."""
    red, blue = WEIGHTS[matrix]
    rgb = np.asarray(rgb, np.float64)
    luma = rgb @ [red, 1 - red - blue, blue]
    parts = [luma, (rgb[:, 2] - luma) / (2 - 2 * blue), (rgb[:, 0] - luma) / (2 - 2 * red)]
    step, most = 1 << (bits - 8), (1 << bits) - 1
    scales = [(most, 0), (most, 128 * step)] if full else [(219 * step, 16 * step), (224 * step, 128 * step)]
    values = [part * scale + zero for part, (scale, zero) in zip(parts, (scales[0], scales[1], scales[1]), strict=True)]
    return np.clip(np.round(np.stack(values, 1)), 0, most).astype(np.uint16 if bits > 8 else np.uint8)


def in_format(planes, pixel_format):
    """Chroma planes as small as the format has them; stripes are wide enough."""
    across, down = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}[pixel_format[3:6]]
    return [planes[0], *(plane[::down, ::across] for plane in planes[1:])]


def file_of(
    path, rgb, pixel_format="yuv444p", *, matrix=1, full=False, codec="ffv1", rotation=None, frames=1, width=16, **tags
):
    bits = 10 if "10" in pixel_format else 12 if "12" in pixel_format else 8
    planes = in_format(colours.stripes(numbers(rgb, matrix, bits=bits, full=full), width=width), pixel_format)
    said = {"matrix": matrix, **tags}
    made = [colours.frame_of(planes, pixel_format, full=full, **said) for _ in range(frames)]
    return colours.write(path, made, codec=codec, rotation=rotation)


def read(path, count):
    return colours.seen(read_frames(path)[0][0], count)


@pytest.mark.parametrize(
    ("codec", "pixel_format"), [("libx265", "yuv420p10le"), ("libsvtav1", "yuv420p10le"), ("ffv1", "yuv422p12le")]
)
@pytest.mark.parametrize(("transfer", "curve"), [(16, pq), (18, hlg)])
def test_hdr_is_tone_mapped(tmp_path, codec, pixel_format, transfer, curve):
    """Black, two greys, white and the sun: greys as an SDR file of the scene has them."""
    light = np.array([0, 0.02, 0.18, 1.0, 4.5])
    rgb = np.repeat(curve(203 * light)[:, None], 3, 1)
    path = tmp_path / ("a.mkv" if codec == "ffv1" else "a.mp4")
    file_of(path, rgb, pixel_format, matrix=9, primaries=9, transfer=transfer, codec=codec, frames=3, width=32)
    got = read(path, 5)
    assert np.abs(got[:4] - 255 * light_to_srgb(light[:4])[:, None]).max() <= 2
    assert (got[4] == 255).all()
    assert np.array_equal(got, colours.seen(read_clip(path, start=0, num_frames=1, fps=25)[0], 5))


def test_hdr_of_a_phone_held_upright(tmp_path):
    light = np.array([0.18, 1.0])
    path = file_of(
        tmp_path / "a.mp4",
        np.repeat(hlg(203 * light)[:, None], 3, 1),
        "yuv420p10le",
        matrix=9,
        primaries=9,
        transfer=18,
        codec="libx265",
        rotation=-90,
        frames=2,
        width=64,
    )
    frame = read_image(path).int()
    assert frame.shape == (128, 32, 3)
    assert (frame[16, 16] - 118).abs().max() <= 2 and frame[100, 16].min() >= 253


def test_hdr_without_other_tags_is_of_bt_2020(tmp_path):
    rgb = np.array([[0.4, 0.45, 0.3]])
    tagged = file_of(tmp_path / "a.mkv", rgb, "yuv444p10le", matrix=9, primaries=9, transfer=16)
    planes = colours.stripes(numbers(rgb, 9, bits=10))
    bare = colours.write(tmp_path / "b.mkv", [colours.frame_of(planes, "yuv444p10le", transfer=16)])
    assert np.array_equal(read(tagged, 1), read(bare, 1))


@pytest.mark.parametrize(
    "side", ["max-cll=400,100", "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(4000000,1)"]
)
def test_the_peak_is_the_one_that_the_file_names(tmp_path, side):
    """At 400 cd/m2 the shoulder is over; with the default it would be just short of its end."""
    path = tmp_path / "a.hevc"
    planes = in_format(colours.stripes(numbers([[0.5] * 3], 9, bits=10), 64, 64), "yuv420p10le")
    frame = colours.frame_of(planes, "yuv420p10le", primaries=9, transfer=16, matrix=9)
    colours.write(path, [frame], codec="libx265", options={"x265-params": f"log-level=none:hdr10=1:{side}"})
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        first = next(container.decode(stream))
        assert Converter(stream, first).peak == 400.0


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p"])
@pytest.mark.parametrize("full", [False, True])
def test_sdr_of_ten_bits_is_like_that_of_eight(tmp_path, pixel_format, full):
    """The same numbers with two bits more, which rounding takes away; and greys of their own."""
    eight, tags = numbers(COLOURS / 255, 1, full=full), {"matrix": 1, "primaries": 1, "transfer": 1, "full": full}
    ten = eight.astype(np.uint16) * 4 + np.where(eight < 255, np.arange(7)[:, None] % 3 - 1, 0) * (eight > 0)
    pictures = [
        colours.write(
            tmp_path / f"{name}.mkv", [colours.frame_of(in_format(colours.stripes(columns), name[:7]), name, **tags)]
        )
        for name, columns in ((pixel_format, eight), (f"{pixel_format}10le", ten.astype(np.uint16)))
    ]
    assert np.abs(read(pictures[0], 7) - read(pictures[1], 7)).max() <= 1
    greys = np.linspace(0, 1, 8)[:, None].repeat(3, 1)
    path = file_of(tmp_path / "c.mkv", greys, f"{pixel_format}10le", full=full, primaries=1, transfer=1)
    assert np.abs(read(path, 8) - 255 * greys).max() <= 1


def test_sdr_of_eight_bits_is_what_the_scaler_gives(tmp_path):
    rng = np.random.default_rng(0)
    planes = [rng.integers(16, 235, (48, 96)).astype(np.uint8), *rng.integers(64, 192, (2, 24, 48)).astype(np.uint8)]
    path = colours.write(tmp_path / "a.mkv", [colours.frame_of(planes, "yuv420p", matrix=1, primaries=1, transfer=1)])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        convert = Converter(stream, frame)
        assert np.array_equal(convert(frame), VideoReformatter().reformat(frame, format="rgb24").to_ndarray())
        assert np.array_equal(
            convert.bgr(frame), VideoReformatter().reformat(frame, format="bgr24", interpolation="BICUBIC").to_ndarray()
        )


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 4, 5, 6, 7, 9])
def test_matrix_and_range_are_those_of_the_tags(tmp_path, matrix, full):
    path = file_of(tmp_path / "a.mkv", COLOURS / 255, matrix=matrix, full=full, primaries=1, transfer=1)
    assert np.abs(read(path, 7) - COLOURS).max() <= 2


@pytest.mark.parametrize(("height", "width", "matrix"), [(32, 16, 6), (578, 16, 1), (32, 184, 1)])
def test_untagged_hd_is_bt_709_and_sd_bt_601(tmp_path, height, width, matrix):
    """Seven stripes: 184 each are 1288 across."""
    planes = colours.stripes(numbers(COLOURS / 255, matrix), height, width)
    path = colours.write(tmp_path / "a.mkv", [colours.frame_of(planes, "yuv444p")])
    assert np.abs(read(path, 7) - COLOURS).max() <= 2


@pytest.mark.skipif(not colours.ffmpeg(), reason="no ffmpeg with zscale here")
@pytest.mark.parametrize(
    ("primaries", "transfer", "matrix", "pixel_format"),
    [
        (5, 6, 5, "yuv444p10le"),
        (6, 6, 6, "yuv444p10le"),
        (12, 1, 1, "yuv444p10le"),
        (9, 14, 9, "yuv444p10le"),
        (1, 1, 8, "yuv444p10le"),
    ],
)
def test_sdr_of_other_colours_is_what_zscale_makes(tmp_path, primaries, transfer, matrix, pixel_format):
    rng = np.random.default_rng(1)
    rgb = np.clip(rng.random((12, 1)) * 0.7 + 0.15 + 0.2 * (rng.random((12, 3)) - 0.5), 0, 1)
    columns = numbers(rgb, matrix if matrix in WEIGHTS else 1, bits=10)
    if matrix == 8:  # in the terms of YCgCo any numbers will do: greys, a little off
        columns = np.stack([columns[:, 0], 512 + columns[:, 0] // 32, 512 - columns[:, 0] // 24], 1).astype(np.uint16)
    planes = colours.stripes(columns)
    tags = {"primaries": primaries, "transfer": transfer, "matrix": matrix}
    path = colours.write(tmp_path / "a.mkv", [colours.frame_of(planes, pixel_format, **tags)])
    wanted = 255 * colours.zscaled(planes, pixel_format, "zscale=m=gbr:r=full:p=bt709:agamma=0", **tags)
    assert np.abs(read(path, 12) - colours.seen(np.round(wanted), 12)).max() <= 2


@pytest.mark.parametrize(("matrix", "name"), [(10, "bt2020c"), (11, "smpte2085"), (14, "ictcp")])
def test_what_is_not_converted_is_refused_by_name(tmp_path, matrix, name):
    planes = colours.stripes(numbers(COLOURS / 255, 1))
    path = colours.write(
        tmp_path / "a.mkv", [colours.frame_of(planes, "yuv444p", matrix=matrix, primaries=9, transfer=14)]
    )
    for reader in (read_frames, read_image):
        with pytest.raises(UsageError, match=rf"a\.mkv.*bt2020/bt2020-10/{name}"):
            reader(path)


def test_dolby_vision_alone_is_refused(tmp_path, monkeypatch):
    """No encoder here writes it: a file without tags, with side data as Dolby Vision has it."""
    path = file_of(tmp_path / "a.mkv", COLOURS / 255, matrix=1)
    monkeypatch.setattr(pixels, "side_data", lambda stream, frame, kind: b"\1" * (kind == SideData.DOVI_METADATA))
    with pytest.raises(UsageError, match=r"a\.mkv.*Dolby Vision"):
        read_frames(path)


def test_transparency_is_blended_after_the_colours(tmp_path):
    """White and grey, half transparent: a mix of what is shown, not of its light."""
    columns = numbers(np.repeat(pq([203 * 0.18, 203])[:, None], 3, 1), 9, bits=10)
    planes = [*colours.stripes(columns), np.full((32, 32), 512, np.uint16)]
    frame = colours.frame_of(planes, "yuva444p10le", primaries=9, transfer=16, matrix=9)
    path = colours.write(tmp_path / "a.mkv", [frame])
    got = colours.seen(read_frames(path, background="black")[0][0], 2)
    assert np.abs(got - np.array([[59], [127]])).max() <= 2
    got = colours.seen(read_frames(path, background="white")[0][0], 2)
    assert np.abs(got - np.array([[118 / 2 + 127.5], [254.5]])).max() <= 2


@pytest.mark.parametrize(
    ("pixel_format", "most", "kind"),
    [("gray10le", 1023, np.uint16), ("gray", 255, np.uint8), ("gbrp12le", 4095, np.uint16)],
)
def test_grey_and_rgb_of_any_depth(tmp_path, pixel_format, most, kind):
    levels = np.array([0, 46, 118, 200, 255])
    columns = np.round(levels[:, None] * (most / 255)).astype(kind).repeat(3 if "gbr" in pixel_format else 1, 1)
    path = colours.write(
        tmp_path / "a.mkv",
        [colours.frame_of(colours.stripes(columns), pixel_format, full=True, matrix=0 if "gbr" in pixel_format else 2)],
    )
    assert np.abs(read(path, 5) - levels[:, None]).max() <= 1


@pytest.mark.parametrize(("pixel_format", "most"), [("gbrp10le", 1023), ("gray16le", 65535)])
def test_hdr_in_grey_and_rgb(tmp_path, pixel_format, most):
    columns = np.round(pq(203 * np.array([0, 0.18, 1]))[:, None] * most).astype(np.uint16)
    columns = columns.repeat(3 if "gbr" in pixel_format else 1, 1)
    frame = colours.frame_of(colours.stripes(columns), pixel_format, full=True, matrix=0, primaries=9, transfer=16)
    assert np.abs(read(colours.write(tmp_path / "a.mkv", [frame]), 3) - [[0], [118], [254]]).max() <= 1


@pytest.mark.parametrize("name", ["a.exr", "a.hdr"])
def test_floating_point_pictures_are_linear_light(tmp_path, name):
    light = np.array([0, 0.02, 0.18, 0.5, 1.0], np.float32)
    frame = colours.frame_of(colours.stripes(light[:, None].repeat(3, 1)), "gbrpf32le", full=True)
    with av.open(str(tmp_path / name), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream(name[2:], rate=1)
        stream.height, stream.width, stream.pix_fmt = frame.height, frame.width, "gbrpf32le"
        frame.pts, frame.time_base = 0, Fraction(1)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    got = colours.seen(read_image(tmp_path / name), 5)
    assert np.abs(got - 255 * light_to_srgb(light)[:, None]).max() <= 2


def test_tags_that_change_on_the_way_are_followed(tmp_path):
    """A recording that begins in SDR and goes on in HDR: each frame by its own tags."""
    sdr = colours.frame_of(
        colours.stripes(numbers([[0.46] * 3], 1, bits=10)), "yuv444p10le", matrix=1, primaries=1, transfer=1
    )
    hdr = colours.frame_of(
        colours.stripes(numbers([[float(pq(203 * 0.18))] * 3], 9, bits=10)),
        "yuv444p10le",
        matrix=9,
        primaries=9,
        transfer=16,
    )
    path = colours.write(tmp_path / "a.mkv", [sdr])
    with av.open(str(path)) as container:
        convert = Converter(container.streams.video[0], sdr)
        assert np.abs(convert(sdr).astype(int) - 117).max() <= 1 and np.abs(convert(hdr).astype(int) - 118).max() <= 1


def test_pq_of_this_file_is_the_inverse():
    np.testing.assert_allclose(pq_to_light(pq(203 * np.array([0.01, 0.18, 1, 4]))), [0.01, 0.18, 1, 4], rtol=1e-6)
