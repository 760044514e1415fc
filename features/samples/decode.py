"""Decoding a loose sample: its image, its sound and its text on one timeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from features.errors import MissingStreamError, TranscriptionError
from features.identity import MICROSECONDS
from features.media.decode import decode_media
from features.media.pictures import encode_jpeg
from features.media.quality import PictureMeter, media_quality
from features.media.sampling import is_wanted
from features.media.spans import Sample as Kept
from features.media.spans import Spans
from features.media.words import read_words, words_over
from features.records import DecodedMedia, Frame, MediaInfo, MediaQuality, Missed, Shot
from features.samples.images import num_pictures, read_animation, read_still

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.media.options import DecodeOptions
    from features.media.sink import Sink
    from features.records import AudioChunk, Utterance
    from features.samples.images import Picture
    from features.samples.record import Sample

SILENT_US = MICROSECONDS
"""How long a still or a text lasts without a sound."""


class _Seen(NamedTuple):
    """What the image came to."""

    container: str
    width: int | None
    height: int | None
    end_us: int
    frame_rate: float | None
    quality: MediaQuality


class DecodedSample(NamedTuple):
    """A loose sample, and its text where it cannot be used beside what else there is."""

    media: DecodedMedia
    bad_texts: tuple[Missed, ...] = ()


def decode_sample(
    sample: Sample, options: DecodeOptions, *, name: str, sink: Sink, on_progress: Callable[[], None]
) -> DecodedSample:
    """One media of an image, a sound and a text, any of which may be missing; what is missing has no rows.

    A still is on screen, and a plain text is said, for as long as the sound lasts; for one second without sound. An
    animation keeps its own times, and its last picture stays while the sound lasts.

    Args:
        sample: Paths of the parts, and the text.
        options: Size and quality of the pictures, rate and chunks of the sound.
        name: What to call the text in an error.
        sink: Takes pictures and chunks of sound; those of the media stay empty.
        on_progress: Called as a sign of life.

    Raises:
        MissingStreamError: The sound file has no sound.
        MediaError: The image or the sound cannot be decoded.
        TranscriptionError: There is nothing but a text, and it cannot be read or is empty.
    """
    ears = _Ears(sink)
    heard = None if sample.audio is None else _hear(sample.audio, options, ears, on_progress)
    on_progress()
    end_us = ears.end_us if heard else SILENT_US
    said, bad = _say(sample, end_us, name)
    end_us = max([end_us, *(one.end_us for one in said)])
    seen = None if sample.image is None else _see(Path(sample.image), options, end_us, sink, on_progress)
    if seen is not None and seen.end_us > end_us:
        said = tuple(replace(one, end_us=seen.end_us) if _is_throughout(one, end_us) else one for one in said)
        end_us = seen.end_us
    info = MediaInfo(
        container=_container(sample, seen),
        duration_us=end_us,
        width=seen.width if seen else None,
        height=seen.height if seen else None,
        rotation=None,
        frame_rate=seen.frame_rate if seen else None,
        sample_rate_hz=heard.sample_rate_hz if heard else None,
        has_video=seen is not None,
        has_audio=heard is not None,
        has_text=bool(said),
        language=sample.language or (heard.language if heard else None),
        quality=_quality(seen.quality if seen else None, heard.quality if heard else None),
    )
    shots = (Shot(0, end_us, "start"),) if seen else ()
    media = DecodedMedia(
        info,
        utterances=said,
        shots=shots if options.shots else None,
        motions=() if options.motion else None,
    )
    return DecodedSample(media, bad)


class _Ears:
    """Lets sound through, and no pictures; notes where it ends."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.end_us = 0

    def add_frame(self, frame: Frame) -> None:
        """Leave a picture out: the file was named for its sound."""

    def add_chunk(self, chunk: AudioChunk) -> None:
        """Take a chunk of sound."""
        self.end_us = chunk.end_us
        self._sink.add_chunk(chunk)


