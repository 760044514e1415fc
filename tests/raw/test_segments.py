"""Raw inputs of a store's segments: aligned with the features', each from its own picture and sound, absence masked."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from features.errors import ConfigError
from features.extractors.mfcc import Mfcc
from features.extractors.tokens import LENGTH
from features.media import pictures, sound
from features.raw import frame64, log_mel_128
from features.reading import FeatureReader, Padded, open_features
from features.spec import FeatureSpec
from features.store import Store, commit_files, write_file
from features.store.rows import audio_rows, feature_rows, frame_rows
from tests.extractors.making import RATE_HZ, chunks_of, frames_of, picture, run, sine, utterances_of
from tests.extractors.making import media as media_rows
from tests.store.making import SECOND, media, put, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from features.records import AudioChunk, Frame

RAW = ("frame64", "log_mel_128")
COLOURS = ((250, 10, 10), (10, 250, 10), (10, 10, 250), (250, 250, 10), (10, 250, 250), (250, 10, 250))
HERTZ = (300.0, 700.0, 1_500.0, 2_500.0, 4_000.0, 6_000.0)


def colours(count: int = 6) -> tuple[Frame, ...]:
    """A picture a second, each of a colour of its own."""
    return frames_of(np.full((90, 160, 3), colour, np.uint8) for colour in COLOURS[:count])


def tones(seconds_each: float = 1, chunk_seconds: float = 2.5) -> tuple[AudioChunk, ...]:
    """Tones of a second each, in chunks that do not end where they do."""
    return chunks_of(np.concatenate([sine(seconds_each, hertz) for hertz in HERTZ]), chunk_seconds=chunk_seconds)


def put_media(
    store: Store,
    batch_id: str,
    medias: dict[str, tuple[Sequence[Frame], Sequence[AudioChunk]]],
    *,
    duration_us: int = 6 * SECOND,
    has: str = "video audio",
) -> None:
    """A whole batch, in files of a few rows, and `mfcc` of its sound."""
    for part, (own, (frames, audio)) in enumerate(medias.items()):
        for table, rows in (("frames", frame_rows(own, frames)), ("audio", audio_rows(own, audio))):
            files = [write_file(store, table, batch_id, rows, part=part)]
            commit_files(store, table, files, stage=f"ingest:{own}")
    extractor = Mfcc()
    model = extractor.load("cpu")
    found = run(extractor, [media_rows(own, audio=tuple(audio)) for own, (_, audio) in medias.items()], model=model)
    rows = pa.concat_tables([feature_rows(one.media_id, list(one.rows)) for one in found])  # type: ignore[arg-type]
    files = [write_file(store, "features/mfcc@1", batch_id, rows)]
    commit_files(store, "features/mfcc@1", files, stage="extract", spec=extractor.spec)
    put(store, "coverage/mfcc@1", batch_id, [{"media_id": one.media_id, "status": one.status} for one in found])
    tracks = {"has_video": "video" in has, "has_audio": "audio" in has}
    put(store, "media", batch_id, [media(own, duration_us=duration_us, **tracks) for own in medias])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def rows_of(reader: FeatureReader) -> list[dict[str, Any]]:
    return pa.Table.from_batches(iter(reader), reader.schema).to_pylist()


def arrays(reader: FeatureReader) -> dict[str, np.ndarray]:
    """All columns as arrays, absent ones as zeros, as the Torch dataset gives them."""
    items = list(reader.to_torch())
    return {name: np.array([np.asarray(item[name]) for item in items]) for name in items[0]}


def test_each_segment_has_its_own_picture_and_sound(store: Store) -> None:
    put_media(store, "b1", {"a": (colours(), tones()), "b": (colours()[::-1], tones())})
    got = arrays(open_features(store, ["mfcc", *RAW], "window:1s"))
    assert got["frame64"].shape == (12, 64, 64, 3)
    assert got["log_mel_128"].shape == (12, 128, 128)
    seen = (got["frame64"].mean(axis=(1, 2)) > 0.5).tolist()
    assert seen[:6] == [[value > 127 for value in colour] for colour in COLOURS]
    patches = got["log_mel_128"][:6]
    assert (got["log_mel_128:length"] == 32).all()  # 16,000 samples
    assert (np.diff(patches[:, :, 4:28].mean(axis=2).argmax(axis=1)) > 0).all()
    for name in ("mfcc", *RAW):
        assert got[f"{name}:present"].all()
        assert set(got[f"{name}:status"]) == {"ok"}


def test_a_segment_is_what_the_pure_functions_say(store: Store) -> None:
    frames = frames_of(picture(seed) for seed in range(6))
    samples = np.random.default_rng(0).normal(0, 0.1, 6 * RATE_HZ).astype(np.float32)
    audio = chunks_of(samples, chunk_seconds=0.7)
    put_media(store, "b1", {"a": (frames, audio)})
    stored = sound.join_sound(audio)[1]
    got = arrays(open_features(store, RAW, "window:3s"))
    for index, frame in enumerate((frames[1], frames[4])):  # whose times are nearest to 1.5 s (the earlier), 4.5 s
        np.testing.assert_array_equal(got["frame64"][index], frame64(pictures.decode_jpeg(frame.jpeg)))
        own = stored[index * 3 * RATE_HZ : (index + 1) * 3 * RATE_HZ]
        np.testing.assert_array_equal(got["log_mel_128"][index], log_mel_128(own))
    whole = arrays(open_features(store, RAW, "whole"))
    np.testing.assert_array_equal(whole["log_mel_128"][0], log_mel_128(stored))
    assert whole["log_mel_128:length"].tolist() == [128]


def test_rows_are_the_same_however_media_lie_in_batches_and_for_one_media(store: Store, tmp_path: Path) -> None:
    medias = {own: (frames_of(picture(10 * n + i) for i in range(6)), tones(1, 1 + n)) for n, own in enumerate("abc")}
    put_media(store, "b1", medias)
    apart = Store.create(tmp_path / "apart")
    for own in medias:
        put_media(apart, f"batch-{own}", {own: medias[own]})
    together = rows_of(open_features(store, ["mfcc", *RAW], "window:2s"))
    assert rows_of(open_features(apart, ["mfcc", *RAW], "window:2s", num_threads=3)) == together
    reader = pickle.loads(pickle.dumps(open_features(store, [*RAW], "window:2s")))
    alone = reader.media("b").to_pylist()
    assert alone == [{name: row[name] for name in reader.schema.names} for row in together if row["media_id"] == "b"]


def test_each_picture_and_chunk_is_decoded_once_and_only_those_that_are_needed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_media(store, "b1", {"a": (colours(), tones(10, 5))}, duration_us=60 * SECOND)  # 12 chunks of 5 s
    decoded = {"frames": 0, "audio": 0}

    def counted(name: str, decode: Any) -> Any:
        def count(given: Any) -> Any:
            decoded[name] += 1
            return decode(given)

        return count

    monkeypatch.setattr("features.raw.segments.decode_jpeg", counted("frames", pictures.decode_jpeg))
    monkeypatch.setattr("features.raw.segments.decode_flac", counted("audio", sound.decode_flac))
    rows_of(open_features(store, RAW, "window:500ms"))
    assert decoded == {"frames": 6, "audio": 12}
    decoded |= {"frames": 0, "audio": 0}
    rows_of(open_features(store, RAW, "window:20s"))
    assert decoded == {"frames": 1, "audio": 6}  # the 4.096 s at 10 s, 30 s, 50 s lie in two chunks each
    decoded |= {"frames": 0, "audio": 0}
    rows_of(open_features(store, RAW, "window:20s", columns=["media_id", "start_us", "frame64:present"]))
    assert decoded == {"frames": 1, "audio": 0}


def test_what_is_absent_is_masked_and_told(store: Store) -> None:
    put_media(store, "b1", {"silent": (colours(), ()), "blind": ((), tones())})
    put_media(store, "b2", {"subtitles": ((), ())}, has="")
    rows = rows_of(open_features(store, ["mfcc", *RAW], "window:6s"))
    told = {row["media_id"]: [row[f"{name}:status"] for name in RAW] for row in rows}
    assert told == {"silent": ["ok", "empty"], "blind": ["empty", "ok"], "subtitles": ["absent", "absent"]}
    for row in rows:
        for name in RAW:
            assert (row[name] is not None) == row[f"{name}:present"] == (row[f"{name}:status"] == "ok")
        assert row["log_mel_128:present"] == row["mfcc:present"]
    assert [row["log_mel_128:length"] for row in rows] == [0, 128, 0]


def test_segments_beyond_the_tracks_are_masked(store: Store) -> None:
    put_media(store, "b1", {"a": (colours(2), tones(0.25))}, duration_us=6 * SECOND)  # 2 s of pictures, 1.5 s of sound
    rows = rows_of(open_features(store, ["mfcc", *RAW], "window:1s"))
    assert [row["frame64:present"] for row in rows] == [True, True, True, False, False, False]
    assert [row["frame64:nearest"] for row in rows] == [False, False, True, False, False, False]
    assert [row["log_mel_128:length"] for row in rows] == [32, 16, 0, 0, 0, 0]
    assert [row["log_mel_128:present"] for row in rows] == [True, True, False, False, False, False]


def test_damage_costs_the_segments_that_need_it(store: Store) -> None:
    frames, audio = list(colours()), list(tones(1, 2))
    frames[1] = frames[1].__class__(**{**_fields(frames[1]), "jpeg": frames[1].jpeg[:-9]})
    audio[1] = audio[1].__class__(**{**_fields(audio[1]), "flac": b"fLaC?"})
    put_media(store, "b1", {"a": (frames, audio)})
    rows = rows_of(open_features(store, RAW, "window:1s"))
    assert [row["frame64:status"] for row in rows] == ["ok", "failed", "ok", "ok", "ok", "ok"]
    assert [row["log_mel_128:status"] for row in rows] == ["ok", "ok", "failed", "failed", "ok", "ok"]
    for row in rows:
        for name in RAW:
            assert (row[name] is not None) == row[f"{name}:present"] == (row[f"{name}:status"] == "ok")


def _fields(record: Any) -> dict[str, Any]:
    names = record._fields if hasattr(record, "_fields") else record.__slots__
    return {name: getattr(record, name) for name in names}


def test_silence_is_there(store: Store) -> None:
    put_media(store, "b1", {"a": ((), chunks_of(np.zeros(6 * RATE_HZ, np.float32)))})
    got = arrays(open_features(store, ["log_mel_128"], "whole"))
    assert got["log_mel_128:present"].all()
    assert not got["log_mel_128"].any()


def test_raw_inputs_are_not_pooled(store: Store) -> None:
    put_media(store, "b1", {"a": (colours(), tones())})
    with pytest.raises(ConfigError, match="raw input 'frame64' is an array a segment, and is not pooled"):
        open_features(store, ["mfcc", "frame64"], pool={"frame64": "mean"})
    with pytest.raises(ConfigError, match="name at least one, each once"):
        open_features(store, ["frame64", "frame64"])


def put_tokens(store: Store) -> None:
    spec = FeatureSpec("tokens", 4, "text", "transcripts", shape=(LENGTH,), dtype="int32")
    rows = [
        {"media_id": "a", "start_us": one.start_us, "end_us": one.end_us, "values": [index + 1, 9_999] + [0] * 98}
        for index, one in enumerate(utterances_of("so", "it", "goes"))
    ]
    commit_files(store, spec.table, [write(store, spec.table, "b1", rows)], stage="extract", spec=spec)
    put(store, spec.coverage_table, "b1", [{"media_id": "a", "status": "ok"}])


@pytest.mark.parametrize("how", ["mean", "max", "std"])
def test_ids_of_pieces_are_not_averaged(store: Store, how: str) -> None:
    put_media(store, "b1", {"a": (colours(), tones())})
    put_tokens(store)
    with pytest.raises(ConfigError, match=rf"feature 'tokens' holds ids of pieces of text, whose {how} means nothing"):
        open_features(store, ["tokens"], pool=how)


def test_ids_of_pieces_are_read_as_whole_numbers(store: Store) -> None:
    put_media(store, "b1", {"a": (colours(), tones())})
    put_tokens(store)
    last = arrays(open_features(store, ["tokens"], "window:2s", pool="last"))
    assert last["tokens"].dtype == np.int32
    assert last["tokens"][:, :2].tolist() == [[2, 9_999], [3, 9_999], [0, 0]]
    assert last["tokens:present"].tolist() == [True, True, False]
    padded = open_features(store, ["tokens", "mfcc"], "whole", pool={"tokens": Padded(4)})
    got = arrays(padded)
    assert got["tokens"].shape == (1, 4, LENGTH)
    assert got["tokens"][0, :, 0].tolist() == [1, 2, 3, 0]
    assert got["tokens:length"].tolist() == [3]
