"""Numbers of any colour coding -> sRGB: matrices, transfer curves, primaries, tone mapping.

    planes ─matrix─> R'G'B' ─curve─> light ─primaries─> BT.709 light ─shoulder─> 0..1 ─curve─> sRGB

Light is relative to SDR white. HDR puts that at 203 cd/m2 (ITU-R BT.2408): what is darker keeps its
light, what is brighter is compressed by a shoulder, all three channels of a pixel by one factor, so
that its hue stays. Light outside the gamut of BT.709, below 0, is clipped, as in ICC's relative
colorimetric conversion.

Numbers of SDR keep their curve (BT.709, BT.601, BT.2020, sRGB, gamma 2.2 and 2.8, xvYCC): players
show them as they are. Other primaries are converted in the light of the display, for television
that of BT.1886.

Sources: ITU-T H.273 (code points, matrices, primaries, curves), ITU-R BT.2100 (PQ, HLG, ICtCp),
ITU-R BT.1886, IEC 61966-2-1 (sRGB).

Here: code points and arrays. Not here: frames and their tags (pixels.py), pictures (pictures.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Curve = Callable[[Array], Array]
Pixels = npt.NDArray[np.uint8]  # (H, W, 3) RGB

SDR_WHITE = 203.0  # cd/m2
HDR_PEAK = 1000.0  # cd/m2, where a file names none; HLG's nominal one
_KNEE = 0.975  # of SDR white: the shoulder begins so near below it that white stays 254
_HLG_GAMMA = 1.2  # of the OOTF, for a peak of 1000 cd/m2
_LEVELS = 65536  # of the tables
_STRIP = 1 << 16  # pixels converted at a time: what fits a cache

UNSPECIFIED = 2
RGB, _YCGCO, _DERIVED, _ICTCP = 0, 8, 12, 14  # matrices
LINEAR, _LOG, _LOG_SQRT, _PQ, _ST428, _HLG = 8, 9, 10, 16, 17, 18  # transfers

_D65, _C, _E = (0.3127, 0.3290), (0.310, 0.316), (1 / 3, 1 / 3)
_CHROMATICITIES = {  # by code point of H.273: x, y of red, green, blue and white
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    4: ((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), _C),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    10: ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), _E),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
_XYZ = 10  # primaries that are absolute: their white is no white to adapt from
_WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087)}
_WEIGHTS |= {9: (0.2627, 0.0593)}  # of red and blue in luma, by matrix
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_LMS = np.array([[1688, 2146, 262], [683, 2951, 462], [99, 309, 3688]]) / 4096  # of BT.2020 light, BT.2100
_LMS_TO_ICTCP = np.array([[2048, 2048, 0], [6610, -13613, 7003], [17933, -17390, -543]]) / 4096

_PRIMARIES_NAMES = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film"}
_PRIMARIES_NAMES |= {9: "bt2020", 10: "xyz", 11: "dci-p3", 12: "display-p3", 22: "ebu3213"}
_TRANSFER_NAMES = {1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear"}
_TRANSFER_NAMES |= {9: "log100", 10: "log316", 11: "xvycc", 12: "bt1361", 13: "srgb", 14: "bt2020-10"}
_TRANSFER_NAMES |= {15: "bt2020-12", 16: "pq", 17: "smpte428", 18: "hlg"}
_MATRIX_NAMES = {0: "rgb", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco"}
_MATRIX_NAMES |= {9: "bt2020nc", 10: "bt2020c", 11: "smpte2085", 12: "chroma-derived-nc", 13: "chroma-derived-c"}
_MATRIX_NAMES |= {14: "ictcp", 15: "ipt-c2", 16: "ycgco-re", 17: "ycgco-ro"}


@dataclass(frozen=True)
class Coding:
    """Meaning of a frame's numbers, as code points of ITU-T H.273.

    full: 0 is black and the largest number white, not 16/255 and 235/255
    """

    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED
    full: bool = False

    @property
    def hdr(self) -> bool:
        """True for PQ and HLG."""
        return self.transfer in (_PQ, _HLG)

    @property
    def name(self) -> str:
        """Primaries, transfer and matrix in words, such as "bt2020/pq/bt2020nc"."""
        tags = (self.primaries, self.transfer, self.matrix)
        tables = (_PRIMARIES_NAMES, _TRANSFER_NAMES, _MATRIX_NAMES)
        return "/".join(table.get(tag, "unknown") for table, tag in zip(tables, tags, strict=True))

    @property
    def plain(self) -> bool:
        """True if R'G'B' of this coding is taken as sRGB as it stands."""
        return self.primaries == 1 and self.transfer not in _TO_LIGHT

    @property
    def known(self) -> bool:
        """True if `ToSRGB` has the matrix."""
        return self.matrix in (RGB, _YCGCO, _DERIVED, *_WEIGHTS) or (self.matrix == _ICTCP and self.transfer == _PQ)

    def resolved(self, *, rgb: bool, hd: bool) -> Coding:
        """Replace tags that are missing or reserved by what players take.

        Matrix: BT.709 for HD, else BT.601. Primaries and transfer: BT.709. With PQ and HLG, which
        BT.2100 defines: matrix and primaries of BT.2020.

        rgb: the numbers are R'G'B' already
        """
        matrix = RGB if rgb else self.matrix
        if not rgb and (matrix == RGB or matrix not in _MATRIX_NAMES):
            matrix = 9 if self.hdr else 1 if hd else 6
        primaries = self.primaries if self.primaries in _CHROMATICITIES else 9 if self.hdr else 1
        transfer = self.transfer if self.transfer in _TRANSFER_NAMES else 1
        return replace(self, matrix=matrix, primaries=primaries, transfer=transfer)


