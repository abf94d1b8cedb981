"""Pictures with profiles, of any mode and range, with colours named in their headers."""

from __future__ import annotations

import gc
import io
import struct
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from minisora.errors import FileNote
from minisora.video import read_frames, read_image
from minisora.video.colour import light_to_srgb, pq_to_light, srgb_to_light, to_bt709
from minisora.video.pictures import icc_of
from tests.helpers import colours
from tests.helpers.colours import ADOBE, profile

P3 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.3127, 0.329))
SRGB = [(200, 120, 60), (60, 100, 160), (128, 128, 128), (250, 250, 250), (40, 80, 50)]


def numbers_in(points, gamma, srgb=SRGB):
    """What a camera with these primaries writes for sRGB colours, by the formulas."""
    light = srgb_to_light(np.array(srgb) / 255) @ np.linalg.inv(to_bt709(points)).T
    return np.round(255 * np.clip(light, 0, 1) ** (1 / gamma)).astype(np.uint8)


def picture_of(numbers, mode=None, side=16):
    return Image.fromarray(np.repeat(np.asarray(numbers)[None], side, 0).repeat(side, 1), mode)


def seen(path, count=5, **how):
    return colours.seen(read_image(path, **how), count)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp", "avif"])
@pytest.mark.parametrize(("points", "gamma"), [(ADOBE, 563 / 256), (P3, 2.2)])
def test_a_profile_is_followed(tmp_path, suffix, points, gamma):
    path = tmp_path / f"a.{suffix}"
    exact = {
        "jpg": {"quality": 98, "subsampling": 0},
        "webp": {"lossless": True},
        "avif": {"quality": 100, "subsampling": "4:4:4"},
    }
    picture_of(numbers_in(points, gamma)).save(path, icc_profile=profile(points, gamma), **exact.get(suffix, {}))
    assert np.abs(seen(path) - SRGB).max() <= (4 if suffix == "avif" else 2)  # its coding is never exact
    if suffix != "avif":
        assert np.abs(colours.seen(read_frames(path)[0][0], 5) - SRGB).max() <= 2


def test_moving_png_has_its_profile_too(tmp_path):
    """And PyAV's own reading of a profile's name is kept off: it would crash here."""
    pictures = [picture_of(np.roll(numbers_in(ADOBE, 563 / 256), n, 0)) for n in range(3)]
    how = {"save_all": True, "append_images": pictures[1:], "duration": 100, "icc_profile": profile()}
    pictures[0].save(tmp_path / "a.png", **how)
    (tmp_path / "a.png").rename(tmp_path / "a.apng")
    for _ in range(5):
        frames, fps = read_frames(tmp_path / "a.apng")
        gc.collect()
    assert (len(frames), fps) == (3, 10)
    for number, frame in enumerate(frames):
        assert np.abs(colours.seen(frame, 5) - np.roll(SRGB, number, 0)).max() <= 2