class _Eyes:
    """Lets pictures through; holds the last one, until it is known how long it stays."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._last: Frame | None = None

    def add_frame(self, frame: Frame) -> None:
        """Take a picture."""
        if self._last is not None:
            self._sink.add_frame(self._last)
        self._last = frame

    def finish(self, end_us: int) -> None:
        """Let the last one through, which stands for what is left of the media, and stays if it is the very last."""
        last = self._last
        if last is not None:
            longer_us = max(0, end_us - last.valid_end_us)
            is_very_last = last.t_us + last.duration_us >= last.valid_end_us
            duration_us = last.duration_us + longer_us * is_very_last
            self._sink.add_frame(replace(last, duration_us=duration_us, valid_end_us=last.valid_end_us + longer_us))


def _hear(path: str, options: DecodeOptions, ears: _Ears, on_progress: Callable[[], None]) -> MediaInfo:
    only = replace(options, shots=False, motion=False, sampling="interval")
    info = decode_media(Path(path), only, on_progress=on_progress, sink=ears).info
    if not info.has_audio:
        message = f"no sound in {path!r} (container {info.container}); give a file with a sound track"
        raise MissingStreamError(message)
    return info


def _say(sample: Sample, end_us: int, name: str) -> tuple[tuple[Utterance, ...], tuple[Missed, ...]]:
    """What is said; a bad text costs only itself, where there is something else."""
    place = sample.text_file or f"{name}#text"
    try:
        if sample.text is not None:
            return words_over(sample.text, end_us, name=place, language=sample.language), ()
        if sample.text_file is not None:
            return read_words(Path(sample.text_file), end_us, sample.language), ()
    except TranscriptionError as error:
        if sample.image is None and sample.audio is None:
            raise
        return (), (Missed(place, type(error).__name__, str(error)),)
    return (), ()


def _is_throughout(utterance: Utterance, end_us: int) -> bool:
    return (utterance.start_us, utterance.end_us) == (0, end_us)


def _see(path: Path, options: DecodeOptions, end_us: int, sink: Sink, on_progress: Callable[[], None]) -> _Seen:
    if num_pictures(path) == 1:
        return _see_still(path, options, end_us, sink)
    eyes = _Eyes(sink)
    seen = _watch(path, options, eyes, on_progress)
    eyes.finish(end_us)
    return seen


def _see_still(path: Path, options: DecodeOptions, end_us: int, sink: Sink) -> _Seen:
    bgr, facts = read_still(path, options.frame_short_side)
    meter = PictureMeter()
    kept = _kept(bgr, 0, end_us, options, meter)
    sink.add_frame(kept.over(0, end_us))
    return _Seen(facts.container, facts.width, facts.height, 0, None, media_quality(meter, None))


def _watch(path: Path, options: DecodeOptions, eyes: _Eyes, on_progress: Callable[[], None]) -> _Seen:
    """An animation: its pictures are chosen as those of a video."""
    meter, spans, count, end_us = PictureMeter(), Spans(eyes.add_frame), 0, 0

    def is_chosen(t_us: int, next_us: int) -> bool:
        nonlocal count, end_us
        on_progress()
        count, end_us = count + 1, next_us
        return count == 1 or is_wanted(
            options.sampling, options.frame_interval_us, t_us=t_us, next_us=next_us, is_key=False
        )

    for shown in read_animation(path, options.frame_short_side, is_chosen):
        spans.add(_kept(shown.bgr, shown.t_us, shown.next_us, options, meter), 0)
    spans.finish(end_us)
    _, facts = read_still(path, options.frame_short_side)
    rate = count * MICROSECONDS / end_us
    return _Seen(facts.container, facts.width, facts.height, end_us, rate, media_quality(meter, None))


def _kept(bgr: Picture, t_us: int, end_us: int, options: DecodeOptions, meter: PictureMeter) -> Kept:
    jpeg = encode_jpeg(np.ascontiguousarray(bgr[..., ::-1]), options.jpeg_quality)
    height, width = bgr.shape[:2]
    return Kept(t_us, end_us - t_us, jpeg, width, height, meter.measure(bgr))


def _container(sample: Sample, seen: _Seen | None) -> str:
    num_parts = sum(part is not None for part in (sample.image, sample.audio, sample.text_file, sample.text))
    if num_parts > 1:
        return "loose"
    return seen.container if seen else "text"


def _quality(pictures: MediaQuality | None, sound: MediaQuality | None) -> MediaQuality | None:
    if sound is None or pictures is None:
        return sound or pictures
    heard = {name: getattr(sound, name) for name in ("loudness_lufs", "clipped_share", "silence_share")}
    return pictures._replace(**heard)
