"""Videos with subtitle tracks whose packets are written as they are."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import av
import numpy as np
from av.stream import Disposition

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class TextTrack(NamedTuple):
    codec: str
    packets: Sequence[tuple[int, int, bytes]] = ((500, 1500, b"Hi"),)
    language: str = ""
    disposition: Disposition = Disposition(0)


def write_tracks(path: Path, *tracks: TextTrack, seconds: int = 5) -> Path:
    """A video with tracks whose packets (start and end in ms, payload) are written as they are."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", rate=5)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        packets = []
        for track in tracks:
            stream = output.add_mux_stream(track.codec)
            stream.time_base = Fraction(1, 1000)
            stream.disposition = track.disposition
            if track.language:
                stream.metadata["language"] = track.language
            packets += [(stream, *packet) for packet in track.packets]
        for index in range(5 * seconds):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index, np.uint8), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 5)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        for stream, start, end, payload in packets:
            packet = av.Packet(payload)
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 1000), True
            packet.pts = packet.dts = start
            packet.duration = end - start
            output.mux(packet)
    return path
