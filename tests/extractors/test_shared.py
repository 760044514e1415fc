"""Several extractors in one pass: each picture and chunk is decoded once, held once, and read ahead by threads."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from features.errors import ConfigError, DecodeError
from features.extractors import shared
from features.extractors.base import Extractor
from features.extractors.engine import Loaded, extract_together
from features.extractors.mfcc import Mfcc
from features.extractors.registry import get_extractor
from features.extractors.rows import feature_rows, sound_windows, span_of
from features.extractors.shared import pictures, sounds
from features.identity import MICROSECONDS, Span
from features.records import PictureQuality, SoundQuality
from features.spec import FeatureSpec
from tests.extractors.making import chunks_of, frames_of, media, picture, sine

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from features.extractors.engine import Extracted
    from features.records import Frame, MediaRows


class Brightness(Extractor):
    """Mean of each picture, and how many pictures it has in hand."""

    spec = FeatureSpec("brightness", 1, "video", "frames", shape=(1,))

    def __init__(self, every: int = 1) -> None:
        self._every = every

    def load(self, device: str) -> None:
        """No model."""

    def prepare(self, rows: MediaRows) -> Iterable[Any]:
        for index, (frame, rgb) in enumerate(pictures(rows)):
            if index % self._every == 0:
                yield Item(frame.valid_start_us, frame.valid_end_us, rgb)

    def __call__(self, model: None, items: Sequence[Any]) -> Sequence[Any]:
        return [np.array([item.pixels.mean()], np.float32) for item in items]

    def slim(self, item: Any) -> Span:
        return span_of(item)

    def finish(self, rows: MediaRows, items: Sequence[Any], outputs: Sequence[Any]) -> Sequence[Any]:
        return feature_rows(items, outputs)


@dataclasses.dataclass
class Item:
    start_us: int
    end_us: int
    pixels: Any


class GivesUp(Brightness):
    """Raises at the second picture."""

    def prepare(self, rows: MediaRows) -> Iterable[Any]:
        for index, item in enumerate(super().prepare(rows)):
            if index:
                raise ValueError("enough")
            yield item


class NoPictures(Brightness):
    """Reads no picture at all: the sizes of the JPEGs will do."""

    def prepare(self, rows: MediaRows) -> Iterable[Any]:
        return [Item(f.valid_start_us, f.valid_end_us, np.array([len(f.jpeg)])) for f in rows.frames]


def together(*extractors: Extractor, medias: Sequence[MediaRows], threads: int = 0) -> list[tuple[Extracted, ...]]:
    loaded = [Loaded(extractor, extractor.load("cpu"), 4) for extractor in extractors]
    return list(extract_together(loaded, medias, threads=threads))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Times of the pictures in the order of decoding."""
    times: list[int] = []
    real = shared._picture_of

    def counted(frame: Frame) -> Any:
        times.append(frame.t_us)
        return real(frame)

    monkeypatch.setattr(shared, "_picture_of", counted)
    return times


def archive(*sizes: int) -> list[MediaRows]:
    made = [frames_of(picture(10 * number + index) for index in range(size)) for number, size in enumerate(sizes)]
    return [media(str(number), frames=frames) for number, frames in enumerate(made)]


@pytest.mark.parametrize("threads", [0, 3])
def test_each_picture_is_decoded_once_for_all(decoded: list[int], threads: int) -> None:
    medias = archive(5, 0, 9, 1)
    found = together(Brightness(), NoPictures(), Brightness(every=2), medias=medias, threads=threads)
    assert len(decoded) == 15
    alone = [[one for (one,) in together(e, medias=medias)] for e in (Brightness(), NoPictures(), Brightness(every=2))]
    assert [list(column) for column in zip(*found, strict=True)] == alone


def test_readers_hold_no_more_than_a_picture_each(decoded: list[int]) -> None:
    """One that gives up, or never asks, keeps none of the others' pictures."""
    (rows,) = archive(30)
    reader = shared.MediaReader(rows, 3)
    first, second = reader.pictures(), reader.pictures()
    assert first is not None
    assert second is not None
    next(first), next(second)
    reader.settle()
    del second
    list(first)
    assert not any(reader._pictures._read)
    assert reader.pictures() is None
    found = together(Brightness(), GivesUp(), medias=[rows])
    assert [(one.status, len(one.rows)) for one in found[0]] == [("ok", 30), ("failed", 0)]