class ToSRGB:
    """Planes of numbers -> sRGB, by tables that are built once.

    signal:    (3, 4), from the planes and 1 to R'G'B' in 0..1
    decode:    R'G'B' to light, 0..1 to 1 for SDR white
    mix:       (3, 3), light to light of BT.709
    encode:    light of 0..1 to R'G'B'
    luminance: (3,), of the light before HLG's OOTF, which it then applies
    peak:      light that becomes 1
    """

    def __init__(
        self,
        signal: Array,
        decode: Curve,
        mix: Array,
        encode: Curve,
        *,
        luminance: Array | None = None,
        peak: float = 1.0,
    ) -> None:
        levels = np.linspace(0, 1, _LEVELS)
        self._signal, self._mix = (signal * (_LEVELS - 1)).astype(np.float32), mix.astype(np.float32)
        self._light = decode(levels).astype(np.float32)
        self._numbers = np.round(255 * encode(levels**2)).astype(np.uint8)  # of roots: the dark is steep
        self._luminance, self._peak = luminance, peak

    @classmethod
    def of(cls, coding: Coding, bits: int, peak: float = HDR_PEAK) -> ToSRGB:
        """Make the conversion of a coding.

        coding: resolved, and known
        bits:   of a number in the source
        peak:   cd/m2 of the brightest light of an HDR clip, which the shoulder brings to 255
        """
        assert coding.known, coding
        mix = to_bt709(coding.primaries)
        if coding.matrix == _ICTCP:
            mix = mix @ np.linalg.inv(_LMS)
        curves: tuple[Curve, Curve] = _DISPLAYED.get(coding.transfer, (power(2.4), power(1 / 2.4)))
        if coding.transfer in _TO_LIGHT:
            curves = _TO_LIGHT[coding.transfer], light_to_srgb
        return cls(
            _to_signal(coding, bits),
            curves[0],
            mix,
            curves[1],
            luminance=xyz_of(coding.primaries)[1] if coding.transfer == _HLG else None,
            peak=peak / SDR_WHITE if coding.hdr else 1.0,
        )

    def __call__(self, planes: Sequence[Array], out: Pixels | None = None) -> Pixels:
        """Convert a frame.

        planes:  3 of (H, W): R, G, B; or Y, Cb, Cr of 16 bits, to which fewer were shifted left
        out:     array to fill, (H, W, 3) R, G, B
        """
        height, width = planes[0].shape
        out = np.empty((height, width, 3), np.uint8) if out is None else out
        rows = max(1, _STRIP // width)
        for top in range(0, height, rows):
            strip = slice(top, top + rows)
            numbers = [plane[strip].astype(np.float32) for plane in planes]
            light = [self._light[_level(_mixed(row, numbers))] for row in self._signal]
            for channel, value in enumerate(self._displayed(light)):
                root = np.sqrt(np.maximum(value, 0))
                out[strip, :, channel] = self._numbers[_level(root * np.float32(_LEVELS - 1))]
        return out

    def _displayed(self, light: list[Array]) -> list[Array]:
        """Decoded light -> light of BT.709; what lies outside 0..1 is to be clipped."""
        if self._luminance is not None:
            ootf = _mixed(self._luminance, light) ** np.float32(_HLG_GAMMA - 1)
            light = [value * ootf for value in light]
        light = [_mixed(row, light) for row in self._mix]
        if self._peak > 1:
            brightest = np.maximum(np.maximum(light[0], light[1]), light[2])
            if brightest.max() > _KNEE:
                held = np.maximum(brightest, np.float32(_KNEE))
                gain = shoulder(held, self._peak) / held
                light = [value * gain for value in light]
        return light


def _mixed(row: Array, parts: Sequence[Array]) -> Array:
    """Weighted sum of arrays, plus row[3] if there is one; weights of 0 cost nothing."""
    total = np.full_like(parts[0], row[3] if len(row) > 3 else 0)
    for weight, part in zip(row, parts, strict=False):
        if weight:
            total += np.float32(weight) * part
    return total


def _level(values: Array) -> npt.NDArray[np.uint16]:
    """Entry of a table for values that are 0.._LEVELS - 1, rounded and clipped."""
    return (np.clip(values, 0, _LEVELS - 1) + np.float32(0.5)).astype(np.uint16)


def _to_signal(coding: Coding, bits: int) -> Array:
    """(3, 4): from planes and 1 to R'G'B' (of ICtCp L'M'S') in 0..1."""
    if coding.matrix == RGB:
        return np.hstack([np.eye(3) / ((1 << bits) - 1), np.zeros((3, 1))])
    most = ((1 << bits) - 1) << (16 - bits)
    luma, chroma, black = (most, most, 0) if coding.full else (219 << 8, 224 << 8, 16 << 8)
    scale = np.diag([1 / luma, 1 / chroma, 1 / chroma])
    matrix = _to_rgb(coding) @ scale
    return np.hstack([matrix, -matrix @ np.array([[black], [1 << 15], [1 << 15]])])


def _to_rgb(coding: Coding) -> Array:
    """(3, 3): Y', Cb, Cr with chroma in -0.5..0.5 -> R'G'B'."""
    if coding.matrix == _ICTCP:
        return np.linalg.inv(_LMS_TO_ICTCP)
    if coding.matrix == _YCGCO:
        return np.array([[1.0, -1.0, 1.0], [1.0, 1.0, 0.0], [1.0, -1.0, -1.0]])
    if coding.matrix == _DERIVED:
        red, _, blue = xyz_of(coding.primaries)[1]
    else:
        red, blue = _WEIGHTS[coding.matrix]
    luma = np.array([red, 1 - red - blue, blue])
    rows = [luma, (np.array([0, 0, 1]) - luma) / (2 * (1 - blue)), (np.array([1, 0, 0]) - luma) / (2 * (1 - red))]
    return np.linalg.inv(np.stack(rows))


def xyz_of(primaries: int | Sequence[tuple[float, float]]) -> Array:
    """(3, 3): light R, G, B -> CIE XYZ with Y = 1 for white.

    primaries: code point, or x, y of red, green, blue and white
    """
    points = _CHROMATICITIES[primaries] if isinstance(primaries, int) else primaries
    *colours, white = (np.array([x / y, 1.0, (1 - x - y) / y]) if y else np.array([x, y, 1 - x - y]) for x, y in points)
    columns = np.stack(colours, axis=1)
    matrix: Array = columns * np.linalg.solve(columns, white)
    return matrix


@lru_cache
def to_bt709(primaries: int | tuple[tuple[float, float], ...]) -> Array:
    """(3, 3): light of other primaries -> light of BT.709's; white stays white (Bradford)."""
    source, target = xyz_of(primaries), xyz_of(1)
    if primaries == _XYZ:
        return np.linalg.inv(target)
    cones, wanted = _BRADFORD @ source.sum(1), _BRADFORD @ target.sum(1)
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(wanted / cones) @ _BRADFORD
    matrix: Array = np.linalg.inv(target) @ adapted @ source
    return matrix


def shoulder(light: Array, peak: float) -> Array:
    """Compress light above the knee by a hyperbola, as in Reinhard's curve; `peak` becomes 1.

    The slope is 1 at the knee; beyond the peak light is clipped.

    light, peak: relative to SDR white, _KNEE or more and more than 1
    """
    over = light - _KNEE
    curvature = 1 / (1 - _KNEE) - 1 / (peak - _KNEE)
    return np.minimum(_KNEE + over / (1 + curvature * over), 1.0)


def srgb_to_light(signal: Array) -> Array:
    """Decode sRGB (IEC 61966-2-1); 0..1 both."""
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def light_to_srgb(light: Array) -> Array:
    """Encode sRGB (IEC 61966-2-1); 0..1 both."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def pq_to_light(signal: Array) -> Array:
    """Decode PQ (SMPTE ST 2084, BT.2100 table 4) to light, 1 at SDR_WHITE."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = signal ** (1 / m2)
    return 10000 / SDR_WHITE * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)


