"""A loose sample: one image, one sound and one text, from separate files, as one media."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from features.errors import MissingStreamError, TranscriptionError
from features.identity import MICROSECONDS
from features.media.decode import decode_media
from features.media.options import DEFAULT_OPTIONS, DecodeOptions
from features.media.pictures import encode_jpeg
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
    utterances = () if text is None else read_words(text, duration_us)
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


def read_words(path: Path, duration_us: int, language: str | None = None) -> tuple[Utterance, ...]:
    """Words of a text file over all of a media; a SubRip, WebVTT or ASS text keeps its own times.

    Raises:
        TranscriptionError: It cannot be read, or is no text, or empty.
    """
    content = read_text(path)
    if path.suffix.lower() in _SUBTITLE_SUFFIXES:
        return parse_subtitles(content, name=str(path), language=language)
    return words_over(content, duration_us, name=str(path), language=language)


def words_over(content: str, duration_us: int, *, name: str, language: str | None = None) -> tuple[Utterance, ...]:
    """A text that is said from the start to the end.

    Args:
        content: The text.
        duration_us: Length of the media.
        name: What to call it in an error.
        language: BCP 47 tag of the text, or None.

    Raises:
        TranscriptionError: It has no words.
    """
    words = " ".join(content.removeprefix("\ufeff").split())
    if not words:
        message = f"no words in {name!r} ({len(content)} characters of white space); give a text or leave it out"
        raise TranscriptionError(message)
    return (Utterance(0, duration_us, words, "sidecar", language),)


def _read_image(path: Path, duration_us: int, options: DecodeOptions) -> tuple[Frame, tuple[int, int]]:
    """The picture over the whole of the media, and its displayed width and height in the file."""
    from features.samples.images import read_still

    bgr, facts = read_still(path, options.frame_short_side)
    height, width = bgr.shape[:2]
    jpeg = encode_jpeg(np.asarray(bgr[..., ::-1], np.uint8), options.jpeg_quality)
    return Frame(0, duration_us, 0, duration_us, jpeg, width, height), (facts.width, facts.height)