def test_a_photo_of_a_phone_is_turned_and_recoloured(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture_of(numbers_in(P3, 2.2)).save(
        tmp_path / "a.jpg", exif=exif, icc_profile=profile(P3, 2.2), quality=98, subsampling=0
    )
    for picture in (read_image(tmp_path / "a.jpg"), read_frames(tmp_path / "a.jpg")[0][0]):
        assert picture.shape == (80, 16, 3)
        assert np.abs(colours.seen(np.rot90(picture.numpy()), len(SRGB)) - SRGB).max() <= 2


def test_a_profile_of_srgb_changes_nothing(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(array).save(tmp_path / "a.png", icc_profile=icc)
    assert np.array_equal(read_image(tmp_path / "a.png"), array)


def test_a_profile_of_grey(tmp_path):
    levels = np.array([0, 40, 118, 200, 255], np.uint8)
    for name, how in (("a.png", {}), ("b.jpg", {"quality": 100})):
        picture_of(levels).save(tmp_path / name, icc_profile=profile(gamma=1.0, space=b"GRAY"), **how)
        wanted = 255 * light_to_srgb(levels / 255)
        assert np.abs(seen(tmp_path / name) - wanted[:, None]).max() <= 1


def test_a_grey_picture_with_a_profile_of_rgb(tmp_path):
    levels = np.array([0, 40, 118, 200, 255], np.uint8)
    picture_of(levels).save(tmp_path / "a.png", icc_profile=profile(gamma=1.0))
    assert np.abs(seen(tmp_path / "a.png") - 255 * light_to_srgb(levels / 255)[:, None]).max() <= 1


def test_transparency_is_blended_after_the_colours(tmp_path):
    numbers = np.concatenate([numbers_in(ADOBE, 563 / 256), np.full((len(SRGB), 1), 128, np.uint8)], 1)
    picture_of(numbers).save(tmp_path / "a.png", icc_profile=profile())
    for background, behind in (("white", 255), ("black", 0)):
        wanted = (np.array(SRGB) * 128 + behind * 127) / 255
        assert np.abs(seen(tmp_path / "a.png", background=background) - wanted).max() <= 1.5


@pytest.mark.parametrize(
    ("icc", "said"),
    [(b"no profile", "cannot open"), (profile()[:-40], "transform"), (profile(space=b"GRAY"), "for GRAY")],
)
def test_a_profile_that_is_none_is_left_out_and_said(tmp_path, icc, said):
    picture_of(np.array(SRGB, np.uint8)).save(tmp_path / "a.png", icc_profile=icc)
    with pytest.warns(FileNote, match=rf"a\.png: its colour profile was left out.*{said}"):
        assert np.array_equal(seen(tmp_path / "a.png"), SRGB)


@pytest.mark.parametrize("suffix", ["jpg", "tiff"])
def test_cmyk(tmp_path, suffix):
    """Without a profile the inks are plain: what is not inked is light."""
    inks = np.array([(0, 0, 0, 0), (0, 0, 0, 255), (255, 0, 0, 0), (0, 128, 255, 0)], np.uint8)
    picture_of(inks, "CMYK").save(
        tmp_path / f"a.{suffix}", **({"quality": 100, "subsampling": 0} if suffix == "jpg" else {})
    )
    wanted = (255 - inks[:, :3].astype(int)) * (255 - inks[:, 3:].astype(int)) // 255
    assert np.abs(seen(tmp_path / f"a.{suffix}", 4) - wanted).max() <= 2
    assert np.abs(colours.seen(read_frames(tmp_path / f"a.{suffix}")[0][0], 4) - wanted).max() <= 2


def test_lab(tmp_path):
    lab = np.array([(0, 0, 0), (118, 0, 0), (255, 0, 0), (138, 60, 40)], np.int16).astype(np.uint8)
    picture_of(lab, "LAB").save(tmp_path / "a.tiff")
    got = seen(tmp_path / "a.tiff", 4)
    assert np.abs(got[[0, 2]] - [[0], [255]]).max() <= 1 and np.ptp(got[1]) <= 1  # greys are grey
    assert got[3, 0] > got[3, 1] > got[3, 2]


def tagged(values, **tags):
    """A TIFF with tags of numbers."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        info[int(tag[1:])] = value
    file = io.BytesIO()
    Image.fromarray(values).save(file, "tiff", tiffinfo=info)
    return file.getvalue()


GREYS = np.array([0, 40, 118, 200, 255])


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        *((np.uint16, 65535), (np.int32, 255), (np.int32, 65535), (np.int32, 2**31 - 1)),
        *((np.float32, 1), (np.float32, 255), (np.float32, 65535)),
    ],
)
def test_numbers_that_are_no_bytes_are_taken_by_their_range(tmp_path, kind, most):
    values = (GREYS / 255 * most).round(0 if kind != np.float32 else 6).astype(kind)
    picture_of(values).save(tmp_path / "a.tiff")
    got, wanted = seen(tmp_path / "a.tiff"), GREYS[:, None] if most != 2**31 - 1 else GREYS[:, None] / 2
    assert np.abs(got - wanted).max() <= 1


def test_floats_may_be_brighter_than_white_or_no_numbers(tmp_path):
    values = np.repeat(GREYS / 255, 100)[None].repeat(50, 0).astype(np.float32)
    values[0, :20], values[1, :20], values[2, :20] = 7.5, np.nan, -0.5
    Image.fromarray(values).save(tmp_path / "a.tiff")
    assert np.abs(seen(tmp_path / "a.tiff") - GREYS[:, None]).max() <= 1
    assert read_image(tmp_path / "a.tiff")[:3, 5, 0].tolist() == [255, 0, 0]


def test_a_scan_of_twelve_bits_or_with_white_at_zero(tmp_path):
    values = np.repeat((GREYS * 4095 // 255).astype(np.uint16), 16)[None].repeat(16, 0)
    (tmp_path / "a.tiff").write_bytes(tagged(values, _281=4095))
    assert np.abs(seen(tmp_path / "a.tiff") - GREYS[:, None]).max() <= 1
    data = tagged(np.repeat((GREYS * 257).astype(np.uint16), 16)[None].repeat(16, 0))
    at = data.index(struct.pack("<HHI", 262, 3, 1))  # PhotometricInterpretation
    (tmp_path / "b.tiff").write_bytes(data[:at] + struct.pack("<HHIHH", 262, 3, 1, 0, 0) + data[at + 12 :])
    assert np.abs(seen(tmp_path / "b.tiff") - (255 - GREYS[:, None])).max() <= 1


@pytest.mark.parametrize("suffix", ["tiff", "png"])
def test_sixteen_bits_of_rgb(tmp_path, suffix):
    frame = colours.frame_of(
        colours.stripes((np.array(SRGB) * 257).astype(np.uint16)[:, [1, 2, 0]]), "gbrp16le", full=True, matrix=0
    ).reformat(format="rgb48le" if suffix == "tiff" else "rgb48be")
    with av.open(str(tmp_path / f"a.{suffix}"), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream(suffix, rate=1)
        stream.height, stream.width, stream.pix_fmt = frame.height, frame.width, frame.format.name
        frame.pts, frame.time_base = 0, Fraction(1)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert np.abs(seen(tmp_path / f"a.{suffix}") - SRGB).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_gives_three_channels(tmp_path, mode):
    picture = Image.new("RGB", (8, 6), (255, 255, 255)).convert(mode if mode != "PA" else "P")
    suffix = {"CMYK": "jpg", "YCbCr": "jpg"}.get(mode, "png")
    picture.save(tmp_path / f"a.{suffix}")
    read = read_image(tmp_path / f"a.{suffix}")
    assert read.shape == (6, 8, 3) and read.min() >= 254


def with_chunks(path, numbers, **chunks):
    """A PNG with chunks before its pixels."""
    picture_of(np.asarray(numbers, np.uint8)).save(path)
    data = path.read_bytes()
    added = b""
    for name, body in chunks.items():
        named = name.encode() + body
        added += struct.pack(">I", len(body)) + named + struct.pack(">I", zlib.crc32(named))
    path.write_bytes(data[:33] + added + data[33:])
    return path


def gama(gamma):
    return struct.pack(">I", round(100000 / gamma))


def chrm(points):
    white, *rest = points[3], *points[:3]
    return struct.pack(">8I", *(round(value * 100000) for point in (white, *rest) for value in point))


@pytest.mark.parametrize(("points", "gamma"), [(ADOBE, 2.2), (ADOBE, 563 / 256), (P3, 1.8), (P3, 1.0)])
def test_png_names_gamma_and_primaries(tmp_path, points, gamma):
    numbers = numbers_in(points, gamma)
    path = with_chunks(tmp_path / "a.png", numbers, gAMA=gama(gamma), cHRM=chrm(points))
    tolerance = 2 if gamma > 1 else 6  # eight bits of light are few where it is dark
    assert np.abs(seen(path) - SRGB).max() <= tolerance
    plain = with_chunks(tmp_path / "b.png", numbers, sRGB=b"\0", gAMA=gama(gamma), cHRM=chrm(points))
    assert np.array_equal(seen(plain), numbers)


def test_png_with_the_gamma_of_srgb_is_plain(tmp_path):
    assert np.array_equal(seen(with_chunks(tmp_path / "a.png", SRGB, gAMA=struct.pack(">I", 45455))), SRGB)
    srgb = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.329))
    path = with_chunks(tmp_path / "b.png", SRGB, gAMA=struct.pack(">I", 45455), cHRM=chrm(srgb))
    assert np.array_equal(seen(path), SRGB)
    path = with_chunks(tmp_path / "c.png", SRGB, gAMA=struct.pack(">I", 0), cHRM=bytes(32))
    assert np.array_equal(seen(path), SRGB)


def test_png_names_code_points(tmp_path):
    """Display P3 by cICP; and PQ, of 16 bits."""
    numbers = np.round(
        255 * light_to_srgb(np.clip(srgb_to_light(np.array(SRGB) / 255) @ np.linalg.inv(to_bt709(12)).T, 0, 1))
    )
    assert np.abs(seen(with_chunks(tmp_path / "a.png", numbers, cICP=bytes([12, 13, 0, 1]))) - SRGB).max() <= 2
    light = np.array([0, 0.05, 0.18, 1.0])
    signal = np.interp(light, pq_to_light(np.linspace(0, 1, 10**5)), np.linspace(0, 1, 10**5))
    values = np.repeat(np.round(signal * 65535).astype(np.uint16), 16)[None].repeat(16, 0)
    Image.fromarray(values).save(tmp_path / "b.png")
    data = (tmp_path / "b.png").read_bytes()
    named = b"cICP" + bytes([9, 16, 0, 1])
    (tmp_path / "b.png").write_bytes(
        data[:33] + struct.pack(">I", 4) + named + struct.pack(">I", zlib.crc32(named)) + data[33:]
    )
    assert np.abs(seen(tmp_path / "b.png", 4) - 255 * light_to_srgb(light)[:, None]).max() <= 2


@pytest.mark.parametrize(
    ("space", "index", "adobe"), [(0xFFFF, "R03", True), (2, None, True), (1, "R98", False), (0xFFFF, None, False)]
)
def test_a_camera_says_adobe_rgb_in_exif(tmp_path, space, index, adobe):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = space
    if index is not None:
        exif.get_ifd(0x8769)[0xA005] = {1: index}
    numbers = numbers_in(ADOBE, 563 / 256)
    picture_of(numbers).save(tmp_path / "a.jpg", exif=exif.tobytes(), quality=98, subsampling=0)
    assert np.abs(seen(tmp_path / "a.jpg") - (SRGB if adobe else numbers)).max() <= 2


@pytest.mark.parametrize(("primaries", "transfer"), [(9, 16), (9, 18), (12, 13)])
def test_avif_by_its_code_points(tmp_path, primaries, transfer):
    """HDR goes by FFmpeg, with its ten bits; Display P3 by Pillow."""
    if transfer == 13:
        light = srgb_to_light(np.array(SRGB) / 255)
        signal = light_to_srgb(np.clip(light @ np.linalg.inv(to_bt709(12)).T, 0, 1))
        wanted = np.array(SRGB)
    else:
        light = np.array([0, 0.05, 0.18, 0.5, 1.0])
        at = np.linspace(0, 1, 10**5)
        curve = pq_to_light(at)
        if transfer == 18:
            scene = np.where(at <= 0.5, at**2 / 3, (np.exp((at - 0.55991073) / 0.17883277) + 0.28466892) / 12)
            curve = 1000 / 203 * scene**1.2
        signal, wanted = np.interp(light, curve, at)[:, None].repeat(3, 1), 255 * light_to_srgb(light)[:, None]
    bits = 10 if transfer != 13 else 8
    luma = signal @ ([0.2126, 0.7152, 0.0722] if bits == 8 else [0.2627, 0.6780, 0.0593])
    red, blue = (0.2126, 0.0722) if bits == 8 else (0.2627, 0.0593)
    parts = np.stack([luma, (signal[:, 2] - luma) / (2 - 2 * blue), (signal[:, 0] - luma) / (2 - 2 * red)], 1)
    most = (1 << bits) - 1
    codes = np.round(parts * most + [0, 1 << (bits - 1), 1 << (bits - 1)]).astype(np.uint16 if bits > 8 else np.uint8)
    planes = colours.stripes(codes, 64, 32)
    planes = [planes[0], planes[1][::2, ::2], planes[2][::2, ::2]]
    name = "yuv420p10le" if bits == 10 else "yuv420p"
    frame = colours.frame_of(
        planes, name, primaries=primaries, transfer=transfer, matrix=9 if bits == 10 else 1, full=True
    )
    path = colours.write(tmp_path / "a.avif", [frame], codec="libsvtav1", options={"crf": "5"}, rate=1)
    assert np.abs(seen(path) - wanted).max() <= 3


def test_the_profile_of_an_heif_picture_is_found_in_its_boxes(tmp_path):
    """Pillow does not read these, and PyAV tells no profile where it meets EXIF."""
    body = b"colrprof" + profile()
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x10ftypheic\0\0\0\0" + struct.pack(">I", 4 + len(body)) + body + b"rest")
    assert icc_of(str(tmp_path / "a.heic")) == profile()
    (tmp_path / "b.heic").write_bytes(b"\0\0\0\x10ftypheic\0\0\0\0")
    assert icc_of(str(tmp_path / "b.heic")) == icc_of(str(tmp_path / "none.heic")) == b""
