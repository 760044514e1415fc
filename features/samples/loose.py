"""Files of a loose sample as one media in memory, as `ingest` makes it of a row of a manifest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from features.errors import MissingStreamError, TranscriptionError
from features.media.decode import decode_media
from features.media.options import DEFAULT_OPTIONS, DecodeOptions
from features.media.sink import Collected
from features.samples.decode import decode_sample
from features.samples.record import Sample

if TYPE_CHECKING:
    from pathlib import Path

    from features.records import DecodedMedia


def read_loose(
    image: Path | None, sound: Path | None, text: Path | None, options: DecodeOptions = DEFAULT_OPTIONS
) -> DecodedMedia:
    """One media of an image, a sound and a text; any of them may be missing, not all.

    Times are those of `decode_sample`. A sound alone is a media as it stands in its file.

    Args:
        image: A still or an animation; turned upright as its EXIF says.
        sound: A file with a sound track.
        text: A text file in any usual encoding, or a subtitle file.
        options: Size and quality of the pictures, rate and chunks of the sound.

    Raises:
        MissingStreamError: No file is given, or the sound file has no sound.
        DecodeError: The image or the sound cannot be decoded.
        TranscriptionError: The text cannot be read or is empty.
    """
    files = [path for path in (image, sound, text) if path is not None]
    if not files:
        message = "a sample without files (image, sound and text are all None); give at least one of them"
        raise MissingStreamError(message)
    if sound is not None and len(files) == 1:
        return _read_sound(sound, options)
    named = [None if path is None else str(path) for path in (image, sound, text)]
    sample = Sample(image=named[0], audio=named[1], text_file=named[2])
    kept = Collected()
    media, bad = decode_sample(sample, options, name=str(files[0]), sink=kept, on_progress=lambda: None)
    for missed in bad:
        raise TranscriptionError(missed.message)
    return replace(media, frames=tuple(kept.frames), audio=tuple(kept.chunks))


def _read_sound(path: Path, options: DecodeOptions) -> DecodedMedia:
    heard = decode_media(path, options)
    if not heard.audio:
        message = f"no sound in {str(path)!r} (container {heard.info.container}); give a file with a sound track"
        raise MissingStreamError(message)
    return heard
