"""Writes one synthetic clip: MP4 with H.264, AAC, and an embedded subtitle track, through PyAV."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from features.identity import MICROSECONDS
from features.synthetic.sounds import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from features.synthetic.faces import Picture
    from features.synthetic.sounds import Samples

FRAME_RATE = 12
"""Pictures a second of a clip."""

_H264_OPTIONS = {
    "preset": "veryfast",
    "crf": "27",
    "g": str(2 * FRAME_RATE),
    "mbtree": "0",  # with it, x264's first video in a process differs from run to run on some processors
}
_AAC_FRAME = 1024
_SUBTITLE_TIME_BASE = Fraction(1, 1000)

# FFmpeg's subtitle encoder takes the look of the text from an ASS header.
_ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+
PlayResX: 384
PlayResY: 288

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle, `[start_us, end_us)` on the clip's timeline."""

    start_us: int
    end_us: int
    text: str


def write_clip(
    path: Path, *, num_frames: int, picture_at: Callable[[float], Picture], sound: Samples | None, cues: Sequence[Cue]
) -> None:
    """Encode a clip; the same input gives the same bytes.

    Args:
        path: The MP4 file to write.
        num_frames: Pictures to encode, `FRAME_RATE` a second.
        picture_at: RGB picture at a time in seconds, all of one size.
        sound: Mono at 16 kHz, or None for a clip without a sound track.
        cues: Subtitles to embed; without any there is no subtitle track.
    """
    with av.open(path, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        height, width = picture_at(0.0).shape[:2]
        video = container.add_stream(
            "libx264", rate=FRAME_RATE, width=width, height=height, pix_fmt="yuv420p", options=_H264_OPTIONS
        )
        video.codec_context.thread_count = 1
        audio = (
            None if sound is None else container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono", bit_rate=48_000)
        )
        text = _add_subtitles(container) if cues else None
        for cue in cues:
            container.mux(_subtitle_packet(cue, text))
        _encode_pictures(container, video, num_frames, picture_at)
        if sound is not None:
            _encode_sound(container, audio, sound)


def srt_text(cues: Sequence[Cue]) -> str:
    """The cues as the content of a SubRip file."""
    blocks = [
        f"{number}\n{_srt_time(cue.start_us)} --> {_srt_time(cue.end_us)}\n{cue.text}\n"
        for number, cue in enumerate(cues, start=1)
    ]
    return "\n".join(blocks)


def _srt_time(t_us: int) -> str:
    seconds, milliseconds = divmod(t_us // 1000, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02},{milliseconds:03}"


def _add_subtitles(container: Any) -> Any:  # noqa: ANN401 - PyAV's types are not checked
    stream = container.add_stream("mov_text")
    stream.codec_context.subtitle_header = _ASS_HEADER
    stream.codec_context.time_base = _SUBTITLE_TIME_BASE
    stream.metadata["language"] = "eng"
    return stream


def _subtitle_packet(cue: Cue, stream: Any) -> Any:  # noqa: ANN401 - PyAV's types are not checked
    """A packet in 3GPP timed text: the length of the text in two bytes, then the text."""
    content = cue.text.encode()
    packet = av.Packet(len(content).to_bytes(2, "big") + content)
    packet.stream = stream
    packet.time_base = _SUBTITLE_TIME_BASE
    packet.pts = packet.dts = cue.start_us * _SUBTITLE_TIME_BASE.denominator // MICROSECONDS
    packet.duration = (cue.end_us - cue.start_us) * _SUBTITLE_TIME_BASE.denominator // MICROSECONDS
    return packet


def _encode_pictures(container: Any, stream: Any, num_frames: int, picture_at: Callable[[float], Picture]) -> None:  # noqa: ANN401
    for index in range(num_frames):
        frame = av.VideoFrame.from_ndarray(picture_at(index / FRAME_RATE), format="rgb24")
        frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _encode_sound(container: Any, stream: Any, sound: Samples) -> None:  # noqa: ANN401 - PyAV's types are not checked
    for start in range(0, len(sound), _AAC_FRAME):
        block = np.ascontiguousarray(sound[None, start : start + _AAC_FRAME])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, start, Fraction(1, SAMPLE_RATE_HZ)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
