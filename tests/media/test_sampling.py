"""Which pictures are kept, and that decoding no more than these need changes nothing: `whole` decodes every frame."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
import cv2
import numpy as np
import pytest

from features.errors import ConfigError, TriptychError
from features.media.decode import decode_media
from features.media.options import DecodeOptions
from features.media.pictures import decode_jpeg
from features.media.sampling import parse_frames
from features.media.sink import Collected
from tests.media.generate import SECOND, Shown, Sound, steady, tone, write_media

if TYPE_CHECKING:
    from collections.abc import Sequence

MEDIA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "media"
RATE = 10
NUM_FRAMES = 120
SAMPLINGS = (
    DecodeOptions(),
    DecodeOptions(frame_interval_us=7_000_000),
    DecodeOptions(frame_interval_us=350_000),
    DecodeOptions(sampling="keyframes"),
)
X264 = {"preset": "veryfast", "g": "20", "bf": "3", "sc_threshold": "0"}
# Name: encoder, its options, and whether frames may be left undecoded.
KINDS: dict[str, tuple[str, dict[str, str], bool]] = {
    "closed.mp4": ("libx264", X264, True),
    "open.mkv": ("libx264", X264 | {"x264-params": "open-gop=1"}, True),
    "open.ts": ("libx264", X264 | {"x264-params": "open-gop=1"}, True),
    "refresh.mp4": ("libx264", X264 | {"x264-params": "intra-refresh=1"}, True),
    "pyramid.mp4": ("libx264", X264 | {"g": "60", "bf": "7", "x264-params": "b-pyramid=normal:b-adapt=0"}, True),
    "hevc.mp4": ("libx265", {"preset": "ultrafast", "x265-params": "keyint=20:bframes=4:log-level=error"}, True),
    "hevc.ts": (
        "libx265",
        {"preset": "ultrafast", "x265-params": "keyint=20:temporal-layers=3:log-level=error"},
        True,
    ),
    "mpeg4.mp4": ("mpeg4", {"g": "12", "bf": "2"}, True),
    "mpeg4.avi": ("mpeg4", {"g": "12", "bf": "2"}, False),
    "mpeg2.ts": ("mpeg2video", {"g": "12", "bf": "2"}, True),
    "mpeg1.mkv": ("mpeg1video", {"g": "12", "bf": "2"}, True),
    "vp8.webm": ("libvpx", {"g": "20", "auto-alt-ref": "1", "lag-in-frames": "8", "deadline": "realtime"}, True),
    "vp9.webm": ("libvpx-vp9", {"g": "20", "lag-in-frames": "8", "deadline": "realtime", "cpu-used": "8"}, True),
    "av1.mkv": ("libsvtav1", {"g": "20", "preset": "13"}, True),
    "mjpeg.mov": ("mjpeg", {}, True),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sampling")


def _pictures(num_frames: int, size: tuple[int, int], pix_fmt: str) -> list[av.VideoFrame]:
    """A gradient that moves, with a number in it."""
    ramp = np.add.outer(np.arange(size[1]) * 2, np.arange(size[0])).astype(np.int64)
    frames = []
    for index in range(num_frames):
        picture = np.repeat(((ramp + 5 * index) % 256).astype(np.uint8)[..., None], 3, axis=2)
        cv2.putText(picture, str(index), (8, 40), cv2.FONT_HERSHEY_SIMPLEX, 1, (255, 64, 0), 2)
        frames.append(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pix_fmt))
    return frames


def _write(path: Path, codec: str, options: dict[str, str], times_ms: Sequence[int]) -> Path:
    """A video whose frames are shown at these times."""
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(codec, rate=Fraction(25 if codec.startswith("mpeg") else RATE), options=options)
        stream.width, stream.height = 96, 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        base = Fraction(1, 25) if codec.startswith("mpeg") else Fraction(1, 1000)
        stream.codec_context.time_base = base
        for t_ms, frame in zip(times_ms, _pictures(len(times_ms), (96, 64), stream.pix_fmt), strict=True):
            frame.time_base, frame.pts = base, round(Fraction(t_ms, 1000) / base)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def _assert_same(path: Path, *options: DecodeOptions) -> None:
    for chosen in options or SAMPLINGS:
        try:
            whole: object = decode_media(path, chosen, whole=True)
        except TriptychError as error:
            with pytest.raises(type(error)):
                decode_media(path, chosen)
            continue
        assert decode_media(path, chosen) == whole, chosen


@pytest.mark.parametrize("name", KINDS)
def test_decoding_less_changes_nothing(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    codec, options, saves = KINDS[name]
    if codec not in av.codecs_available:
        pytest.skip(f"no encoder {codec}")
    step = 40 if codec.startswith("mpeg") else 1000 // RATE
    path = _write(folder / name, codec, options, [index * step for index in range(NUM_FRAMES)])
    _assert_same(path)
    sent = _count_packets(monkeypatch)
    decode_media(path, SAMPLINGS[1])
    assert (len(sent) < NUM_FRAMES) == saves


def _count_packets(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The packets of video that are decoded from now on."""
    from features.media import gops

    sent: list[object] = []
    usual = gops.VideoDecoder._decoded

    def counting(self: gops.VideoDecoder, packet: av.Packet | None) -> list[av.VideoFrame]:
        if packet is not None and packet.size:
            sent.append(packet.pts)
        return usual(self, packet)

    monkeypatch.setattr(gops.VideoDecoder, "_decoded", counting)
    return sent


