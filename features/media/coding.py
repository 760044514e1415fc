"""What a coded picture says of itself before it is decoded: whether decoding may start at it, whether it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import av

_IDR = 5
_SEI = 6
_RECOVERY_POINT = 6
_AT_ONCE_AND_EXACT = 0xC0  # recovery_frame_cnt 0, exact_match_flag 1
_HEVC_IRAP = range(16, 24)
_HEVC_RESTARTS = frozenset({19, 20, 21})  # IDR, CRA; after BLA, pictures are left out
_HEVC_ENDS = frozenset({36, 37})
_HEVC_LAST_SUB_LAYER_NON_REFERENCE = 14
_HEVC_LAST_PICTURE = 31
_AV1_TEMPORAL_DELIMITER = 2
_AV1_HEADERS = frozenset({3, 6})
_MPEG4_LARGEST_EMPTY = 19
_AVC_NAL_SIZE_AT = 4
_HEVC_NAL_SIZE_AT = 21


class Facts(NamedTuple):
    """What a packet of video says.

    Attributes:
        restarts: Decoding may start here: what comes after it in decoding order and is shown after it is decoded the
            same. What is shown before it may need what came before.
        is_one_frame: It is exactly one frame that is shown, as far as one can tell.
        layer: Temporal layer of a picture that no picture of its own or a lower layer refers to; None for others, and
            where the decoder itself can tell.
        top_layer: Temporal layer of the picture.
    """

    restarts: bool
    is_one_frame: bool = True
    layer: int | None = None
    top_layer: int = 0


_USUAL = Facts(restarts=False)


class Coding(NamedTuple):
    """How to read packets of one video.

    Attributes:
        facts: Tells what a packet says.
        skips: The decoder leaves out pictures that nothing refers to when it is told to.
    """

    facts: Callable[[av.Packet], Facts]
    skips: bool


def coding_of(stream: av.VideoStream) -> Coding | None:
    """How to read a video's packets; None where that is not known well enough to leave any out."""
    codec = stream.codec_context
    name = codec.codec.canonical_name
    extradata = bytes(codec.extradata or b"")
    if name == "h264":
        size = (extradata[_AVC_NAL_SIZE_AT] & 3) + 1 if extradata[:1] == b"\1" and len(extradata) > 6 else None
        return Coding(lambda packet: _h264(packet, size), True)
    if name == "hevc":
        size = (extradata[_HEVC_NAL_SIZE_AT] & 3) + 1 if extradata[:1] == b"\1" and len(extradata) > 22 else None
        return Coding(lambda packet: _hevc(packet, size), False)
    if name in _READERS:
        return Coding(_READERS[name], name in {"mpeg1video", "mpeg2video", "mpeg4", "vp8"})
    return Coding(_intra, False) if codec.codec.intra_only else None


def _nal_units(content: memoryview, size: int | None) -> Iterator[memoryview]:
    """NAL units of a packet: after their length in `size` bytes, or where there is no size, after start codes."""
    if size is None:
        yield from _after_start_codes(content)
        return
    position = 0
    while position + size < len(content):
        length = int.from_bytes(content[position : position + size], "big")
        yield content[position + size : position + size + length]
        position += size + length


def _after_start_codes(content: memoryview) -> Iterator[memoryview]:
    whole = bytes(content)
    begin = whole.find(b"\0\0\1")
    while 0 <= begin < len(whole) - 3:
        end = whole.find(b"\0\0\1", begin + 3)
        yield content[begin + 3 : end if end >= 0 else len(whole)]
        begin = end


def _h264(packet: av.Packet, size: int | None) -> Facts:
    if not packet.is_keyframe:
        return _USUAL
    for unit in _nal_units(memoryview(packet), size):
        kind = unit[0] & 31 if len(unit) else 0
        if kind == _IDR or (kind == _SEI and _recovers_at_once(bytes(unit[1:]).replace(b"\0\0\3", b"\0\0"))):
            return Facts(restarts=True)
        if 0 < kind < _IDR:
            break
    return _USUAL


def _recovers_at_once(messages: bytes) -> bool:
    """Whether H.264 messages say that all shown from this picture on is exact when decoding starts here."""
    position = 0
    while position + 2 < len(messages):
        kind, position = _summed(messages, position)
        length, position = _summed(messages, position)
        if kind == _RECOVERY_POINT:
            return position < len(messages) and messages[position] & _AT_ONCE_AND_EXACT == _AT_ONCE_AND_EXACT
        position += length
    return False


