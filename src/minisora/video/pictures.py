"""Pillow's pictures -> sRGB pixels: ranges of numbers, ICC profiles, colours that a header names.

An embedded ICC profile comes first; then code points (PNG's cICP, AVIF's nclx), PNG's gAMA and
cHRM, "Adobe RGB" in EXIF. A profile that is damaged, or of another kind of picture, is left out
with a warning. Profiles are converted perceptually, as viewers do.

Numbers that are no bytes are scaled by their range: 16 bits by 65535, or by what the file says that
it holds; 32 bits by the least of 255, 65535 and 2**32 - 1 that none exceeds; floats by the least of
1, 255 and 65535 that no more than one in a hundred exceeds, such as glints brighter than white.

Sources: ICC.1:2022, by LittleCMS in Pillow; PNG (third edition) 11.3.2; Exif 2.32, annex E.

Here: pictures. Not here: frames of videos (pixels.py), the arithmetic of colours (colour.py).
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

import numpy as np
from PIL import Image, ImageCms, ImageOps

from minisora.errors import FileNote
from minisora.video.colour import Coding, Pixels, ToSRGB, light_to_srgb, power, srgb_to_light, to_bt709
from minisora.video.open import Refused, open_picture

Background = Literal["white", "black"]
Recolour = Callable[[Pixels], Pixels]  # (H, W, channels of the mode) -> (H, W, 3) RGB
Points = tuple[tuple[float, float], ...]  # x, y of red, green, blue and white

_HEAD_BYTES = 1 << 20  # in which a file names its colours
_EXIF, _INTEROPERABILITY, _COLOUR_SPACE, _INDEX = 0x8769, 0xA005, 0xA001, 1  # tags of EXIF
_BITS, _PHOTOMETRIC, _MOST, _FORMAT = 258, 262, 281, 339  # tags of TIFF
_WHITE_IS_ZERO, _UNSIGNED = 0, 1  # values of _PHOTOMETRIC and _FORMAT
_MODES = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK", "Lab ": "LAB"}  # by the space of a profile
_UNREADABLE = (Refused, OSError, ValueError, SyntaxError, Image.DecompressionBombError)
_SRGB: Points = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.329))
_ADOBE_RGB: Points = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), (0.3127, 0.329))
_ADOBE_GAMMA, _SRGB_GAMMA = 563 / 256, 2.2


def picture_pixels(picture: Image.Image, background: Background, *, upright: bool = True) -> Pixels:
    """(H, W, 3) RGB of a picture, or of the current frame of a moving one.

    upright: turned as EXIF says
    """
    recolour = _recolour_of(picture)
    whole = ImageOps.exif_transpose(picture) if upright else picture
    alpha = np.asarray(whole.convert("RGBA"))[..., 3] if whole.has_transparency_data else None
    base = _in_bytes(whole, picture)
    pixels = np.array(base.convert("RGB")) if recolour is None else recolour(np.asarray(base))
    return pixels if alpha is None else over(pixels, alpha, background)


def picture_as_stored(path: str, background: Background) -> Pixels | None:
    """Pixels of a picture whose colours FFmpeg does not tell, not turned; None for other files."""
    try:
        picture = open_picture(Path(path))
        if picture is None:
            return None
        with picture:
            if _base_mode(picture) not in ("CMYK", "LAB") and picture.mode != "F" and _recolour_of(picture) is None:
                return None
            return picture_pixels(picture, background, upright=False)
    except _UNREADABLE:
        return None


def icc_of(path: str) -> bytes:
    """The ICC profile of a picture that Pillow reads, or of an HEIF one; empty if there is none."""
    try:
        if (picture := open_picture(Path(path))) is not None:
            with picture:
                return cast(bytes, picture.info.get("icc_profile") or b"")
    except _UNREADABLE:
        pass
    head = _head(path)
    at = head.find(b"colrprof")
    return head[at + 8 : at - 4 + int.from_bytes(head[at - 4 : at])] if at >= 4 else b""


def in_hdr(picture: Image.Image) -> bool:
    """True for PQ and HLG, which need more bits than Pillow has: FFmpeg is to read them."""
    if picture.format == "HEIF" or picture.has_transparency_data:
        return False
    coding = _header_coding(picture)
    return coding is not None and coding.hdr


def over(pixels: Pixels, alpha: Pixels, background: Background) -> Pixels:
    """Lay a picture over a plain background: (H, W, 3) and (H, W) -> (H, W, 3)."""
    colour, alpha = pixels.astype(np.uint16), alpha[..., None].astype(np.uint16)
    behind = 255 if background == "white" else 0
    return ((colour * alpha + behind * (255 - alpha) + 127) // 255).astype(np.uint8)


def _base_mode(picture: Image.Image) -> str:
    """The mode without transparency and palette, in which a profile is applied."""
    if picture.mode in ("CMYK", "LAB"):
        return picture.mode
    return "L" if picture.mode in ("1", "L", "LA", "I", "F") or picture.mode.startswith("I;16") else "RGB"


def _in_bytes(whole: Image.Image, picture: Image.Image) -> Image.Image:
    """The picture in its base mode. picture: as opened, with the tags of its file"""
    if whole.mode not in ("I", "F") and not whole.mode.startswith("I;16"):
        return whole.convert(_base_mode(whole))
    tags = getattr(picture, "tag_v2", {})
    if whole.mode == "F":
        values = np.nan_to_num(np.asarray(whole))
        bulk = np.quantile(values, 0.99)
        most = next((most for most in (1.0, 255.0, 65535.0) if bulk <= most), float(values.max()))
        level = np.clip(values / most, 0, 1) * 255 + 0.5
    else:
        values = np.asarray(whole)
        if whole.mode == "I" and _first(tags, _BITS) == 32 and _first(tags, _FORMAT) == _UNSIGNED:
            values = values.view(np.uint32)
        values = np.maximum(values.astype(np.int64), 0)
        if whole.mode == "I":
            most = next(most for most in (255, 65535, 2**32 - 1) if values.max() <= most)
        else:
            most = _first(tags, _MOST) or (1 << (_first(tags, _BITS) or 16)) - 1
        level = np.minimum(values * 256 // (most + 1), 255)
    level = level.astype(np.uint8)
    return Image.fromarray(255 - level if _first(tags, _PHOTOMETRIC) == _WHITE_IS_ZERO else level)


def _first(tags: dict[int, object], tag: int) -> int | None:
    """First value of a tag of TIFF."""
    value = tags.get(tag)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else None


def _recolour_of(picture: Image.Image) -> Recolour | None:
    """How the colours become sRGB; None if they are it already."""
    if icc := picture.info.get("icc_profile"):
        try:
            return profile(icc, _base_mode(picture))
        except ValueError as error:
            name = getattr(picture, "filename", "") or "a picture"
            warnings.warn(f"{name}: its colour profile was left out: {error}.", FileNote, stacklevel=2)
    if _base_mode(picture) not in ("L", "RGB"):
        return None
    if (coding := _header_coding(picture)) is not None:
        convert = None if coding.plain else ToSRGB.of(coding, 8)
    elif "gamma" in picture.info or "chromaticity" in picture.info:
        convert = _by_png(picture)
    else:
        convert = _by_light(_ADOBE_GAMMA, _ADOBE_RGB) if _is_adobe_rgb(picture) else None
    if convert is None:
        return None
    return lambda pixels: convert([pixels[..., channel] for channel in range(3)] if pixels.ndim == 3 else [pixels] * 3)


@lru_cache(maxsize=8)
def profile(icc: bytes, mode: str) -> Recolour | None:
    """Make the conversion of an ICC profile to sRGB; None if it changes no number by more than one.

    mode: of Pillow, L, RGB, CMYK or LAB

    Raises ValueError, saying what is wrong, for a profile that cannot be used.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        wanted = _MODES.get(source.profile.xcolor_space, "")
        if wanted != mode and (wanted, mode) != ("RGB", "L"):
            raise ValueError(f"it is for {source.profile.xcolor_space.strip()}, and the picture is {mode}")
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), wanted, "RGB")
    except (OSError, ImageCms.PyCMSError) as error:
        raise ValueError(str(error)) from error

    def recolour(pixels: Pixels) -> Pixels:
        picture = Image.frombytes(mode, pixels.shape[1::-1], np.ascontiguousarray(pixels).tobytes())
        return np.array(ImageCms.applyTransform(picture.convert(wanted), transform))

    if mode not in ("L", "RGB"):
        return recolour
    greys = np.arange(256, dtype=np.uint8)[None]
    probe = greys if mode == "L" else np.stack(np.meshgrid(*[greys[0, ::15]] * 3), -1).reshape(-1, 6, 3)
    unchanged = probe if mode == "RGB" else probe[..., None]
    return None if np.abs(recolour(probe).astype(int) - unchanged).max() <= 1 else recolour