def test_only_keyframes_are_decoded_for_keyframes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(folder / "keys.mp4", "libx264", X264, [index * 100 for index in range(NUM_FRAMES)])
    sent = _count_packets(monkeypatch)
    decoded = decode_media(path, DecodeOptions(sampling="keyframes"))
    assert [frame.t_us for frame in decoded.frames] == [index * 2 * SECOND for index in range(6)]
    assert len(sent) == 6
    assert decoded.info.frame_rate == pytest.approx(RATE)


def test_a_variable_rate(folder: Path) -> None:
    times = np.cumsum(np.random.default_rng(5).integers(10, 400, NUM_FRAMES))
    _assert_same(_write(folder / "vfr.mkv", "libx264", X264, [int(time) for time in times]))


def test_a_transport_stream_whose_clock_jumps(folder: Path) -> None:
    parts = []
    for number, start in enumerate((0, 50_000_000)):
        times = [start + index * 100 for index in range(NUM_FRAMES // 2)]
        parts.append(_write(folder / f"part{number}.ts", "libx264", X264, times).read_bytes())
    path = folder / "jump.ts"
    path.write_bytes(b"".join(parts))
    _assert_same(path)


def test_an_edit_list(folder: Path) -> None:
    source = _write(folder / "uncut.mp4", "libx264", X264, [index * 100 for index in range(NUM_FRAMES)])
    path = folder / "edited.mp4"
    with av.open(str(source)) as given, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(given.streams.video[0])
        start = round(Fraction(7, 10) / given.streams.video[0].time_base)
        for packet in given.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - start, packet.dts - start, stream
                output.mux(packet)
    _assert_same(path)


def test_interlaced_pictures_have_their_neighbours(folder: Path) -> None:
    options = {"g": "12", "bf": "2", "flags": "+ildct+ilme"}
    _assert_same(_write(folder / "fields.ts", "mpeg2video", options, [index * 40 for index in range(NUM_FRAMES)]))


@pytest.mark.parametrize("seed", range(3))
def test_what_damage_has_spoilt_is_left_out_and_told(folder: Path, seed: int) -> None:
    """Every picture that is kept is that of the whole file, decoded in full or no more than needed."""
    path = _write(folder / f"damaged{seed}.mp4", "libx264", X264 | {"g": "30"}, [i * 100 for i in range(NUM_FRAMES)])
    right = {frame.t_us: frame.jpeg for frame in decode_media(path, replace(DecodeOptions(), sampling="all")).frames}
    content = bytearray(path.read_bytes())
    rng, begin = np.random.default_rng(seed), content.index(b"mdat") + 1000
    for place in rng.integers(begin, len(content) - 6000, 2):
        content[place : place + 900] = bytes(900)
    path.write_bytes(bytes(content))
    fast, whole = decode_media(path), decode_media(path, whole=True)
    for decoded in (fast, whole):
        assert decoded.frames
        assert [frame.t_us for frame in decoded.frames if frame.jpeg != right[frame.t_us]] == []
    assert {frame.t_us for frame in whole.frames} <= {frame.t_us for frame in fast.frames}
    assert [lost.error for lost in whole.missed] == ["DecodeError"]


@pytest.mark.data
@pytest.mark.skipif(not MEDIA.is_dir(), reason="no shared data folder")
@pytest.mark.parametrize(
    "name", ["nasa_13013.mp4", "video1.mp4", "av1_video.mkv", "rotated_video.mp4", "sample_fragmented.mp4", "d18.mp4"]
)
def test_real_files(name: str) -> None:
    _assert_same(MEDIA / name, SAMPLINGS[0], SAMPLINGS[1], SAMPLINGS[3])


def test_a_sink_gets_what_is_otherwise_returned(folder: Path) -> None:
    sounds = [Sound(0, tone(9.5))]
    path = write_media(folder / "sink.mp4", pictures=steady(9), sounds=sounds)
    options = DecodeOptions(audio_chunk_us=2_000_000)
    sink = Collected()
    streamed, returned = decode_media(path, options, sink=sink), decode_media(path, options)
    assert (tuple(sink.frames), tuple(sink.chunks)) == (returned.frames, returned.audio)
    assert streamed == replace(returned, frames=(), audio=())
    assert streamed.info.has_video
    assert streamed.info.has_audio


def test_pictures_leave_while_others_are_decoded(folder: Path) -> None:
    path = write_media(folder / "leave.mp4", pictures=steady(20))
    kept: list[int] = []
    sink = Collected()
    decode_media(path, on_progress=lambda: kept.append(len(sink.frames)), sink=sink)
    assert kept[10] >= 9


def _grey(shots: Sequence[tuple[float, int]]) -> list[Shown]:
    """Shots of a length in seconds and a grey level, at 10 pictures a second."""
    levels = [grey for seconds, grey in shots for _ in range(round(seconds * RATE))]
    return [Shown(index * SECOND // RATE, grey) for index, grey in enumerate(levels)]


def test_one_picture_a_shot(folder: Path) -> None:
    shots = [(3.0, 40), (1.0, 200), (8.0, 90), (2.0, 230)]
    path = write_media(folder / "shots.mp4", pictures=_grey(shots))
    decoded = decode_media(path, DecodeOptions(sampling="shots", shots=True))
    assert decoded.shots is not None
    assert [shot.start_us for shot in decoded.shots] == [0, 3 * SECOND, 4 * SECOND, 12 * SECOND]
    assert len(decoded.frames) == len(shots)
    for frame, shot, (seconds, grey) in zip(decoded.frames, decoded.shots, shots, strict=True):
        assert abs(frame.t_us - (shot.start_us + shot.end_us) // 2) <= seconds * SECOND / 10 + SECOND / RATE
        assert (frame.valid_start_us, frame.valid_end_us) == (shot.start_us, shot.end_us)
        assert decode_jpeg(frame.jpeg).mean() == pytest.approx(grey, abs=12)


def test_stretches_end_at_cuts(folder: Path) -> None:
    path = write_media(folder / "cuts.mp4", pictures=_grey([(2.7, 40), (3.0, 200)]))
    decoded = decode_media(path, DecodeOptions(shots=True))
    borders = [(frame.valid_start_us, frame.valid_end_us) for frame in decoded.frames]
    assert borders[2] == (1_500_000, 2_700_000)
    assert borders[3] == (2_700_000, 3_500_000)


def test_all_frames(folder: Path) -> None:
    path = write_media(folder / "all.mp4", pictures=steady(3))
    assert len(decode_media(path, DecodeOptions(sampling="all")).frames) == 3 * RATE


@pytest.mark.parametrize(
    ("text", "sampling", "interval_us"),
    [
        ("1/s", "interval", SECOND),
        ("2/s", "interval", SECOND // 2),
        ("0.5/s", "interval", 2 * SECOND),
        ("1/10s", "interval", 10 * SECOND),
        ("29.97/s", "interval", 33_367),
        ("keyframes", "keyframes", SECOND),
        ("shots", "shots", SECOND),
        ("all", "all", SECOND),
    ],
)
def test_what_frames_says(text: str, sampling: str, interval_us: int) -> None:
    assert parse_frames(text) == (sampling, interval_us)


@pytest.mark.parametrize(
    "text", ["", "1", "0/s", "1/0s", "-1/s", "1/s ", "1/m", "5000/s", "1/9e9s", "interval", "\u0661/s"]
)
def test_what_frames_does_not_say(text: str) -> None:
    with pytest.raises(ConfigError, match="frames must be a rate such as 1/s"):
        parse_frames(text)
