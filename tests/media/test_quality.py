"""Quality of pictures against known pictures, known stretches, and ffmpeg's own detectors."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from scipy.fft import dctn

from features.media.decode import decode_media
from features.media.quality import PictureMeter, SoundMeter, is_black, is_blurred, is_frozen, media_quality
from features.records import MediaQuality
from tests.media.scenes import FPS, scene, write_film

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from features.records import DecodedMedia


def flat(grey: int, height: int = 90, width: int = 160) -> npt.NDArray[np.uint8]:
    return np.full((height, width, 3), grey, np.uint8)


def test_a_plain_picture_has_no_contrast_and_no_sharpness() -> None:
    quality = PictureMeter().measure(flat(51))
    assert quality.brightness == pytest.approx(0.2)
    assert (quality.contrast, quality.sharpness, quality.change) == (0, 0, None)


def test_half_black_half_white_has_the_largest_contrast() -> None:
    picture = flat(0)
    picture[:, 80:] = 255
    quality = PictureMeter().measure(picture)
    assert (quality.brightness, quality.contrast) == (pytest.approx(0.5), pytest.approx(0.5))
    # two columns of 160 answer to the edge, with +-255
    assert quality.sharpness == pytest.approx(2 * 255**2 / 160)


def test_change_is_the_mean_difference_to_the_picture_before() -> None:
    meter = PictureMeter()
    meter.measure(flat(100))
    step = flat(100)
    step[:, :16] = 151
    assert meter.measure(step).change == pytest.approx(0.1 * 0.2)
    assert meter.measure(step).change == 0
    assert meter.measure(flat(100, 180, 320)).change == pytest.approx(0.1 * 0.2, abs=1e-3)  # another size


def test_the_hash_is_which_low_frequencies_are_above_their_median() -> None:
    quality = PictureMeter().measure(scene(1))
    small = cv2.resize(cv2.cvtColor(scene(1), cv2.COLOR_BGR2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
    low = dctn(small.astype(float), norm="ortho")[1:17, 1:17]
    bits = [low[i, j] > np.median(low) for i, j in sorted(np.ndindex(16, 16), key=lambda at: (sum(at), at))]
    assert np.unpackbits(np.frombuffer(quality.picture_hash, np.uint8)).tolist() == bits


def test_blur_costs_sharpness_whatever_the_size() -> None:
    large = cv2.resize(scene(2), (1280, 720), interpolation=cv2.INTER_NEAREST)
    sharp, blurred = PictureMeter().measure(large), PictureMeter().measure(cv2.GaussianBlur(large, (0, 0), 16))
    assert sharp.sharpness == pytest.approx(PictureMeter().measure(scene(2)).sharpness, rel=0.01)
    assert is_blurred(blurred)
    assert not is_blurred(sharp)


def test_a_media_without_tracks_has_no_quality() -> None:
    assert media_quality(None, None) == media_quality(PictureMeter(), SoundMeter()) == MediaQuality()


def test_plain_pictures_make_no_hash() -> None:
    meter = PictureMeter()
    for grey in (0, 16, 128, 255):
        meter.measure(flat(grey))
    assert media_quality(meter, None).perceptual_hash is None


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Black to 3 s, good to 6 s, frozen to 11 s, good to 13 s, blurred to 16 s."""
    good = [scene(7, 3 * index) for index in range(16 * FPS)]
    black = [np.zeros_like(good[0])] * (3 * FPS)
    frozen = [good[6 * FPS]] * (5 * FPS)
    blurred = [np.asarray(cv2.GaussianBlur(picture, (0, 0), 5), np.uint8) for picture in good[13 * FPS :]]
    pictures = [*black, *good[3 * FPS : 6 * FPS], *frozen, *good[11 * FPS : 13 * FPS], *blurred]
    return write_film(tmp_path_factory.mktemp("spoiled") / "spoiled.mp4", pictures)


@pytest.fixture(scope="module")
def decoded(spoiled: Path) -> DecodedMedia:
    return decode_media(spoiled)


def test_shares_are_those_of_the_stretches(decoded: DecodedMedia) -> None:
    quality = decoded.info.quality
    assert quality is not None
    assert quality.black_share == 3 / 16
    assert quality.frozen_share == (2 + 4) / 16  # the first of a stretch differs from the one before
    assert quality.blurred_share == 3 / 16
    assert quality.loudness_lufs is None


def test_ffmpeg_finds_the_same_stretches(spoiled: Path, decoded: DecodedMedia) -> None:
    filters = "blackdetect=d=0.5,freezedetect=d=0.5,blurdetect,metadata=print:file=-"
    command = ["ffmpeg", "-hide_banner", "-nostats", "-i", str(spoiled), "-vf", filters, "-f", "null", "-"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    (black,) = re.findall(r"black_start:(\S+) black_end:(\S+)", told.stderr)
    frozen = list(
        zip(*(re.findall(rf"freezedetect.freeze_{at}: (\S+)", told.stderr) for at in ("start", "end")), strict=True)
    )
    blur = np.array(re.findall(r"pts_time:(\S+)\s(?:lavfi\.(?!blur).*\s)*lavfi\.blur=(\S+)", told.stdout), float)
    for frame in decoded.frames:
        assert frame.quality is not None
        seconds = frame.t_us / 1e6
        assert is_black(frame.quality) == inside(seconds, [black])
        assert is_frozen(frame.quality) == inside(seconds - 1, frozen) & inside(seconds, frozen)
        (theirs,) = blur[np.isclose(blur[:, 0], seconds), 1]
        assert is_blurred(frame.quality) == (theirs > 10)  # the sharp ones have 3 to 5, the blurred 20 and more


def inside(seconds: float, stretches: list[tuple[str, str]]) -> bool:
    return any(float(start) - 1e-3 <= seconds < float(end) - 1e-3 for start, end in stretches)
