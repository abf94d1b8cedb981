"""Curves, matrices and tone mapping, against published values, formulas in float64 and zscale."""

from __future__ import annotations

import numpy as np
import pytest

from minisora.video.colour import (
    SDR_WHITE,
    Coding,
    ToSRGB,
    hlg_to_scene,
    light_to_srgb,
    pq_to_light,
    shoulder,
    srgb_to_light,
    to_bt709,
    xyz_of,
)
from tests.helpers import colours

KNEE = 0.975
IN_2020 = np.array([[0.6370, 0.1446, 0.1689], [0.2627, 0.6780, 0.0593], [0.0000, 0.0281, 1.0610]])  # to XYZ, BT.2020


def random(shape=(40, 60), seed=0, spread=0.3):
    """(H, W, 3) in 0..1: greys with some colour."""
    rng = np.random.default_rng(seed)
    grey = rng.random((*shape, 1))
    return np.clip(grey + spread * (rng.random((*shape, 3)) - 0.5), 0, 1)


def in_16_bits(signal):
    return [np.round(signal[..., channel] * 65535).astype(np.uint16) for channel in range(3)]


@pytest.mark.parametrize(
    ("signal", "nits"),
    [(0.0, 0.0), (0.1, 0.3246), (0.5081, 100), (0.5807, 203), (0.7518, 1000), (0.9026, 4000), (1, 1e4)],
)
def test_pq_has_its_published_values(signal, nits):
    """ITU-R BT.2408, table 1 and annex; BT.2100."""
    assert pq_to_light(np.array(signal)) * SDR_WHITE == pytest.approx(nits, rel=2e-3)


@pytest.mark.parametrize(("signal", "scene"), [(0, 0), (0.25, 1 / 48), (0.5, 1 / 12), (0.75, 0.265), (1, 1)])
def test_hlg_has_its_published_values(signal, scene):
    assert hlg_to_scene(np.array(float(signal))) == pytest.approx(scene, abs=3e-4)


def test_srgb_is_undone_and_grey_is_118():
    signal = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(light_to_srgb(srgb_to_light(signal)), signal, atol=1e-7)
    assert 255 * light_to_srgb(np.array(0.18)) == pytest.approx(117.65, abs=0.01)


def test_primaries_have_their_published_matrices():
    """BT.709 and BT.2020 to XYZ, BT.2087's conversion, and CSS Color 4's of Display P3."""
    np.testing.assert_allclose(xyz_of(9), IN_2020, atol=1e-4)
    np.testing.assert_allclose(xyz_of(1)[1], [0.2126, 0.7152, 0.0722], atol=1e-4)
    from_2020 = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    np.testing.assert_allclose(to_bt709(9), from_2020, atol=1e-4)
    from_p3 = [[1.2249, -0.2249, 0.0], [-0.0420, 1.0420, 0.0], [-0.0197, -0.0786, 1.0983]]
    np.testing.assert_allclose(to_bt709(12), from_p3, atol=4e-4)


@pytest.mark.parametrize("primaries", [1, 4, 5, 6, 7, 8, 9, 11, 12, 22])
def test_white_stays_white(primaries):
    np.testing.assert_allclose(to_bt709(primaries).sum(1), 1, atol=1e-9)


@pytest.mark.parametrize("peak", [300 / 203, 1000 / 203, 10000 / 203])
def test_the_shoulder_begins_at_white_and_ends_at_the_peak(peak):
    light = np.linspace(KNEE, peak, 20001)
    shown = shoulder(light, peak)
    assert shown[0] == KNEE and shown[-1] == pytest.approx(1) and (np.diff(shown) > 0).all()
    assert (shown[1] - shown[0]) / (light[1] - light[0]) == pytest.approx(1, abs=0.1)
    assert shoulder(np.array(peak * 3), peak) == 1
    assert 253 <= 255 * light_to_srgb(shoulder(np.array(1.0), peak)) <= 255


def by_formula(signal, transfer, peak=1000.0):
    """8-bit sRGB of R'G'B' in BT.2020, in float64, written anew from BT.2100 and BT.2408."""
    if transfer == 16:
        power = signal ** (1 / 78.84375)
        nits = 10000 * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
        nits = 1000 * scene * (scene @ [0.2627, 0.6780, 0.0593])[..., None] ** 0.2
    to_709 = np.linalg.inv(xyz_of(1)) @ xyz_of(9)
    light = np.maximum(nits / 203 @ to_709.T, 0)
    most = light.max(-1, keepdims=True)
    over = np.maximum(most - KNEE, 0)
    shown = np.where(most > KNEE, KNEE + over / (1 + over * (1 / (1 - KNEE) - 1 / (peak / 203 - KNEE))), most)
    return 255 * light_to_srgb(np.clip(light * shown / np.maximum(most, 1e-9), 0, 1))


@pytest.mark.parametrize("transfer", [16, 18])
@pytest.mark.parametrize("peak", [400.0, 1000.0, 4000.0])
def test_hdr_is_what_the_formulas_say(transfer, peak):
    signal = random(spread=0.5)
    got = ToSRGB.of(Coding(9, transfer, 0), 16, peak)(in_16_bits(signal))
    assert np.abs(got - by_formula(signal, transfer, peak)).max() < 0.75


