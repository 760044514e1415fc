"""Media files with known content and times, written through PyAV."""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.subtitles.subtitle import SubtitleSet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

TICKS = 90_000
SECOND = 1_000_000
_ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,16

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


@dataclass(frozen=True)
class Shown:
    """A picture of one grey level from `t_us` on."""

    t_us: int
    grey: int


@dataclass(frozen=True)
class Cue:
    start_us: int
    end_us: int
    text: str


@dataclass(frozen=True)
class Sound:
    """Mono sound from `t_us` on, int16."""

    t_us: int
    samples: npt.NDArray[np.int16]
    rate_hz: int = 16_000


def steady(
    seconds: float, *, fps: int = 10, grey: Callable[[int], int] = lambda index: 40 + 4 * (index % 50)
) -> list[Shown]:
    """Pictures at a constant rate; by default the grey level tells the index."""
    return [Shown(index * SECOND // fps, grey(index)) for index in range(round(seconds * fps))]


def flashes(seconds: float, at: Sequence[int], *, fps: int = 25) -> list[Shown]:
    """Black, but white in the one picture that is on screen at each time of `at`, in microseconds."""
    span = SECOND // fps
    return [
        Shown(t_us, 235 if any(t_us <= flash < t_us + span for flash in at) else 16)
        for t_us in (index * span for index in range(round(seconds * fps)))
    ]


def tone(seconds: float, *, hz: float = 440.0, rate_hz: int = 16_000, level: float = 0.5) -> npt.NDArray[np.int16]:
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.asarray(np.round(level * 32767 * np.sin(2 * np.pi * hz * time)), np.int16)


def write_media(
    path: Path,
    *,
    pictures: Sequence[Shown] = (),
    sounds: Sequence[Sound] = (),
    cues: Sequence[Cue] = (),
    video_codec: str = "libx264",
    audio_codec: str = "aac",
    text_codec: str = "mov_text",
    language: str | None = None,
    size: tuple[int, int] = (64, 48),
    options: dict[str, str] | None = None,
    left_white: bool = False,
) -> Path:
    """Write pictures, sound and text at their times; `left_white` whitens the left quarter of all pictures."""
    with av.open(str(path), "w", options=options or {}) as output:
        video = _video_stream(output, video_codec, size) if pictures else None
        audio = output.add_stream(audio_codec, rate=sounds[0].rate_hz) if sounds else None
        if audio is not None:
            audio.codec_context.layout = "mono"
        text = _text_stream(output, text_codec, language) if cues else None
        for cue in cues:
            output.mux(_text_packet(text, cue))
        for packet in _encoded(video, [_picture(shown, size, left_white, video.pix_fmt) for shown in pictures]):
            output.mux(packet)
        for packet in _encoded(audio, [frame for sound in sounds for frame in _sound_frames(sound, audio)]):
            output.mux(packet)
    return path


def rotate_clockwise(path: Path) -> None:
    """Set the display matrix of an MP4's first track to a quarter turn clockwise."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)
    path.write_bytes(content)


def grey_of(rgb: npt.NDArray[np.uint8]) -> float:
    """Grey level that a generated picture shows, undoing the limited range."""
    return float(rgb.mean())


def _video_stream(output: Any, codec: str, size: tuple[int, int]) -> Any:
    stream = output.add_stream(codec, rate=Fraction(25))
    stream.width, stream.height = size
    stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    stream.codec_context.time_base = Fraction(1, TICKS if codec == "libx264" else 1000)
    stream.time_base = stream.codec_context.time_base
    if codec == "libx264":
        stream.codec_context.options = {"preset": "veryfast", "crf": "12", "g": "20"}
    return stream


def _picture(shown: Shown, size: tuple[int, int], left_white: bool, pix_fmt: str) -> Any:
    rgb = np.full((size[1], size[0], 3), shown.grey, np.uint8)
    if left_white:
        rgb[:, : size[0] // 4] = 255
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pix_fmt)
    frame.time_base = Fraction(1, TICKS)
    frame.pts = shown.t_us * TICKS // SECOND
    return frame


def _sound_frames(sound: Sound, audio: Any) -> list[Any]:
    frames = []
    step = sound.rate_hz // 10
    for begin in range(0, len(sound.samples), step):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(sound.samples[None, begin : begin + step]), format="s16", layout="mono"
        )
        frame.sample_rate = sound.rate_hz
        frame.time_base = Fraction(1, sound.rate_hz)
        frame.pts = sound.t_us * sound.rate_hz // SECOND + begin
        frames.append(frame)
    return frames


def _encoded(stream: Any, frames: Sequence[Any]) -> list[Any]:
    if stream is None:
        return []
    packets = [packet for frame in frames for packet in stream.encode(frame)]
    with contextlib.suppress(EOFError):
        packets.extend(stream.encode(None))
    return packets


def _text_stream(output: Any, codec: str, language: str | None) -> Any:
    stream = output.add_stream(codec)
    stream.codec_context.subtitle_header = _ASS_HEADER
    stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
    if language:
        stream.metadata["language"] = language
    return stream


def _text_packet(stream: Any, cue: Cue) -> Any:
    event = SubtitleSet.create(
        text=f"0,0,Default,,0,0,0,,{cue.text}".encode(),
        start=0,
        end=(cue.end_us - cue.start_us) // 1000,
        pts=cue.start_us // 1000,
    )
    packet = stream.codec_context.encode_subtitle(event)
    packet.stream = stream
    packet.time_base = Fraction(1, 1000)
    return packet
