"""Decoding no more of a video than the wanted frames need, with the same frames at the same times as decoding all.

Packets are gathered from one restart to the next (an IDR picture, say). They tell when each of their frames will be on
screen, so which are wanted is known before any is decoded. Then only what these need is: no packets after the last
wanted one, none that nothing refers to, nothing at all where none is wanted. Where packets are not plainly one frame
each with a sound time, or what comes out is not what was expected, everything is decoded, that stretch once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import av
import av.error

from features.media.coding import coding_of
from features.media.pictures import Shown
from features.media.probe import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from features.media.coding import Facts
    from features.media.pictures import PictureSampler, Planned
    from features.media.timeline import DecodingClock

_MOST_BYTES = 64 << 20
_MOST_PACKETS = 4096
_MOST_MERGED = 4


class _Coded(NamedTuple):
    """A packet of one frame."""

    packet: av.Packet
    pts: int
    facts: Facts


class _Unexpected(Exception):
    """What came out of the decoder is not what the packets promised."""


class VideoTaker(Protocol):
    """Takes the packets of the video."""

    def add(self, packet: av.Packet) -> None:
        """Take the next packet."""

    def finish(self) -> None:
        """There are no more."""


class VideoDecoder:
    """Decodes a video for a sampler.

    Args:
        stream: The video stream.
        pictures: Takes the frames.
        clock: Tells presentation times where the container does not; everything is decoded then.
        errors: Takes the reason where a packet cannot be decoded.
        on_kept: Called when a picture was kept, as a sign of life.
        marks_keys: Tell each frame whether its packet is marked as a keyframe, as its `opaque`.
        whole: Decode everything.
    """

    def __init__(
        self,
        stream: av.VideoStream,
        pictures: PictureSampler,
        *,
        clock: DecodingClock | None,
        errors: list[str],
        on_kept: Callable[[], None],
        marks_keys: bool,
        whole: bool,
    ) -> None:
        self._stream = stream
        self._pictures = pictures
        self._clock = clock
        self._errors = errors
        self._on_kept = on_kept
        self._damage = pictures.damage
        self._marks_keys = marks_keys
        if marks_keys:
            stream.codec_context.copy_opaque = True
        self._coding = None if whole or clock is not None else coding_of(stream)
        self._pending: list[_Coded] = []
        self._num_bytes = 0
        self._candidate: int | None = None
        self._num_merged = 0
        self._is_live = False
        self._is_done = False
        self._shape: tuple[object, ...] | None = None

    def add(self, packet: av.Packet) -> None:
        """Take the next packet."""
        if not packet.size:  # by which the demuxer tells the end
            self.finish()
            return
        coded = self._read(packet) if self._coding is not None else None
        if coded is not None:
            self._take(coded)
            return
        self._coding = None
        if self._pending:
            self._stream_through()
        self._decode(packet)

    def finish(self) -> None:
        """Decode what is left."""
        if self._is_done:
            return
        self._is_done = True
        is_gathered = self._pending and not self._is_live and self._coding is not None
        if is_gathered and self._decode_unit(self._pending, self._pending, None):
            self._pending = []
        self._stream_through()
        self._decode(None)

    def _read(self, packet: av.Packet) -> _Coded | None:
        """A packet and what it says; None where it is no frame with a sound time."""
        if packet.pts is None or packet.is_corrupt or self._coding is None:
            return None
        facts = self._coding.facts(packet)
        return _Coded(packet, packet.pts, facts) if facts.is_one_frame else None

    def _take(self, coded: _Coded) -> None:
        """Gather a packet, or let it through where it belongs to no unit."""
        pending = self._pending
        if self._candidate is not None and coded.pts > pending[self._candidate].pts:
            self._split(self._candidate)
            self._candidate, pending = None, self._pending
        restarts = coded.facts.restarts and not coded.packet.is_discard
        if coded.packet.is_discard or not (pending or restarts):
            self._stream_through()
            self._decode(coded.packet)
            return
        if restarts and self._candidate is None and (pending or self._is_live):
            self._candidate = len(pending)
        pending.append(coded)
        self._num_bytes += coded.packet.size
        is_early = self._candidate is None and coded.pts < pending[0].pts
        if is_early or self._num_bytes > _MOST_BYTES or len(pending) > _MOST_PACKETS:
            self._stream_through()

    def _split(self, at: int) -> None:
        """A unit ends before a packet, which starts the next one, unless a wanted frame needs both."""
        unit, key, leading = self._pending[:at], self._pending[at], self._pending[at + 1 :]
        if self._is_live:
            if leading:
                self._stream_through()
            else:
                self._end_live(key)
        elif self._decode_unit(unit, [*unit, *leading], key.pts):
            self._begin(key)
        else:
            self._num_merged += 1
            if self._num_merged > _MOST_MERGED:
                self._stream_through()

    def _begin(self, key: _Coded) -> None:
        """A unit begins, and the decoder is empty."""
        self._pending, self._num_bytes, self._num_merged = [key], key.packet.size, 0
        if self._coding is None:
            self._stream_through()

    def _end_live(self, key: _Coded) -> None:
        self._decode(None)
        self._stream.codec_context.flush_buffers()
        self._is_live = False
        self._begin(key)

    def _decode_unit(self, unit: Sequence[_Coded], frames: Sequence[_Coded], next_pts: int | None) -> bool:
        """Decode what is wanted of a unit; whether that is done, and it could be told apart from what comes next.

        Args:
            unit: Its packets.
            frames: These and others that are shown before `next_pts`.
            next_pts: When the next frame is shown; None at the end.
        """
        before = self._pictures.state()
        if len({coded.pts for coded in frames}) < len(frames) or not _all_before(unit, next_pts):
            self._redo()
            return False
        planned = {one.pts: one for one in self._pictures.plan(_in_order(frames), next_pts)}
        if any(coded.pts in planned for coded in frames[len(unit) :]):
            self._pictures.restore(before)
            return False
        try:
            self._decode_wanted(unit, planned)
        except MemoryError:  # no damage of the media: what is left out would be missed by nobody
            raise
        except (av.error.FFmpegError, ValueError, _Unexpected):
            self._pictures.restore(before)
            self._redo()
            return False
        return True

    def _decode_wanted(self, unit: Sequence[_Coded], planned: dict[int, Planned]) -> None:
        """Decode the wanted frames of a unit and what they refer to; leave the decoder empty."""
        if not planned:
            return
        codec = self._stream.codec_context
        waiting = iter(sorted(planned))
        for packet, is_wanted in self._needed(unit, planned):
            codec.skip_frame = "DEFAULT" if is_wanted else "NONREF"
            self._place(self._decoded(packet), planned, waiting)
        codec.skip_frame = "DEFAULT"
        self._place(self._decoded(None), planned, waiting)
        codec.flush_buffers()
        if next(waiting, None) is not None:
            raise _Unexpected

    def _needed(self, unit: Sequence[_Coded], planned: dict[int, Planned]) -> Iterable[tuple[av.Packet, bool]]:
        """Packets up to the last wanted one, without those that nothing refers to; whether each is wanted."""
        last = max(index for index, coded in enumerate(unit) if coded.pts in planned)
        top_layer = max(coded.facts.top_layer for coded in unit)
        for coded in unit[: last + 1]:
            if coded.pts in planned or coded.facts.layer != top_layer:
                yield coded.packet, coded.pts in planned or not (self._coding and self._coding.skips)

    def _place(self, frames: Iterable[av.VideoFrame], planned: dict[int, Planned], waiting: Iterable[int]) -> None:
        for frame in frames:
            wanted = None if frame.pts is None else planned.get(frame.pts)
            shape = (frame.width, frame.height, frame.format.name, self._stream.codec_context.sample_aspect_ratio)
            self._shape = self._shape or shape
            if frame.interlaced_frame or frame.is_corrupt or shape != self._shape:
                raise _Unexpected
            if wanted is None:
                continue
            if next(iter(waiting), None) != frame.pts:
                raise _Unexpected
            self._pictures.place(wanted, frame)
            self._on_kept()

    def _redo(self) -> None:
        """Decode all that was gathered, and from now on everything."""
        self._coding = None
        self._stream.codec_context.skip_frame = "DEFAULT"
        self._stream.codec_context.flush_buffers()
        self._stream_through()

    def _stream_through(self) -> None:
        """Decode all that was gathered, and what comes, up to the next restart."""
        pending, self._pending = self._pending, []
        self._num_bytes, self._num_merged, self._candidate, self._is_live = 0, 0, None, True
        for coded in pending:
            self._decode(coded.packet)

    def _decode(self, packet: av.Packet | None) -> None:
        """Decode a packet, or with None what the decoder still holds."""
        try:
            if self._clock is not None and packet is not None:
                self._clock.fed(packet)
            if self._marks_keys and packet is not None:
                packet.opaque = int(packet.is_keyframe)
            for frame in self._decoded(packet):
                if self._clock is not None:
                    self._clock.set_time(frame)
                if frame.interlaced_frame:  # it needs its neighbours
                    self._coding = None
                if self._pictures.add(frame, is_damaged=self._damage.judge(frame)):
                    self._on_kept()
        except MemoryError:
            raise
        except (av.error.FFmpegError, ValueError) as error:
            self._errors.append(reason_of(error))
            self._damage.lost()

    def _decoded(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        frames: list[av.VideoFrame] = self._stream.decode(packet)
        return frames


def _all_before(unit: Sequence[_Coded], next_pts: int | None) -> bool:
    return next_pts is None or max(coded.pts for coded in unit) < next_pts


def _in_order(frames: Iterable[_Coded]) -> list[Shown]:
    """Frames in the order in which they are shown."""
    return [
        Shown(coded.pts, coded.packet.duration or 0, bool(coded.packet.is_keyframe))
        for coded in sorted(frames, key=lambda coded: coded.pts)
    ]
