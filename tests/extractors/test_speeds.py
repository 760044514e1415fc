"""Speeds of extractors: what is measured, and what is kept of it for whom."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from features.errors import ConfigError, ExtractionError, StoreError
from features.extractors import speeds
from features.extractors.function import from_function
from features.extractors.mfcc import Mfcc
from features.extractors.speech import SpeechDetector
from features.extractors.speed_media import MEDIA_SECONDS, babble, make_media
from features.extractors.speeds import Speed, cache_file, keep_speed, known_speeds, measure_speed
from features.media.pictures import decode_jpeg
from features.media.sound import decode_flac

if TYPE_CHECKING:
    from pathlib import Path

SPEC = Mfcc.spec
SPEED = Speed(12.5, 25.0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "triptych" / "speeds.json"


@from_function("slow", modality="text", shape=(1,))
def slow(text: str) -> list[int]:
    time.sleep(0.02)
    return [len(text)]


@from_function("faulty", modality="video", shape=(1,))
def faulty(picture: np.ndarray) -> list[int]:
    message = "no luck"
    raise ValueError(message)


def test_items_and_seconds_of_media_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speeds, "_SECONDS", 0.3)
    speed = measure_speed(slow(), "cpu")
    assert 0 < speed.items_per_second <= 50
    assert speed.media_seconds_per_second == pytest.approx(2 * speed.items_per_second)


def test_one_that_fails_has_no_speed() -> None:
    with pytest.raises(ExtractionError, match=r"'faulty@1' cannot be measured: .*no luck"):
        measure_speed(faulty(), "cpu")


def test_a_speed_is_kept_for_this_machine_device_and_threads(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    assert known_speeds("cpu") == {}
    keep_speed(SPEC, SPEED, "cpu")
    keep_speed(slow.spec, Speed(1, 2), "cpu")
    assert cache_file() == cache
    assert known_speeds("cpu") == {SPEC.fingerprint: SPEED, slow.spec.fingerprint: Speed(1, 2)}
    assert [path.name for path in cache.parent.iterdir()] == ["speeds.json"]
    monkeypatch.setenv("TRIPTYCH_THREADS", "2")
    assert known_speeds("cpu") == {}
    keep_speed(SPEC, Speed(3, 4), "cpu")
    monkeypatch.delenv("TRIPTYCH_THREADS")
    assert known_speeds("cpu")[SPEC.fingerprint] == SPEED
    monkeypatch.setattr(speeds, "_cpu_name", lambda: "another")
    assert known_speeds("cpu") == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "\x00\xff", "[" * 100_000])
def test_a_damaged_file_is_ignored_and_mended(cache: Path, text: str) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text(text, encoding="latin-1")
    assert known_speeds("cpu") == {}
    keep_speed(SPEC, SPEED, "cpu")
    assert known_speeds("cpu") == {SPEC.fingerprint: SPEED}


@pytest.mark.parametrize("numbers", [None, [], [1], [1, 2, 3], ["a", 2], [1, float("nan")], {"a": 1}])
def test_a_damaged_speed_is_ignored(cache: Path, numbers: Any) -> None:
    keep_speed(SPEC, SPEED, "cpu")
    keep_speed(slow.spec, SPEED, "cpu")
    kept = json.loads(cache.read_text(encoding="utf-8"))
    kept[next(key for key in kept if key.startswith(SPEC.fingerprint))] = numbers
    cache.write_text(json.dumps(kept), encoding="utf-8")
    assert known_speeds("cpu") == {slow.spec.fingerprint: SPEED}


def test_a_folder_that_takes_nothing_is_named_with_the_remedy(cache: Path) -> None:
    cache.parent.parent.write_text("a file", encoding="utf-8")
    assert known_speeds("cpu") == {}
    with pytest.raises(StoreError, match=r"cannot keep speeds in '.*speeds\.json' .*XDG_CACHE_HOME"):
        keep_speed(SPEC, SPEED, "cpu")


@pytest.mark.parametrize("stated", ["", "relative/folder"])
def test_without_an_absolute_folder_it_is_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stated: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", stated)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_file() == tmp_path / ".cache" / "triptych" / "speeds.json"


def test_a_device_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"no device 'tpu'.*there are: cpu"):
        measure_speed(slow(), "tpu")
    with pytest.raises(ConfigError, match=r"no device 'tpu'.*there are: cpu"):
        keep_speed(SPEC, SPEED, "tpu")


def test_the_made_up_media_is_whole_and_the_same_each_time() -> None:
    made = make_media()
    assert made == make_media()
    assert made != make_media(1)
    assert [frame.valid_start_us for frame in made.frames] == [second * 1_000_000 for second in range(MEDIA_SECONDS)]
    assert {decode_jpeg(frame.jpeg).shape for frame in made.frames} == {(360, 640, 3)}
    (chunk,) = made.audio
    assert len(decode_flac(chunk)) == MEDIA_SECONDS * 16_000
    assert len(made.utterances) == MEDIA_SECONDS // 2


def test_recognisers_have_something_to_hear() -> None:
    samples = babble(5, np.random.default_rng(3))
    assert (samples.dtype, len(samples)) == (np.float32, 80_000)
    assert np.abs(samples).max() <= 0.3 + 1e-6
    found = SpeechDetector()(samples)
    assert sum(end - begin for begin, end in found) >= 0.8 * len(samples)
