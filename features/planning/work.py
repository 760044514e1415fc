"""How much some media are, for whoever has to decode, extract, score and keep them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from features.identity import MICROSECONDS
from features.schema import BATCH_ID
from features.store.read import read_committed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from features.media.options import DecodeOptions
    from features.planning.probing import Probed
    from features.store.store import Store

_MILLION = 1e6
_BATCHES_OF_PICTURES = 16
_USUAL_KEYFRAME_SECONDS = 5.0
_USUAL_SHOT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Work:
    """Amounts, of which two can be added, and one scaled: so numbers of media are no whole ones.

    Attributes:
        num_media: Media.
        size_bytes: Of their files.
        media_seconds: Of their time.
        video_seconds: Of those with video.
        video_megapixels: Of all their pictures, kept or not.
        audio_seconds: Of those with sound.
        text_seconds: Of those with a subtitle track or a sidecar.
        num_pictures: Pictures that are kept.
        picture_megapixels: Of those.
        picture_bytes: Of those, as JPEG.
        sound_bytes: Of the sound, as FLAC.
    """

    num_media: float = 0.0
    size_bytes: float = 0.0
    media_seconds: float = 0.0
    video_seconds: float = 0.0
    video_megapixels: float = 0.0
    audio_seconds: float = 0.0
    text_seconds: float = 0.0
    num_pictures: float = 0.0
    picture_megapixels: float = 0.0
    picture_bytes: float = 0.0
    sound_bytes: float = 0.0

    def plus(self, other: Work) -> Work:
        """Both together."""
        return Work(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))

    def times(self, factor: float) -> Work:
        """So many times as much."""
        return Work(*(getattr(self, item.name) * factor for item in fields(self)))

    def to_json(self) -> dict[str, float]:
        """For a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Work:
        """Read what `to_json` wrote; what another version added is passed over."""
        known = {item.name for item in fields(cls)}
        return cls(**{name: float(value) for name, value in data.items() if name in known})


def work_of(probed: Probed, options: DecodeOptions, *, has_sidecar: bool = False) -> Work:
    """What a file that was looked into will be; one without a stated length counts with none."""
    seconds = (probed.duration_us or 0) / MICROSECONDS
    video_seconds = seconds if probed.has_video else 0.0
    num_frames = video_seconds * probed.frame_rate
    num_pictures = _num_pictures(probed, options, video_seconds, num_frames)
    return Work(
        num_media=1.0,
        size_bytes=float(probed.size_bytes),
        media_seconds=seconds,
        video_seconds=video_seconds,
        video_megapixels=num_frames * probed.width * probed.height / _MILLION,
        audio_seconds=seconds if probed.has_audio else 0.0,
        text_seconds=seconds if probed.has_text or has_sidecar else 0.0,
        num_pictures=num_pictures,
        picture_megapixels=num_pictures * probed.picture_megapixels,
        picture_bytes=num_pictures * (probed.picture_bytes or 0.0),
        sound_bytes=(probed.sound_bytes_a_second or 0.0) * (seconds if probed.has_audio else 0.0),
    )


def _num_pictures(probed: Probed, options: DecodeOptions, video_seconds: float, num_frames: float) -> float:
    """Pictures that are kept of a video; of shots a guess."""
    if not video_seconds:
        return 0.0
    if options.sampling == "all":
        return num_frames
    steps = {
        "keyframes": probed.keyframe_seconds or _USUAL_KEYFRAME_SECONDS,
        "shots": _USUAL_SHOT_SECONDS,
        "interval": options.frame_interval_us / MICROSECONDS,
    }
    return min(num_frames, max(1.0, -(-video_seconds // steps[options.sampling])))


def work_in(store: Store, batch_ids: Collection[str]) -> Work:
    """What batches of a store are: from `media`, and from the logs; of files that were never decoded nothing."""
    columns = ["duration_us", "width", "height", "frame_rate", "has_video", "has_audio", "has_text", "container"]
    media = read_committed(store, "media", batch_ids=batch_ids, columns=columns)
    media = media.filter(pc.is_valid(media["container"]))
    seconds = pc.divide(pc.cast(media["duration_us"], pa.float64()), float(MICROSECONDS))
    video, audio, text = (_seconds_where(seconds, media[name]) for name in ("has_video", "has_audio", "has_text"))
    rate = pc.fill_null(media["frame_rate"], 0.0)
    pixels = pc.divide(pc.multiply(pc.cast(media["width"], pa.float64()), media["height"]), _MILLION)
    num_pictures, picture_bytes = _rows_and_bytes(store, "frames", batch_ids)
    sources = read_committed(store, "sources", batch_ids=batch_ids, columns=["size_bytes"])
    some = sorted(batch_ids)[:: max(1, len(batch_ids) // _BATCHES_OF_PICTURES)]
    kept = read_committed(store, "frames", batch_ids=some, columns=["width", "height"])
    of_a_picture = _sum(pc.multiply(pc.cast(kept["width"], pa.float64()), kept["height"])) / max(1, kept.num_rows)
    return Work(
        num_media=float(media.num_rows),
        size_bytes=_sum(sources["size_bytes"]),
        media_seconds=_sum(seconds),
        video_seconds=_sum(video),
        video_megapixels=_sum(pc.multiply(pc.multiply(video, rate), pc.fill_null(pixels, 0.0))),
        audio_seconds=_sum(audio),
        text_seconds=_sum(text),
        num_pictures=num_pictures,
        picture_megapixels=num_pictures * of_a_picture / _MILLION,
        picture_bytes=picture_bytes,
        sound_bytes=_rows_and_bytes(store, "audio", batch_ids)[1],
    )


def bytes_in(store: Store, table: str, batch_ids: Collection[str]) -> float:
    """Size of a table's files of batches, from its log."""
    return _rows_and_bytes(store, table, batch_ids)[1]


def _rows_and_bytes(store: Store, table: str, batch_ids: Collection[str]) -> tuple[float, float]:
    if not store.has(table):
        return 0.0, 0.0
    files = store.files(table)
    files = files.filter(pc.is_in(files[BATCH_ID], pa.array(sorted(batch_ids), pa.string())))
    return _sum(files["num_records"]), _sum(files["size_bytes"])


def _seconds_where(seconds: pa.ChunkedArray, flag: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.fill_null(flag, False), pc.fill_null(seconds, 0.0), 0.0)


def _sum(column: pa.ChunkedArray) -> float:
    return float(pc.sum(column, min_count=0).as_py() or 0.0)
