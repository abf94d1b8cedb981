"""Decoded frames -> sRGB pixels, upright, whatever the file has.

What numbers mean is said by the tags of each frame (matrix, range, primaries, transfer), or by an
ICC profile. Pixel aspect and display matrix are applied too; transparency, after the colours.

Here: frames. Not here: finding and decoding them (read.py), fields (fields.py), the arithmetic of
colours (colour.py), Pillow's pictures (pictures.py), changing the size (frames.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from minisora.video.colour import HDR_PEAK, LINEAR, RGB, SDR_WHITE, UNSPECIFIED, Array, Coding, Pixels, ToSRGB
from minisora.video.open import Refused
from minisora.video.pictures import Background, Recolour, icc_of, over, picture_as_stored, profile

__all__ = ["Background", "Converter", "Pixels", "coding_of", "display_size", "notes_on"]

_SCALERS = {RGB, 1, 4, 5, 6, 7, 9}  # matrices of FFmpeg's scaler; it refuses frames tagged with others
_HD_COLUMNS, _SD_ROWS = 1280, 576
_FREED_TWICE = ("png", "apng")  # the name of an ICC profile, by PyAV 18: reading side data may crash
_FLOATS = ("f16", "f32")  # in names of pixel formats
_SUBSAMPLED = {(2, 1): "422", (2, 2): "420"}  # by columns and rows of luma to one of chroma
_UNCHANGED: dict[str, Any] = {  # for the scaler, which then shifts numbers to 16 bits and does no more
    **{"src_colorspace": Colorspace.ITU709, "dst_colorspace": Colorspace.ITU709},
    **{"src_color_range": ColorRange.MPEG, "dst_color_range": ColorRange.MPEG},
}


def display_size(frame: av.VideoFrame, stream: av.VideoStream) -> tuple[int, int]:
    """Size with square pixels, before rotation: (width, height)."""
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    if abs(aspect - 1) < 0.02:  # rounding of encoders, not meant
        aspect = 1.0
    return max(1, round(frame.width * aspect)), frame.height


def coding_of(frame: av.VideoFrame) -> Coding:
    """What the tags of a frame say, as they stand."""
    full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    return Coding(frame.color_primaries, frame.color_trc, frame.colorspace, full)


def side_data(stream: av.VideoStream, frame: av.VideoFrame, kind: SideData) -> bytes | None:
    """Side data of a frame, empty if there is none; None where PyAV cannot read it.

    That is where there is any that PyAV has no name for, such as EXIF.
    """
    if stream.codec_context.name in _FREED_TWICE:
        return None
    try:
        return bytes(cast(Mapping[SideData, Any], frame.side_data).get(kind) or b"")
    except ValueError:
        return None


def notes_on(stream: av.VideoStream, frame: av.VideoFrame, *, interlaced: bool) -> tuple[str, ...]:
    """Notes for the user on a file's first frame: what is read otherwise than the file has it.

    interlaced: the frame was, before it was made progressive
    """
    notes = []
    if side_data(stream, frame, SideData.SPHERICAL):
        notes.append("a 360-degree video is read flat, as its frames are stored")
    if (coding := coding_of(frame)).hdr:
        notes.append(f"HDR ({coding.name}) is read as SDR: light above {SDR_WHITE:g} cd/m2 is compressed")
    if interlaced:
        notes.append("interlaced frames are read as progressive ones, each at its first moment")
    return tuple(notes)


class Converter:
    """Frames of one file -> sRGB pixels.

    SDR with the primaries of BT.709 goes through FFmpeg's scaler alone. 4:2:0 and 4:2:2 of more
    than 8 bits are rounded to 8 first: the scaler would make them darker, white 253. All else goes
    through `ToSRGB`.

    first: a decoded frame, which gives the size, the ICC profile and the peak of HDR for all

    A call raises Refused for a frame whose coding cannot be converted.
    """

    def __init__(self, stream: av.VideoStream, first: av.VideoFrame, background: Background = "white") -> None:
        self._background, self._size = background, display_size(first, stream)
        self._path = stream.container.name.removeprefix("file:")
        self._stream = stream
        # of the first alone: a frame whose side data was asked for is a cycle, which is freed late
        self._matrix = side_data(stream, first, SideData.DISPLAYMATRIX) or b""
        self._turns = round(first.rotation / 90)
        self.peak, self._recolour = self._peak_of(first), self._recolour_of(first)
        self._scaler, self._to_16_bits = VideoReformatter(), VideoReformatter()  # each is set up for one step
        self._newest: tuple[tuple[Any, ...], _Way] | None = None
        still = picture_as_stored(self._path, background) if stream.container.format.name.endswith("_pipe") else None
        self._still = still if still is not None and still.shape[:2] == (first.height, first.width) else None

    def __call__(self, frame: av.VideoFrame) -> Pixels:
        """(H, W, 3) RGB, as shown."""
        if self._still is not None:
            return self._upright(self._still)
        way, alpha = self._way(frame), None
        if way.convert is None:
            array = self._scaled(frame, way, "rgba" if way.transparent else "rgb24", self._size).to_ndarray()
            pixels = cast(Pixels, array)
            if way.transparent:
                pixels, alpha = pixels[..., :3], pixels[..., 3]
        else:
            planes, alpha = self._planes(frame, way, self._size)
            pixels = way.convert(planes)
        if self._recolour is not None:
            pixels = self._recolour(pixels)
        return self._upright(pixels if alpha is None else over(pixels, alpha, self._background))

    def bgr(self, frame: av.VideoFrame) -> Pixels:
        """(H, W, 3) BGR as stored: neither turned nor made square, without transparency.

        Of 8-bit SDR it is a view, of the bytes that OpenCV has.
        """
        if self._still is not None:
            return np.ascontiguousarray(self._still[..., ::-1])
        way, size = self._way(frame), (frame.width, frame.height)
        if way.convert is None:
            plane = self._scaled(frame, way, "bgr24", size, Interpolation.BICUBIC).planes[0]
            lines: Pixels = np.frombuffer(memoryview(plane), np.uint8).reshape(frame.height, plane.line_size)
            pixels = lines[:, : frame.width * 3].reshape(frame.height, frame.width, 3)
        else:
            pixels = np.empty((frame.height, frame.width, 3), np.uint8)
            way.convert(self._planes(frame, way, size, Interpolation.BICUBIC)[0], pixels[..., ::-1])
        if self._recolour is not None:
            pixels = np.ascontiguousarray(self._recolour(pixels[..., ::-1])[..., ::-1])
        return pixels

    def _way(self, frame: av.VideoFrame) -> _Way:
        tags = frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range
        key = (*tags, frame.format.name, frame.width, frame.height)
        if self._newest is None or self._newest[0] != key:
            coding = coding_of(frame)
            if self._recolour is not None:
                coding = replace(coding, primaries=1, transfer=1)
            way, name = _way_of(frame, coding, self.peak), f"{coding.name}, primaries/transfer/matrix"
            if coding.transfer == UNSPECIFIED and side_data(self._stream, frame, SideData.DOVI_METADATA):
                way, name = None, "Dolby Vision without a base of HDR or SDR"  # as of profile 5
            if way is None:
                raise Refused(
                    "unreadable",
                    f"the colours of {self._path} are coded in a way that is not read here ({name}). "
                    "Convert the file to BT.709 with another program first.",
                )
            self._newest = key, way
        return self._newest[1]

    def _scaled(
        self,
        frame: av.VideoFrame,
        way: _Way,
        form: str,
        size: tuple[int, int],
        interpolation: Interpolation | None = None,
    ) -> av.VideoFrame:
        if way.shallow:
            frame = self._rounded(frame, way.shallow)
        return self._scaler.reformat(
            frame, width=size[0], height=size[1], format=form, interpolation=interpolation, **way.told
        )

    def _rounded(self, frame: av.VideoFrame, shallow: str) -> av.VideoFrame:
        """The same in 8 bits, each number rounded; the scaler would dither."""
        wide = self._to_16_bits.reformat(frame, format=f"{shallow}16le", **_UNCHANGED)
        rounded = av.VideoFrame(frame.width, frame.height, shallow)
        for source, plane in zip(wide.planes, rounded.planes, strict=True):
            numbers = np.frombuffer(memoryview(source), np.uint16).reshape(source.height, -1)[:, : plane.width]
            lines = np.zeros((plane.height, plane.line_size), np.uint8)
            lines[:, : plane.width] = np.minimum(((numbers >> 7) + 1) >> 1, 255)
            plane.update(lines.tobytes())
        rounded.colorspace, rounded.color_range = frame.colorspace, frame.color_range
        return rounded

    def _planes(
        self, frame: av.VideoFrame, way: _Way, size: tuple[int, int], interpolation: Interpolation | None = None
    ) -> tuple[list[Array], Pixels | None]:
        """Three planes for `ToSRGB`, (H, W) each, and alpha of 8 bits."""
        plain = self._scaled(frame, way, way.deep, size, interpolation)
        planes: list[Array]
        if plain.format.is_planar:
            lines = [np.frombuffer(memoryview(plane), np.uint16) for plane in plain.planes]
            planes = [line.reshape(plain.height, -1)[:, : plain.width] for line in lines]
        else:
            array = np.atleast_3d(plain.to_ndarray())
            planes = [array[..., channel] for channel in range(array.shape[2])]
        alpha = planes.pop() if way.transparent else None
        if alpha is not None and alpha.dtype == np.uint16:
            alpha = alpha >> 8
        return planes * 3 if len(planes) == 1 else planes, None if alpha is None else alpha.astype(np.uint8)

    def _peak_of(self, frame: av.VideoFrame) -> float:
        """cd/m2 of the brightest light: of the content, else of the display it was graded on."""
        levels = side_data(self._stream, frame, SideData.CONTENT_LIGHT_LEVEL) or b""
        if most := int.from_bytes(levels[:4], "little"):
            return float(most)
        display = side_data(self._stream, frame, SideData.MASTERING_DISPLAY_METADATA) or b""
        numbers = np.frombuffer(display[:88], np.int32)
        if len(numbers) == 22 and numbers[21] and numbers[18] > 0 and numbers[19] > 0:  # max_luminance, a fraction
            return float(numbers[18] / numbers[19])
        return HDR_PEAK

    def _recolour_of(self, frame: av.VideoFrame) -> Recolour | None:
        icc = side_data(self._stream, frame, SideData.ICC_PROFILE)
        icc = icc_of(self._path) if icc is None else icc
        try:
            return profile(icc, "RGB") if icc and not coding_of(frame).hdr else None
        except ValueError:
            return None

    def _upright(self, array: Pixels) -> Pixels:
        """Apply the display matrix: (x, y) is shown at (a x + c y, b x + d y), y downwards."""
        if len(self._matrix) < 36:
            return np.ascontiguousarray(np.rot90(array, self._turns))
        a, b, _, c, d = np.frombuffer(self._matrix, dtype="<i4")[:5].tolist()
        if abs(b) + abs(c) > abs(a) + abs(d):
            array, right, down = array.transpose(1, 0, 2), c, b
        else:
            right, down = a, d
        return np.ascontiguousarray(array[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1])


@dataclass(frozen=True)
class _Way:
    """How frames of one format and coding are converted.

    transparent: has alpha
    convert:     of what the scaler gives; None: that is sRGB
    told:        to the scaler, of its input and output
    shallow:     format of 8 bits to round to first
    deep:        format of the planes for `convert`
    """

    transparent: bool
    convert: ToSRGB | None = None
    told: dict[str, Any] = field(default_factory=dict)
    shallow: str = ""
    deep: str = ""


def _way_of(frame: av.VideoFrame, tags: Coding, peak: float) -> _Way | None:
    """None for a coding that is not known."""
    form, name = frame.format, frame.format.name
    bits = max(component.bits for component in form.components)
    transparent = form.has_palette or any(component.is_alpha for component in form.components)
    grey = len(form.components) < 3 and not form.has_palette
    in_rgb = form.is_rgb or form.has_palette or grey or name.startswith("xyz")
    if any(kind in name for kind in _FLOATS) and tags.transfer == UNSPECIFIED:
        tags = replace(tags, transfer=LINEAR)
    coding = tags.resolved(rgb=in_rgb, hd=frame.width >= _HD_COLUMNS or frame.height > _SD_ROWS)
    if not coding.known:
        return None
    if name.startswith("xyz") or (coding.plain and coding.matrix in _SCALERS):
        told = {} if in_rgb or coding.matrix == tags.matrix else _both(coding.matrix)
        return _Way(transparent, told=told, shallow="" if in_rgb or bits <= 8 else _shallow(frame, transparent))
    if not in_rgb:
        return _Way(transparent, ToSRGB.of(coding, bits, peak), _UNCHANGED, deep=f"yuv{'a' * transparent}444p16le")
    if grey and not transparent:
        deep = "gray16le"
    elif bits > 8 or grey:
        deep = "rgba64le" if transparent else "rgb48le"
    else:
        deep = "rgba" if transparent else "rgb24"
    return _Way(transparent, ToSRGB.of(coding, 16 if deep.endswith("le") else 8, peak), deep=deep)


def _both(matrix: int) -> dict[str, Any]:
    return {"src_colorspace": matrix, "dst_colorspace": matrix}


def _shallow(frame: av.VideoFrame, transparent: bool) -> str:
    """The format of 8 bits with a frame's chroma; empty for 4:4:4, where the scaler is exact."""
    luma, chroma = frame.format.components[:2]
    ratio = _SUBSAMPLED.get((round(luma.width / chroma.width), round(luma.height / chroma.height)))
    return f"yuv{'a' * transparent}{ratio}p" if ratio else ""