def test_light_above_white_keeps_its_hue():
    """Twice and four times the light of a bright orange: the same ratios, as far as bytes tell."""
    orange = np.array([1.0, 0.5, 0.1])
    for times in (1, 2, 4):
        signal = np.interp(
            times * orange @ np.linalg.inv(to_bt709(9)).T,
            pq_to_light(np.linspace(0, 1, 10**5)),
            np.linspace(0, 1, 10**5),
        )
        got = ToSRGB.of(Coding(9, 16, 0), 16)(in_16_bits(signal[None, None]))[0, 0]
        assert got[0] >= 253 and np.abs(got - 255 * light_to_srgb(orange)).max() < 2.5


def test_a_peak_below_white_needs_no_shoulder():
    signal = np.full((1, 1, 3), 0.5807)
    assert ToSRGB.of(Coding(9, 16, 0), 16, 150.0)(in_16_bits(signal)).min() == 255


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize(
    ("matrix", "red", "blue"), [(1, 0.2126, 0.0722), (6, 0.299, 0.114), (4, 0.3, 0.11), (9, 0.2627, 0.0593)]
)
def test_numbers_of_any_matrix_range_and_depth(matrix, red, blue, bits, full):
    """Y'CbCr by the formulas of H.273, and back to the R'G'B' that they are of."""
    signal = random(spread=0.8)
    luma = signal @ [red, 1 - red - blue, blue]
    chroma = [(signal[..., 2] - luma) / (2 - 2 * blue), (signal[..., 0] - luma) / (2 - 2 * red)]
    most, step = (1 << bits) - 1, 1 << (bits - 8)
    scales = ((most, 0), (most, 128 * step)) if full else ((219 * step, 16 * step), (224 * step, 128 * step))
    planes = [
        np.clip(np.round(values * scale + zero), 0, most).astype(np.uint16) << (16 - bits)
        for values, (scale, zero) in zip((luma, *chroma), (scales[0], scales[1], scales[1]), strict=True)
    ]
    got = ToSRGB.of(Coding(1, 13, matrix, full), bits)(planes)
    assert np.abs(got - 255 * signal).max() < (2.2 if bits == 8 else 1.1)


def test_missing_tags_are_what_players_take():
    assert Coding().resolved(rgb=False, hd=True) == Coding(1, 1, 1)
    assert Coding(matrix=0, full=True).resolved(rgb=False, hd=False) == Coding(1, 1, 6, True)
    assert Coding(transfer=18).resolved(rgb=False, hd=False) == Coding(9, 18, 9)
    assert Coding(3, 99, 77).resolved(rgb=True, hd=True) == Coding(1, 1, 0)
    assert Coding(9, 16, 9).name == "bt2020/pq/bt2020nc" and Coding().name == "unknown/unknown/unknown"


def within_gamut(light):
    """Pixels whose light zscale and we should show alike: inside BT.709, and below the shoulder."""
    return ((light >= 0) & (light <= KNEE)).all(-1)


@pytest.mark.skipif(not colours.ffmpeg(), reason="no ffmpeg with zscale here")
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("primaries", "transfer", "matrix"),
    [(9, 16, 9), (9, 18, 9), (12, 16, 9), (1, 16, 1), (9, 16, 14), (1, 8, 1), (6, 13, 6), (12, 13, 12), (22, 13, 8)],
)
def test_light_agrees_with_zscale(primaries, transfer, matrix, full):
    """Linear light; agamma=0: without zscale's approximation, HLG with its OOTF over luminance."""
    rng = np.random.default_rng(0)
    luma = rng.integers(80, 900, (40, 60)).astype(np.uint16)
    planes = [luma, *(np.clip(512 + rng.normal(0, 30, (2, 40, 60)), 64, 960).astype(np.uint16))]
    tags = {"primaries": primaries, "transfer": transfer, "matrix": matrix}
    filters = "zscale=t=linear:npl=203:agamma=0,format=gbrpf32le,zscale=p=bt709"
    light = colours.zscaled(planes, "yuv444p10le", filters, **tags, full=full).astype(np.float64)
    got = ToSRGB.of(Coding(**tags, full=full), 10)([plane << 6 for plane in planes])
    same = within_gamut(light)
    assert same.mean() > 0.2
    assert np.abs(got - 255 * light_to_srgb(np.clip(light, 0, 1)))[same].max() < 2


@pytest.mark.skipif(not colours.ffmpeg(), reason="no ffmpeg with zscale here")
@pytest.mark.parametrize(("primaries", "transfer"), [(5, 1), (6, 6), (9, 14), (11, 1), (12, 1), (12, 13), (22, 6)])
def test_sdr_of_other_primaries_agrees_with_zscale(primaries, transfer):
    signal = random(spread=0.4)
    planes = in_16_bits(signal)
    tags = {"primaries": primaries, "transfer": transfer, "matrix": 0}
    wanted = colours.zscaled(
        [planes[n] for n in (1, 2, 0)], "gbrp16le", "format=gbrpf32le,zscale=p=bt709:agamma=0", **tags, full=True
    )
    got = ToSRGB.of(Coding(**tags), 16)(planes)
    same = ((wanted >= 0.02) & (wanted <= 1)).all(-1)  # next to black a rounding of 16 bits is three levels
    assert same.mean() > 0.4 and np.abs(got - 255 * wanted)[same].max() < 2