def _summed(messages: bytes, position: int) -> tuple[int, int]:
    """A number written as bytes to be added up, of which all but the last are 255; and where it ends."""
    total = 0
    while position < len(messages):
        total += messages[position]
        position += 1
        if messages[position - 1] != 0xFF:
            break
    return total, position


def _hevc(packet: av.Packet, size: int | None) -> Facts:
    restarts, is_one_frame, layer, top_layer = False, True, None, 0
    for unit in _nal_units(memoryview(packet), size):
        if len(unit) < 2:
            continue
        kind, top = (unit[0] >> 1) & 63, (unit[1] & 7) - 1
        is_base = not unit[0] & 1 and not unit[1] >> 3  # else another view
        if is_base and kind <= _HEVC_LAST_PICTURE:
            restarts = kind in _HEVC_RESTARTS
            is_one_frame = is_one_frame and (restarts or kind not in _HEVC_IRAP)
            spare = kind <= _HEVC_LAST_SUB_LAYER_NON_REFERENCE and kind % 2 == 0
            layer, top_layer = top if spare else None, top
        is_one_frame = is_one_frame and kind not in _HEVC_ENDS
    return Facts(restarts, is_one_frame, layer, top_layer)


def _mpeg2(packet: av.Packet) -> Facts:
    if not packet.is_keyframe:
        return _USUAL
    content = bytes(packet)
    at = content.find(b"\0\0\1\0")
    return Facts(restarts=0 <= at < len(content) - 5 and (content[at + 5] >> 3) & 7 == 1)


def _mpeg4(packet: av.Packet) -> Facts:
    content = bytes(packet)
    at = content.find(b"\0\0\1\xb6")
    if not 0 <= at < len(content) - 4:
        return Facts(restarts=False, is_one_frame=False)
    is_one = len(content) > _MPEG4_LARGEST_EMPTY and content.find(b"\0\0\1\xb6", at + 4) < 0
    return Facts(restarts=bool(packet.is_keyframe) and content[at + 4] >> 6 == 0, is_one_frame=is_one)


def _vp8(packet: av.Packet) -> Facts:
    first = bytes(memoryview(packet)[:1])[0]
    return Facts(restarts=not first & 1, is_one_frame=bool(first & 16))


def _vp9(packet: av.Packet) -> Facts:
    content = memoryview(packet)
    first, last = content[0], content[-1]
    if last & 0xE0 == 0xC0:  # a frame that is not shown, with one that is
        return Facts(restarts=bool(packet.is_keyframe) and _is_vp9_key(first))
    if first & 0x38 == 0x30 or first & 0x08:  # profile 3 has a bit more; a frame that is shown again is no restart
        return Facts(restarts=False, is_one_frame=bool(first & 0x08))
    return Facts(restarts=_is_vp9_key(first), is_one_frame=bool(first & 0x02))


def _is_vp9_key(first: int) -> bool:
    return first >> 6 == 2 and first & 0x30 != 0x30 and not first & 0x0C


def _av1(packet: av.Packet) -> Facts:
    if not packet.is_keyframe:
        return _USUAL
    content = bytes(packet)
    position = 0
    while position < len(content):
        kind, has_more, has_size = (content[position] >> 3) & 15, content[position] & 4, content[position] & 2
        begin = position + (2 if has_more else 1)
        if not has_size or begin >= len(content):
            break
        length, begin = _leb128(content, begin)
        if kind in _AV1_HEADERS and begin < len(content):
            return Facts(restarts=content[begin] & 0xF0 == 0x10)  # not shown again, a key frame, shown
        position = begin + length
    return _USUAL


def _leb128(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(content):
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    return value, position


def _intra(packet: av.Packet) -> Facts:
    return Facts(restarts=bool(packet.is_keyframe))


_READERS: dict[str, Callable[[av.Packet], Facts]] = {
    "mpeg1video": _mpeg2,
    "mpeg2video": _mpeg2,
    "mpeg4": _mpeg4,
    "vp8": _vp8,
    "vp9": _vp9,
    "av1": _av1,
}
