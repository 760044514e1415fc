from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import DecodeError
from features.media.sound import ChunkWriter, decode_flac, encode_flac, join_sound
from features.records import AudioChunk
from tests.media.generate import tone


def _chunk(start_us: int, samples: np.ndarray, rate: int = 16_000) -> AudioChunk:
    return AudioChunk(start_us, start_us + len(samples) * 1_000_000 // rate, encode_flac(samples, rate), rate)


def test_flac_is_lossless() -> None:
    samples = tone(0.5)
    assert decode_flac(_chunk(0, samples)) == pytest.approx(samples / 32768, abs=1e-7)


def test_a_damaged_chunk_is_an_error() -> None:
    with pytest.raises(DecodeError, match="cannot decode the sound from 0 to 1000"):
        decode_flac(AudioChunk(0, 1000, b"nothing", 16_000))


def test_joining_fills_what_is_missing_with_silence() -> None:
    ones = np.full(1_600, 16_384, np.int16)
    start_us, samples = join_sound([_chunk(500_000, ones), _chunk(700_000, ones)])
    assert start_us == 500_000
    assert samples.dtype == np.float32
    assert samples.reshape(3, -1).mean(axis=1) == pytest.approx([0.5, 0, 0.5])


def test_joining_nothing_is_nothing() -> None:
    start_us, samples = join_sound([])
    assert (start_us, len(samples)) == (0, 0)


def test_joining_two_rates_is_an_error() -> None:
    with pytest.raises(DecodeError, match="several rates"):
        join_sound([_chunk(0, tone(0.1)), _chunk(100_000, tone(0.1), 8_000)])


@given(
    start_us=st.integers(0, 5_000_000),
    lengths=st.lists(st.integers(0, 3_000), min_size=1, max_size=12),
    rate=st.sampled_from([8_000, 11_025, 16_000]),
)
def test_chunks_are_seamless_whatever_the_pieces(start_us: int, lengths: list[int], rate: int) -> None:
    samples = np.arange(sum(lengths), dtype=np.int64).astype(np.int16)
    writer = ChunkWriter(start_us, rate_hz=rate, chunk_us=100_000)
    for piece in np.split(samples, np.cumsum(lengths)[:-1]):
        writer.write(piece)
    chunks = writer.finish()
    assert all(before.end_us == after.start_us for before, after in itertools.pairwise(chunks))
    assert all(0 <= chunk.start_us % 100_000 < 1_000_000 / rate + 1 for chunk in chunks[1:])
    joined = join_sound(chunks)
    assert joined[0] == (start_us if len(samples) else 0)
    assert np.array_equal(np.round(joined[1] * 32768).astype(np.int16), samples)
