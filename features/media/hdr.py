"""High dynamic range and wide gamut to 8-bit pictures for an ordinary screen (sRGB), in numpy."""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING

import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import ColorPrimaries, ColorTrc

if TYPE_CHECKING:
    import av
    import numpy.typing as npt

    Linear = npt.NDArray[np.float32]

_LEVELS = 1 << 16
_WHITE_NITS = 203.0  # what shines like paper in HDR: the white of the 8-bit picture
_USUAL_PEAK_NITS = 1000.0
_GAMMA_HLG = 1.2  # of a screen of 1000 nits
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)

# Linear light with the primaries of BT.2020 or of P3, to those of BT.709 (white D65 in all three).
_TO_709 = {
    int(ColorPrimaries.BT2020): np.array(
        [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]],
        np.float32,
    ),
    int(ColorPrimaries.SMPTE432): np.array(
        [[1.224940, -0.224940, 0.0], [-0.042057, 1.042057, 0.0], [-0.019638, -0.078636, 1.098274]], np.float32
    ),
}


def is_wide(frame: av.VideoFrame) -> bool:
    """Whether a frame has more light or other primaries than an 8-bit picture can take as it stands."""
    return frame.color_trc in {ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67} or frame.color_primaries in _TO_709


def to_standard(rgb: npt.NDArray[np.uint16], frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    """Picture for an ordinary screen: paper white near white, highlights rolled off, colours kept.

    Args:
        rgb: The signal of `frame` as R'G'B' of full range, uint16, shape [height, width, 3]; of any size.
        frame: Tells transfer, primaries and peak; PQ and HLG are mapped, any other transfer is taken for sRGB's.

    Returns:
        sRGB, uint8, same shape.

    Reference:
        ITU-R BT.2100-2 (PQ, HLG), BT.2390-11 section 5.4.1 (the curve), BT.2408-7 (203 cd/m² for white).
    """
    light = _linear(rgb, frame.color_trc)
    matrix = _TO_709.get(frame.color_primaries)
    if matrix is not None:
        light = np.maximum(light @ matrix.T, np.float32(0))
    if frame.color_trc in {ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67}:
        brightest = light.max(axis=2)
        light *= _gains(peak_nits(frame))[_level(np.sqrt(brightest / np.float32(10_000 / _WHITE_NITS)))][..., None]
    return _srgb_table()[_level(light)]


def peak_nits(frame: av.VideoFrame) -> float:
    """The most light in a PQ video: as it states, or 1000 nits."""
    if frame.color_trc != ColorTrc.SMPTE2084:
        return _USUAL_PEAK_NITS
    stated = _stated_peaks(frame)
    return next((min(max(peak, 400.0), 10_000.0) for peak in stated if peak > 0), _USUAL_PEAK_NITS)


def pq_light(signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Nits of a PQ signal in [0, 1]."""
    power = np.power(np.clip(signal, 0, 1), 1 / 78.84375)
    ratio = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
    return np.asarray(10_000 * np.power(ratio, 1 / 0.1593017578125))


def pq_signal(nits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """PQ signal in [0, 1] of nits."""
    power = np.power(np.clip(nits, 0, 10_000) / 10_000, 0.1593017578125)
    return np.asarray(np.power((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power), 78.84375))


def hlg_light(signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Light of the scene in [0, 1] of an HLG signal in [0, 1]."""
    bright = (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.asarray(np.where(signal <= 0.5, signal * signal / 3, bright))


def _linear(rgb: npt.NDArray[np.uint16], transfer: int) -> Linear:
    """Light on the screen, 1 for paper white."""
    light = _light_table(transfer)[rgb]
    if transfer == ColorTrc.ARIB_STD_B67:
        luma = np.maximum(light @ _LUMA_2020, np.float32(1e-6))
        light *= (np.float32(_USUAL_PEAK_NITS / _WHITE_NITS) * luma ** np.float32(_GAMMA_HLG - 1))[..., None]
    return light


@functools.cache
def _light_table(transfer: int) -> Linear:
    signal = np.linspace(0, 1, _LEVELS)
    if transfer == ColorTrc.SMPTE2084:
        return (pq_light(signal) / _WHITE_NITS).astype(np.float32)
    if transfer == ColorTrc.ARIB_STD_B67:
        return hlg_light(signal).astype(np.float32)
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4).astype(np.float32)


@functools.cache
def _srgb_table() -> npt.NDArray[np.uint8]:
    light = np.linspace(0, 1, _LEVELS)
    signal = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * signal).astype(np.uint8)


@functools.lru_cache(8)
def _gains(peak: float) -> Linear:
    """By what to multiply light, by the square root of the brightest channel over 10,000 nits."""
    nits = 10_000 * np.linspace(0, 1, _LEVELS) ** 2
    nits[0] = nits[1]
    return (_rolled_off(nits, peak) / nits).astype(np.float32)


def _rolled_off(nits: npt.NDArray[np.float64], peak: float) -> npt.NDArray[np.float64]:
    """BT.2390's curve from a screen of `peak` nits to one whose peak is paper white."""
    top = pq_signal(np.array(peak))
    signal = np.minimum(pq_signal(nits) / top, 1)
    largest = float(pq_signal(np.array(_WHITE_NITS)) / top)
    knee = 1.5 * largest - 0.5
    part = np.clip((signal - knee) / (1 - knee), 0, 1)
    spline = (
        (2 * part**3 - 3 * part**2 + 1) * knee
        + (part**3 - 2 * part**2 + part) * (1 - knee)
        + (3 * part**2 - 2 * part**3) * largest
    )
    return pq_light(np.where(signal < knee, signal, spline) * top)


def _level(share: Linear) -> npt.NDArray[np.uint16]:
    """Index into a table for a share of its range."""
    return (np.clip(share, 0, 1) * np.float32(_LEVELS - 1) + np.float32(0.5)).astype(np.uint16)


def _stated_peaks(frame: av.VideoFrame) -> tuple[float, ...]:
    """Most light of the content, then of the screen it was made on; nits, 0 where not stated."""
    content = frame.side_data.get(Type.CONTENT_LIGHT_LEVEL)
    brightest = struct.unpack_from("I", bytes(content))[0] if content else 0
    screen = frame.side_data.get(Type.MASTERING_DISPLAY_METADATA)
    numerator, denominator = struct.unpack_from("2i", bytes(screen), 72) if screen else (0, 0)
    return float(brightest), numerator / denominator if denominator else 0.0
