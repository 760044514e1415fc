"""Quality for cleaning: what a picture, a chunk of sound and a media are like; not what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from features.media.hashes import MediaSketch, picture_hash
from features.media.loudness import SoundMeter
from features.records import MediaQuality, PictureQuality

if TYPE_CHECKING:
    import numpy.typing as npt

    Luma = npt.NDArray[np.uint8]

__all__ = ["PictureMeter", "SoundMeter", "is_black", "is_blurred", "is_frozen", "media_quality"]

SHARPNESS_SIDE = 180
"""Short side, pixels, at which pictures are measured; smaller ones as they are."""

BLACK_BRIGHTNESS = 0.05
"""Mean luma of a black picture at most: half of what ffmpeg's blackdetect allows a pixel."""

BLACK_CONTRAST = 0.05
"""Deviation of luma of a black picture at most: white titles on black have more."""

FROZEN_CHANGE = 0.001
"""Mean difference of luma up to which two pictures are the same: that of ffmpeg's freezedetect (-60 dB).

Real clips of people who sit still change by 0.003 to 0.006 a second.
"""

BLURRED_SHARPNESS = 20.0
"""Variance of the Laplacian below which a picture is blurred: the softest of 40 real clips has 28."""

PLAIN_CONTRAST = 0.02
"""Deviation of luma, five levels of 256, below which a picture is plain: no blur shows in it, and its hash is noise."""


class PictureMeter:
    """Measures pictures in order of time; keeps one small picture, counts, and the hash of all.

    Attributes:
        num_pictures: Pictures so far.
        num_black: Black ones of them.
        num_frozen: Those that equal the one before.
        num_blurred: Those that are blurred.
        sketch: Hash of all.
    """

    def __init__(self) -> None:
        self.num_pictures = self.num_black = self.num_frozen = self.num_blurred = 0
        self.sketch = MediaSketch()
        self._before: Luma | None = None

    def measure(self, bgr: npt.NDArray[np.uint8]) -> PictureQuality:
        """Quality of the next picture.

        Args:
            bgr: Uint8, shape [height, width, 3].
        """
        luma = _measured(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY))
        mean, deviation = cv2.meanStdDev(luma)
        quality = PictureQuality(
            brightness=float(mean[0, 0]) / 255,
            contrast=float(deviation[0, 0]) / 255,
            sharpness=_sharpness(luma),
            change=None if self._before is None else _change(self._before, luma),
            picture_hash=picture_hash(luma),
        )
        self._before = luma
        self.count(quality)
        return quality

    def count(self, quality: PictureQuality) -> None:
        """Take a picture that was measured elsewhere; in order of time."""
        self.num_pictures += 1
        self.num_black += is_black(quality)
        self.num_frozen += is_frozen(quality)
        self.num_blurred += is_blurred(quality)
        if quality.contrast >= PLAIN_CONTRAST:
            self.sketch.add(quality.picture_hash)


def is_black(quality: PictureQuality) -> bool:
    """Whether a picture shows nothing but black."""
    return quality.brightness <= BLACK_BRIGHTNESS and quality.contrast <= BLACK_CONTRAST


def is_frozen(quality: PictureQuality) -> bool:
    """Whether a picture equals the sampled one before."""
    return quality.change is not None and quality.change <= FROZEN_CHANGE


def is_blurred(quality: PictureQuality) -> bool:
    """Whether a picture that has something in it is blurred."""
    return quality.contrast >= PLAIN_CONTRAST and quality.sharpness < BLURRED_SHARPNESS


def media_quality(pictures: PictureMeter | None, sound: SoundMeter | None) -> MediaQuality:
    """Quality of a media as a whole, of what its meters have seen; None for a track that it lacks."""
    quality = MediaQuality()
    if pictures is not None and pictures.num_pictures:
        quality = quality._replace(
            black_share=pictures.num_black / pictures.num_pictures,
            frozen_share=pictures.num_frozen / pictures.num_pictures,
            blurred_share=pictures.num_blurred / pictures.num_pictures,
            perceptual_hash=pictures.sketch.to_bytes(),
        )
    if sound is not None and sound.num_samples:
        quality = quality._replace(
            loudness_lufs=sound.loudness_lufs(),
            clipped_share=sound.num_clipped / sound.num_samples,
            silence_share=sound.num_silent / sound.num_samples,
        )
    return quality


def _measured(luma: Luma) -> Luma:
    height, width = luma.shape
    scale = SHARPNESS_SIDE / min(height, width)
    if scale >= 1:
        return luma
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)


def _sharpness(luma: Luma) -> float:
    _, deviation = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))
    return float(deviation[0, 0]) ** 2


def _change(before: Luma, luma: Luma) -> float:
    if before.shape != luma.shape:
        before = np.asarray(cv2.resize(before, luma.shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return float(cv2.norm(before, luma, cv2.NORM_L1)) / luma.size / 255