@pytest.mark.parametrize("threads", [0, 2])
def test_what_cannot_be_decoded_is_passed_over_and_told(threads: int) -> None:
    (rows,) = archive(6)
    frames = list(rows.frames)
    frames[2] = dataclasses.replace(frames[2], jpeg=frames[2].jpeg[:-40])
    (found,) = together(
        Brightness(), Brightness(), medias=[dataclasses.replace(rows, frames=tuple(frames))], threads=threads
    )
    for one in found:
        assert (one.status, one.error) == ("partial", "DecodeError")
        assert [row.start_us // MICROSECONDS for row in one.rows] == [0, 1, 3, 4, 5]
        assert (one.message or "").startswith("1 of 6 frames failed: [2000000, 3000000) µs: cannot decode a JPEG")
    with pytest.raises(DecodeError, match="cannot decode a JPEG"):
        list(pictures(dataclasses.replace(rows, frames=tuple(frames))))


@pytest.mark.parametrize("threads", [0, 2])
def test_a_damaged_chunk_of_sound_costs_its_windows(threads: int) -> None:
    chunks = list(chunks_of(sine(30)))
    chunks[1] = dataclasses.replace(chunks[1], flac=chunks[1].flac[: len(chunks[1].flac) // 2])
    (found,) = together(Mfcc(), Mfcc(), medias=[media(audio=tuple(chunks))], threads=threads)
    for one in found:
        assert (one.status, one.error) == ("partial", "DecodeError")
        assert [row.start_us // MICROSECONDS for row in one.rows] == [*range(10), *range(20, 30)]
    with pytest.raises(DecodeError):
        list(sounds(media(audio=tuple(chunks))))


def quality(*, black: bool) -> PictureQuality:
    return PictureQuality(0.0 if black else 0.5, 0.0 if black else 0.2, 100.0, None, b"\0" * 32)


def test_black_pictures_are_left_out_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    (rows,) = archive(6)
    frames = [dataclasses.replace(f, quality=quality(black=i in (1, 4))) for i, f in enumerate(rows.frames)]
    frames[5] = dataclasses.replace(frames[5], quality=None)
    rows = dataclasses.replace(rows, frames=tuple(frames))
    extractor = get_extractor("efficientnet_lite0+nonblack")
    assert (extractor.spec.key, extractor.spec.maker) == (
        "efficientnet_lite0_nonblack@1",
        "efficientnet_lite0+nonblack",
    )
    assert extractor.spec.fingerprint != get_extractor("efficientnet_lite0").spec.fingerprint
    assert [item.start_us // MICROSECONDS for item in extractor.prepare(rows)] == [0, 2, 3, 5]
    assert get_extractor(extractor.spec.maker).spec == extractor.spec


def test_silent_sound_is_left_out_where_asked() -> None:
    loud = SoundQuality(-20.0, 0.5, 0.0, 0.1)
    quiet = SoundQuality(None, 0.0, 0.0, 1.0)
    chunks = [dataclasses.replace(c, quality=quiet if i == 1 else loud) for i, c in enumerate(chunks_of(sine(30)))]
    items = get_extractor("mfcc+nonsilent").prepare(media(audio=tuple(chunks)))
    assert [item.start_us // MICROSECONDS for item in items] == [*range(10), *range(20, 30)]


def test_what_cannot_be_left_out_is_told() -> None:
    with pytest.raises(ConfigError, match=r"'mfcc' reads audio, so '\+nonblack' means nothing"):
        get_extractor("mfcc+nonblack")


def test_sound_without_quality_is_all_kept() -> None:
    rows = media(audio=chunks_of(sine(12)))
    assert len(list(get_extractor("mfcc+nonsilent").prepare(rows))) == 12
    assert len(list(sound_windows(rows, window_us=MICROSECONDS))) == 12