def _header_coding(picture: Image.Image) -> Coding | None:
    """Code points that a PNG, AVIF or HEIF names."""
    if picture.format == "HEIF" and (nclx := picture.info.get("nclx_profile")):
        named = Coding(int(nclx["color_primaries"]), int(nclx["transfer_characteristics"]))
        return named.resolved(rgb=True, hd=False)
    if picture.format not in ("PNG", "AVIF"):
        return None
    head = _head(getattr(picture, "filename", ""))
    mark, form = (b"cICP", ">BB") if picture.format == "PNG" else (b"colrnclx", ">HH")
    at = head.find(mark)
    if at < 0 or at + len(mark) + struct.calcsize(form) > len(head):
        return None
    primaries, transfer = struct.unpack_from(form, head, at + len(mark))
    return Coding(primaries, transfer).resolved(rgb=True, hd=False)


def _head(path: str) -> bytes:
    if not Path(path or ".").is_file():
        return b""
    with Path(path).open("rb") as file:
        return file.read(_HEAD_BYTES)


def _by_png(picture: Image.Image) -> ToSRGB | None:
    """By the chunks gAMA and cHRM; sRGB wins over both."""
    if "srgb" in picture.info:
        return None
    gamma, points = picture.info.get("gamma"), _SRGB
    if len(numbers := picture.info.get("chromaticity", ())) == 8:  # white first
        pairs = list(zip(numbers[0::2], numbers[1::2], strict=True))
        points = (*pairs[1:], pairs[0])
    if min(y for _, y in points) <= 0 or np.abs(np.array(points) - np.array(_SRGB)).max() < 0.005:
        points = _SRGB
    try:
        return _by_light(1 / gamma if gamma else _SRGB_GAMMA, points)
    except np.linalg.LinAlgError:  # points on one line
        return None


def _by_light(gamma: float, points: Points) -> ToSRGB | None:
    """From R'G'B' of 8 bits, of this exponent and these primaries; None if that is sRGB."""
    of_srgb = abs(gamma - _SRGB_GAMMA) < 0.05 and points != _ADOBE_RGB
    if of_srgb and points == _SRGB:
        return None
    signal = np.hstack([np.eye(3) / 255, np.zeros((3, 1))])
    return ToSRGB(signal, srgb_to_light if of_srgb else power(gamma), to_bt709(points), light_to_srgb)


def _is_adobe_rgb(picture: Image.Image) -> bool:
    try:
        exif = picture.getexif()
        space, index = exif.get_ifd(_EXIF).get(_COLOUR_SPACE), exif.get_ifd(_INTEROPERABILITY).get(_INDEX)
    except (*_UNREADABLE, LookupError, TypeError, struct.error):  # damaged EXIF
        return False
    return space == 2 or (space == 0xFFFF and str(index).rstrip("\0") == "R03")
