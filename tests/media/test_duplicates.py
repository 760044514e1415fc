"""Near-duplicates: copies of generated and real clips are found, other clips and other takes are not joined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.media.decode import DecodeOptions, decode_media
from features.media.duplicates import are_near_duplicates, near_duplicate_groups, similarity
from features.media.hashes import MediaSketch
from tests.media.scenes import copy_of, film, write_film

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
COARSE = ("-vf", "scale=200:112", "-c:v", "libx264", "-preset", "veryfast", "-crf", "32")
OLD = ("-vf", "eq=brightness=0.05", "-c:v", "mpeg4", "-q:v", "10")


def hash_of(path: Path, interval_us: int = 1_000_000) -> bytes:
    quality = decode_media(path, DecodeOptions(frame_interval_us=interval_us)).info.quality
    assert quality is not None
    assert quality.perceptual_hash is not None
    return quality.perceptual_hash


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("films") / "a.mp4", film(1, 24))


@pytest.mark.parametrize("options", [COARSE, OLD, ("-ss", "3", "-c:v", "mpeg4"), ("-t", "20", "-c:v", "mpeg4")])
def test_a_copy_is_found(original: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    copied = copy_of(original, tmp_path / "b.mkv", *options)
    assert are_near_duplicates(hash_of(original), hash_of(copied))


def test_another_rate_of_sampling_gives_a_near_hash(original: Path) -> None:
    assert are_near_duplicates(hash_of(original), hash_of(original, 400_000))


def test_another_film_is_not_near(original: Path, tmp_path: Path) -> None:
    assert similarity(hash_of(original), hash_of(write_film(tmp_path / "b.mp4", film(2, 24)))) == 0


@pytest.mark.data
def test_real_clips_and_their_copies(tmp_path: Path) -> None:
    """Each with its copy, and people before alike walls apart."""
    clips = [SHARED / "ekman6/joy.mp4", *sorted((SHARED / "grid").glob("*.mpg"))[:4]]
    hashes = {}
    for clip in clips:
        hashes[clip.stem] = hash_of(clip)
        hashes[f"{clip.stem} again"] = hash_of(copy_of(clip, tmp_path / f"{clip.stem}.mp4", *OLD))
    assert near_duplicate_groups(hashes) == sorted((clip.stem, f"{clip.stem} again") for clip in clips)


@pytest.mark.data
def test_takes_of_one_mouth_before_one_camera_are_not_joined() -> None:
    takes = sorted((SHARED / "lipwords").glob("*.mp4"))
    assert len(takes) > 20
    assert near_duplicate_groups({take.stem: hash_of(take) for take in takes}) == []


def test_the_order_of_pictures_does_not_show() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.bytes(32) for _ in range(200)]
    forwards, backwards = MediaSketch(), MediaSketch()
    for picture in pictures:
        forwards.add(picture)
    for picture in reversed(pictures):
        backwards.add(picture)
    assert forwards.to_bytes() == backwards.to_bytes()


def test_grouping_finds_what_comparing_all_with_all_finds() -> None:
    rng = np.random.default_rng(0)
    media = [rng.integers(0, 256, (16, 32), dtype=np.uint8) for _ in range(100)]
    for index in range(40):
        media.append(noisy(media[index], 8, rng))
    hashes = {f"{index:03}": hashed.tobytes() for index, hashed in enumerate(media)}
    names = list(hashes)
    pairs = [
        (one, other)
        for at, one in enumerate(names)
        for other in names[max(at + 1, 100) :]
        if are_near_duplicates(hashes[one], hashes[other])
    ]
    assert len(pairs) == 40
    assert near_duplicate_groups(hashes) == pairs


def noisy(hashed: np.ndarray, num_bits: int, rng: np.random.Generator) -> np.ndarray:
    """The same pictures but for five, with some bits of each turned."""
    bits = np.unpackbits(hashed, axis=1)
    for row in bits:
        row[rng.choice(256, num_bits, replace=False)] ^= 1
    bits[:5] = rng.integers(0, 2, (5, 256))
    return np.packbits(bits, axis=1)


def test_a_hash_of_another_kind_is_in_no_group() -> None:
    assert near_duplicate_groups({"a": b"short", "b": b"short", "c": bytes(512)}) == []