def hlg_to_scene(signal: Array) -> Array:
    """Decode HLG (ARIB STD-B67, BT.2100 table 5) to light of the scene, 0..1."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


def _hlg_before_ootf(signal: Array) -> Array:
    """Scene light E of HLG, scaled so that E * Y ** (gamma - 1) is light of the display."""
    scale: float = (HDR_PEAK / SDR_WHITE) ** (1 / _HLG_GAMMA)
    return hlg_to_scene(signal) * scale


def power(exponent: float) -> Curve:
    """Make the curve x ** exponent."""
    return lambda values: values**exponent


def _log_to_light(decades: float) -> Curve:
    return lambda signal: np.where(signal > 0, 10 ** (decades * (signal - 1)), 0.0)


_TO_LIGHT: dict[int, Curve] = {  # transfers whose numbers are not those of SDR
    LINEAR: power(1.0),
    _LOG: _log_to_light(2.0),
    _LOG_SQRT: _log_to_light(2.5),
    _PQ: pq_to_light,
    _ST428: lambda signal: 52.37 / 48 * signal**2.6,
    _HLG: _hlg_before_ootf,
}
_DISPLAYED: dict[int, tuple[Curve, Curve]] = {  # other SDR transfers are displayed by BT.1886
    4: (power(2.2), power(1 / 2.2)),
    5: (power(2.8), power(1 / 2.8)),
    13: (srgb_to_light, light_to_srgb),
}
