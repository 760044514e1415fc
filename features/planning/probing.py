"""A look into a media file without decoding it: how long, how large, and what a few of its pictures and sounds weigh.

Times are those that the container states. A few pictures are decoded and encoded as ingest would, and some seconds of
sound, for what a picture weighs depends on what is in it more than on its size.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import av.error
import numpy as np

from features.errors import MediaError, TriptychError
from features.identity import MICROSECONDS
from features.media.convert import FrameConverter
from features.media.pictures import encode_jpeg, fit
from features.media.probe import choose_streams, open_media
from features.media.sound import encode_flac

if TYPE_CHECKING:
    from collections.abc import Iterator

    from features.media.options import DecodeOptions
    from features.media.probe import Selection

_PICTURES = 4
_SOUND_SECONDS = 6.0
_LEAST_SECONDS = 0.1
_LONGEST_US = 366 * 86_400 * MICROSECONDS
_USUAL_RATE = 25.0


@dataclass(frozen=True, slots=True)
class Probed:
    """What a media file states and weighs; of one that cannot be opened only the reason.

    Attributes:
        uri: The source.
        size_bytes: Its size.
        duration_us: As the container states it; None where it states none, or is not believed.
        width: Displayed pixels, about; 0 without video.
        height: Displayed pixels.
        frame_rate: Pictures a second; 0 without video.
        has_video: It has a video track.
        has_audio: It has a sound track.
        has_text: It has a subtitle track.
        picture_bytes: Mean size of a kept picture; None where none was decoded.
        picture_megapixels: Of a kept picture.
        sound_bytes_a_second: Of the kept sound; None where none was decoded.
        keyframe_seconds: Mean distance of keyframes; None where it is not known.
        error: Why it cannot be read.
    """

    uri: str
    size_bytes: int
    duration_us: int | None = None
    width: int = 0
    height: int = 0
    frame_rate: float = 0.0
    has_video: bool = False
    has_audio: bool = False
    has_text: bool = False
    picture_bytes: float | None = None
    picture_megapixels: float = 0.0
    sound_bytes_a_second: float | None = None
    keyframe_seconds: float | None = None
    error: str = ""


def probe_file(uri: str, size_bytes: int, options: DecodeOptions, file: BinaryIO | None = None) -> Probed:
    """Look into a file; whatever is wrong with it is told, not raised.

    Args:
        uri: A local path, or where the open file lies.
        size_bytes: As listed.
        options: How it would be decoded.
        file: It, where it is open already.
    """
    try:
        return _probe(uri, size_bytes, options, Path(uri) if file is None else file)
    except TriptychError as error:
        return Probed(uri, size_bytes, error=str(error))
    except Exception as error:  # noqa: BLE001 - FFmpeg's surprises cost the plan one file
        return Probed(uri, size_bytes, error=f"{uri!r}: {error or type(error).__name__}")


def limit_time(seconds: float) -> None:
    """End this process should a file hold it for so long, for whoever waits for it to tell; 0: no more."""
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _probe(uri: str, size_bytes: int, options: DecodeOptions, file: Path | BinaryIO) -> Probed:
    if not size_bytes:
        message = f"{uri!r} is empty (0 bytes)"
        raise MediaError(message)
    with open_media(file) as container:
        selection = choose_streams(container, options.audio_language)
        if not selection.streams:
            message = f"no video, sound or text in {uri!r}"
            raise MediaError(message)
        found: dict[str, Any] = {"duration_us": _stated_us(container, selection), "has_text": bool(selection.texts)}
        found |= _video_facts(container, selection, options, found["duration_us"])
        found |= _sound_facts(container, selection, options, found["duration_us"])
    return Probed(uri, size_bytes, **found)


def _stated_us(container: av.container.InputContainer, selection: Selection) -> int | None:
    """The length that the container states or, where it states none, the longest of its streams."""
    lengths = [container.duration or 0]  # in microseconds
    if lengths[0] <= 0:
        chosen = (stream for stream in selection.streams if stream.duration and stream.time_base)
        lengths = [round(stream.duration * stream.time_base * MICROSECONDS) for stream in chosen]
    return max((length for length in lengths if 0 < length <= _LONGEST_US), default=None)


def _video_facts(
    container: av.container.InputContainer, selection: Selection, options: DecodeOptions, duration_us: int | None
) -> dict[str, Any]:
    stream = selection.video
    if stream is None:
        return {}
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    facts: dict[str, Any] = {
        "has_video": True,
        "width": stream.codec_context.width,
        "height": stream.codec_context.height,
        "frame_rate": float(rate) if rate else _USUAL_RATE,
    }
    sizes, pixels = [], []
    converter = FrameConverter(stream)
    for frame in _pictures(container, stream, duration_us):
        bgr = converter.picture(frame, fit(*converter.square_size(frame), options.frame_short_side))
        sizes.append(len(encode_jpeg(np.ascontiguousarray(bgr[:, :, ::-1]), options.jpeg_quality)))
        pixels.append(bgr.shape[0] * bgr.shape[1] / 1e6)
    if not sizes:
        message = f"not one picture of {container.name!r} can be decoded"
        raise MediaError(message)
    keys = sum(entry.is_keyframe for entry in stream.index_entries)
    facts["keyframe_seconds"] = duration_us / MICROSECONDS / keys if duration_us and keys else None
    return facts | {"picture_bytes": float(np.mean(sizes)), "picture_megapixels": float(np.mean(pixels))}


def _pictures(
    container: av.container.InputContainer, stream: av.VideoStream, duration_us: int | None
) -> Iterator[av.VideoFrame]:
    """A few pictures spread over a video: of each place the first one from where decoding may start before it."""
    for number in range(_PICTURES if duration_us else 1):
        if number and not _seek(container, (duration_us or 0) * number // _PICTURES):
            return
        frame = next(_decoded(container, stream), None)
        if frame is None:
            return
        yield frame


def _sound_facts(
    container: av.container.InputContainer, selection: Selection, options: DecodeOptions, duration_us: int | None
) -> dict[str, Any]:
    """Some seconds from the middle, as they would be kept."""
    stream = selection.audio
    if stream is None:
        return {}
    _seek(container, (duration_us or 0) // 2)
    resampler = av.AudioResampler(format="s16", layout="mono", rate=options.audio_rate_hz)
    wanted, parts, num_samples = int(_SOUND_SECONDS * options.audio_rate_hz), [], 0
    for frame in _decoded(container, stream):
        parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
        num_samples = sum(map(len, parts))
        if num_samples >= wanted:
            break
    if not num_samples:
        return {"has_audio": True}
    flac = encode_flac(np.concatenate(parts), options.audio_rate_hz)
    seconds = max(num_samples / options.audio_rate_hz, _LEAST_SECONDS)
    return {"has_audio": True, "sound_bytes_a_second": len(flac) / seconds}


def _seek(container: av.container.InputContainer, t_us: int) -> bool:
    """Go to a time; whether one can."""
    try:
        container.seek((container.start_time or 0) + t_us)
    except av.error.FFmpegError:
        return False
    return True


def _decoded(
    container: av.container.InputContainer, stream: av.VideoStream | av.AudioStream
) -> Iterator[av.VideoFrame | av.AudioFrame]:
    """Frames from here on, up to what cannot be decoded."""
    try:
        yield from container.decode(stream)
    except av.error.FFmpegError:
        return
