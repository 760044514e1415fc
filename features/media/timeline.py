"""One clock for all streams of a container, over the jumps that broadcast and joined files make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from av.format import Flags

from features.identity import MICROSECONDS

if TYPE_CHECKING:
    import av

_LONGEST_STEP_BACK_US = MICROSECONDS
_LONGEST_GAP_US = 3600 * MICROSECONDS
_LONGEST_GAP_OF_BROADCAST_US = 10 * MICROSECONDS  # as FFmpeg's own commands take it


@dataclass(slots=True)
class _Track:
    """Where one stream's next packet is due, and what is added to its timestamps."""

    due_us: int | None = None
    shift_us: int = 0


class Timeline:
    """Makes packets' timestamps go on where a container's clock jumps.

    A jump is a step back of over a second or a step ahead of over an hour; over ten seconds where the format
    allows jumps (MPEG-TS, MPEG-PS, Ogg). Anything less ahead is a gap and keeps its length. The first stream
    that jumps goes on where it was due; the others take over its new clock when they come to jump, so pictures,
    sound and words stay together after it.

    Args:
        container: The container whose packets are demuxed.
    """

    def __init__(self, container: av.container.InputContainer) -> None:
        may_jump = bool(container.format.flags & Flags.ts_discont.value)
        self._longest_gap_us = _LONGEST_GAP_OF_BROADCAST_US if may_jump else _LONGEST_GAP_US
        self._tracks: dict[int, _Track] = {}
        self._bases: dict[int, tuple[str, int, int]] = {}
        self._shift_us = 0
        self.num_jumps = 0

    def straighten(self, packet: av.Packet) -> None:
        """Shift a packet's timestamps onto the timeline; packets come in the order of the container."""
        index = packet.stream_index
        if index not in self._bases:  # fractions are slow to make, for every packet
            self._bases[index] = _base_of(packet.stream)
        kind, numerator, denominator = self._bases[index]
        shift_us = self._shift_us
        if kind in {"video", "audio"}:
            stated = packet.pts if packet.dts is None and kind == "audio" else packet.dts
            if stated is None:
                shift_us = self._tracks.get(index, _Track(shift_us=shift_us)).shift_us
            else:
                span_us = (packet.duration or 0) * numerator // denominator
                shift_us = self._follow(index, stated * numerator // denominator, span_us)
        if shift_us:
            ticks = round(shift_us * denominator / numerator)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks

    def _follow(self, index: int, stated_us: int, span_us: int) -> int:
        """What to add to the timestamps of a stream whose next packet says `stated_us`."""
        track = self._tracks.setdefault(index, _Track(shift_us=self._shift_us))
        if track.due_us is not None and not self._is_near(stated_us + track.shift_us, track.due_us):
            if not self._is_near(stated_us + self._shift_us, track.due_us):
                self._shift_us = track.due_us - stated_us
                self.num_jumps += 1
            track.shift_us = self._shift_us
        track.due_us = stated_us + track.shift_us + span_us
        return track.shift_us

    def _is_near(self, t_us: int, due_us: int) -> bool:
        return -_LONGEST_STEP_BACK_US <= t_us - due_us <= self._longest_gap_us


def _base_of(stream: av.stream.Stream) -> tuple[str, int, int]:
    """Kind of a stream, and microseconds a tick as numerator and denominator."""
    return stream.type, stream.time_base.numerator * MICROSECONDS, stream.time_base.denominator


class DecodingClock:
    """Presentation times in a container that states only when each frame is decoded, as AVI does.

    A decoder shows a frame as many frames late as it holds back; the first one tells how many that are.
    """

    def __init__(self) -> None:
        self._first: int | None = None
        self._delay: int | None = None

    def fed(self, packet: av.Packet) -> None:
        """Tell of a packet before it is decoded."""
        if self._first is None and packet.is_keyframe:
            self._first = packet.dts

    def set_time(self, frame: av.VideoFrame) -> None:
        """Give a frame that was just decoded its presentation time; none where none is known."""
        if frame.dts is not None and self._delay is None:
            self._delay = frame.dts - (frame.dts if self._first is None else self._first)
        frame.pts = None if frame.dts is None else frame.dts - (self._delay or 0)
