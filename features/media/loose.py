"""A loose sample: one image, one sound and one text, from separate files, as one media."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from features.errors import DecodeError, MissingStreamError, TranscriptionError
from features.identity import MICROSECONDS
from features.media.decode import decode_media
from features.media.options import DEFAULT_OPTIONS, DecodeOptions
from features.media.pictures import encode_jpeg, fit
from features.records import DecodedMedia, Frame, MediaInfo, Utterance
from features.transcripts.subtitles import parse_subtitles, read_text

if TYPE_CHECKING:
    from pathlib import Path

_SUBTITLE_SUFFIXES = frozenset({".ass", ".srt", ".ssa", ".vtt"})
_SILENT_US = MICROSECONDS


def read_loose(
    image: Path | None, sound: Path | None, text: Path | None, options: DecodeOptions = DEFAULT_OPTIONS
) -> DecodedMedia:
    """One media of a still image, a sound and a text; any of them may be missing, not all.

    The image is on screen, and a plain text is said, for as long as the sound lasts; for one second without
    sound. A SubRip, WebVTT or ASS text keeps its own times.

    Args:
        image: A picture file; turned upright as its EXIF says.
        sound: A file with a sound track.
        text: A text file in any usual encoding, or a subtitle file.
        options: Size and quality of the picture, rate and chunks of the sound.

    Raises:
        MissingStreamError: No file is given, or the sound file has no sound.
        DecodeError: The image or the sound cannot be decoded.
        TranscriptionError: The text cannot be read or is empty.
    """
    if image is None and sound is None and text is None:
        message = "a sample without files (image, sound and text are all None); give at least one of them"
        raise MissingStreamError(message)
    heard = None if sound is None else _read_sound(sound, options)
    duration_us = heard.audio[-1].end_us if heard else _SILENT_US
    utterances = () if text is None else _read_words(text, duration_us)
    duration_us = max([duration_us, *(utterance.end_us for utterance in utterances)])
    frame, displayed = (None, None) if image is None else _read_image(image, duration_us, options)
    info = MediaInfo(
        container="loose",
        duration_us=duration_us,
        width=displayed[0] if displayed else None,
        height=displayed[1] if displayed else None,
        rotation=None,
        frame_rate=None,
        sample_rate_hz=heard.info.sample_rate_hz if heard else None,
        has_video=frame is not None,
        has_audio=heard is not None,
        has_text=bool(utterances),
        language=heard.info.language if heard else None,
    )
    return DecodedMedia(info, (frame,) if frame else (), heard.audio if heard else (), utterances)


def _read_sound(path: Path, options: DecodeOptions) -> DecodedMedia:
    heard = decode_media(path, options)
    if not heard.audio:
        message = f"no sound in {str(path)!r} (container {heard.info.container}); give a file with a sound track"
        raise MissingStreamError(message)
    return heard


def _read_words(path: Path, duration_us: int) -> tuple[Utterance, ...]:
    content = read_text(path)
    if path.suffix.lower() in _SUBTITLE_SUFFIXES:
        return parse_subtitles(content, name=str(path))
    words = " ".join(content.removeprefix("\ufeff").split())
    if not words:
        message = f"no words in {str(path)!r} ({len(content)} characters of white space); give a text or leave it out"
        raise TranscriptionError(message)
    return (Utterance(0, duration_us, words, "sidecar"),)


def _read_image(path: Path, duration_us: int, options: DecodeOptions) -> tuple[Frame, tuple[int, int]]:
    """The picture over the whole of the media, and its displayed width and height in the file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"cannot read {str(path)!r} ({error.strerror or error}); check that it exists and may be read"
        raise DecodeError(message) from error
    bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if bgr is None:
        message = f"cannot decode {str(path)!r} ({len(content)} bytes, no known picture); give a JPEG or PNG file"
        raise DecodeError(message)
    height, width = bgr.shape[:2]
    size = fit(width, height, options.frame_short_side)
    rgb = cv2.cvtColor(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    jpeg = encode_jpeg(np.asarray(rgb, np.uint8), options.jpeg_quality)
    return Frame(0, duration_us, 0, duration_us, jpeg, size[0], size[1]), (width, height)
